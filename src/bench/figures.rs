//! Measures a played scene: ticks in one run, copies of the state in another, so that neither warms the other's
//! caches.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use tiltyard_engine::{Game, Oracle, Save, snapshot};
use tiltyard_replay::{OnDamage, verify};

use super::scene::{OracleError, Played};

/// How many ticks old the state is that is restored, and that snapshots are encoded against.
const BASELINE_TICKS: usize = 4;
/// How many ticks the battle makes before the oracle makes the same ones: few, so that what else this machine does
/// slows both alike; not one, so that neither runs in the caches of the other.
const BLOCK_TICKS: usize = 30;
/// Shortest time for which verifying is measured, in seconds.
const VERIFY_SECONDS: f64 = 0.25;

/// How long something took, over many times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median in microseconds.
    pub p50_us: f64,
    /// What 99 of 100 times stayed within, in microseconds.
    pub p99_us: f64,
}

/// What was measured of a scene.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Ticks that were measured, those of all rounds.
    pub ticks: u64,
    /// A step, with the hash of its state.
    pub tick: Spread,
    /// The same by the game's second implementation, if it has one.
    pub limit: Option<Spread>,
    /// Saving the state.
    pub save: Spread,
    /// Hashing the state, which every tick does at its end.
    pub hash: Spread,
    /// Restoring the state of 4 ticks before, where the newest one lies.
    pub restore: Spread,
    /// Copying the bytes of the state that is restored, where those of the newest one lie.
    pub copy: Spread,
    /// Encoding a snapshot against the state of 4 ticks before.
    pub encode: Spread,
    /// Its bytes, in the median.
    pub snapshot_bytes: usize,
    /// Bytes of the state's columns, in the last tick.
    pub state_bytes: usize,
    /// Actors in the last tick.
    pub actors: usize,
    /// Bytes of recording for a minute of play, keyframes included.
    pub recording_bytes_per_minute: u64,
    /// How many times faster than play the recording was verified, on one core.
    pub times_realtime: f64,
}

impl Figures {
    /// How many times as long as by the second implementation a tick takes, in the median.
    pub fn ratio(&self) -> Option<f64> {
        self.limit.map(|limit| self.tick.p50_us / limit.p50_us)
    }
}

/// Measures for about so many seconds; `progress` hears how many are over.
///
/// # Errors
/// If a step gives another state than it gave when the scene was played, the game's second implementation does, or the
/// recording does not verify.
pub fn measure<G: Game>(
    played: &Played<G>,
    seconds: f64,
    mut progress: impl FnMut(f64),
) -> anyhow::Result<Figures> {
    let started = Instant::now();
    let (mut tick_ns, mut limit_ns) = (Vec::new(), Vec::new());
    let mut copies = Copies::default();
    loop {
        side_by_side(played, played.oracle()?, &mut tick_ns, &mut limit_ns)?;
        copies.round(played)?;
        let over = started.elapsed().as_secs_f64();
        progress(over.min(seconds));
        if over >= seconds {
            break;
        }
    }
    let recording = played.recording().context("recording the scene")?;
    let play_seconds = played.len() as f64 / f64::from(played.rate_hz());
    copies.snapshot_bytes.sort_unstable();
    Ok(Figures {
        ticks: tick_ns.len() as u64,
        tick: spread(&mut tick_ns),
        limit: (!limit_ns.is_empty()).then(|| spread(&mut limit_ns)),
        save: spread(&mut copies.save_ns),
        hash: spread(&mut copies.hash_ns),
        restore: spread(&mut copies.restore_ns),
        copy: spread(&mut copies.copy_ns),
        encode: spread(&mut copies.encode_ns),
        snapshot_bytes: copies.snapshot_bytes[copies.snapshot_bytes.len() / 2],
        state_bytes: copies.state_bytes,
        actors: copies.actors,
        recording_bytes_per_minute: (recording.len() as f64 * 60.0 / play_seconds) as u64,
        times_realtime: times_realtime::<G>(&recording, play_seconds)?,
    })
}

/// Steps through the measured ticks once, the battle and the oracle by turns.
pub(super) fn side_by_side<G: Game>(
    played: &Played<G>,
    mut oracle: Option<Oracle<G::Input>>,
    tick_ns: &mut Vec<u64>,
    limit_ns: &mut Vec<u64>,
) -> anyhow::Result<()> {
    let mut battle = played.battle();
    let ticks: Vec<_> = played.ticks().collect();
    for block in ticks.chunks(BLOCK_TICKS) {
        for (record, expected) in block {
            let hash = timed(tick_ns, || battle.step(record));
            ensure!(hash == *expected, "tick {} gives another state than before", record.tick.0);
        }
        let Some(oracle) = &mut oracle else { continue };
        for (record, expected) in block {
            OracleError::check(record.tick, timed(limit_ns, || oracle(record)), *expected)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Copies {
    save_ns: Vec<u64>,
    hash_ns: Vec<u64>,
    restore_ns: Vec<u64>,
    copy_ns: Vec<u64>,
    encode_ns: Vec<u64>,
    snapshot_bytes: Vec<usize>,
    state_bytes: usize,
    actors: usize,
}

impl Copies {
    /// Copies the state of every measured tick in all ways.
    fn round<G: Game>(&mut self, played: &Played<G>) -> anyhow::Result<()> {
        let mut battle = played.battle();
        let mut saves = vec![played.warm().clone(); BASELINE_TICKS + 1];
        let (mut bytes, mut plain) = (Vec::new(), Vec::<u8>::new());
        for (index, (record, expected)) in played.ticks().enumerate() {
            battle.step(record);
            let slots = saves.len();
            let mut now: Save = std::mem::take(&mut saves[index % slots]);
            timed(&mut self.save_ns, || battle.save(&mut now));
            let hash = timed(&mut self.hash_ns, || battle.hash_again());
            ensure!(hash == expected, "tick {} hashes otherwise than before", record.tick.0);
            let baseline = &saves[(index + 1) % slots];
            bytes.clear();
            let (registry, rate) = (battle.world().registry(), battle.spec().terms.rate);
            timed(&mut self.encode_ns, || snapshot::encode(registry, rate, &now, Some(baseline), &mut bytes));
            self.snapshot_bytes.push(black_box(&bytes).len());
            // The same bytes for both, over those of the newest state, and as warm for both.
            plain.resize(plain.len().max(baseline.len()).max(now.len()), 0);
            plain[..baseline.len()].copy_from_slice(baseline.as_bytes());
            plain[..now.len()].copy_from_slice(now.as_bytes());
            timed(&mut self.copy_ns, || {
                black_box(&mut plain[..baseline.len()]).copy_from_slice(black_box(baseline.as_bytes()));
            });
            battle.restore(baseline);
            battle.restore(&now);
            timed(&mut self.restore_ns, || battle.restore(baseline));
            battle.restore(&now);
            self.state_bytes = now.len();
            saves[index % slots] = now;
        }
        self.actors = battle.world().actors();
        Ok(())
    }
}

/// Verifies the recording again and again, until there are enough times for a median that the machine's other work
/// does not move.
fn times_realtime<G: Game>(recording: &[u8], play_seconds: f64) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut ns = Vec::new();
    while ns.is_empty() || started.elapsed().as_secs_f64() < VERIFY_SECONDS {
        let verdict = timed(&mut ns, || verify::<G>(recording, OnDamage::Stop, |_| {}));
        let verdict = verdict.context("verifying the recording")?;
        ensure!(verdict.verified && verdict.complete, "the scene's own recording does not verify");
    }
    Ok(play_seconds * 1_000_000.0 / spread(&mut ns).p50_us)
}

/// Does something and notes what it took.
pub(super) fn timed<T>(into: &mut Vec<u64>, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    into.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    done
}

/// The quantiles of these times; sorts them.
pub(super) fn spread(ns: &mut [u64]) -> Spread {
    ns.sort_unstable();
    let at = |share: usize| ns[(ns.len() * share).div_ceil(100).clamp(1, ns.len()) - 1] as f64 / 1_000.0;
    Spread { p50_us: at(50), p99_us: at(99) }
}

#[cfg(test)]
mod tests {
    use tiltyard_engine::skirmish::Skirmish;
    use tiltyard_engine::{StateHash, Tick};

    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let mut ns: Vec<u64> = (1..=100).rev().map(|value| value * 1_000).collect();
        assert_eq!(spread(&mut ns), Spread { p50_us: 50.0, p99_us: 99.0 });
        assert_eq!(spread(&mut [7_000]), Spread { p50_us: 7.0, p99_us: 7.0 });
    }

    #[test]
    fn a_scene_is_measured_whole_and_its_recording_verifies() {
        let scenes = Skirmish::scenes();
        let played = Played::<Skirmish>::of(&scenes[0], 3, 20, 60).unwrap();
        let figures = measure(&played, 0.0, |_| {}).unwrap();
        assert_eq!(figures.ticks, 60);
        assert!(figures.actors >= 10 && figures.state_bytes > 0 && figures.snapshot_bytes > 0);
        assert!(figures.tick.p50_us > 0.0 && figures.times_realtime > 1.0);
        assert!(figures.ratio().is_some_and(|ratio| ratio > 0.0));
    }

    #[test]
    fn an_oracle_that_parts_from_the_battle_is_named_with_its_tick() {
        let played = Played::<Skirmish>::of(&Skirmish::scenes()[0], 3, 20, 60).unwrap();
        let round = |wrong_at: u32| {
            let mut right = played.oracle().unwrap().unwrap();
            let oracle: Oracle<_> = Box::new(move |record| {
                let hash = right(record);
                StateHash(hash.0 ^ u64::from(record.tick == Tick(wrong_at)))
            });
            side_by_side(&played, Some(oracle), &mut Vec::new(), &mut Vec::new())
        };
        assert!(round(20).is_ok() && round(81).is_ok());
        for tick in [21, 50, 51, 80] {
            let error = round(tick).unwrap_err();
            let error = error.downcast_ref::<OracleError>().expect("it is the oracle's error");
            assert_eq!((error.tick, error.oracle.0), (Tick(tick), error.battle.0 ^ 1));
        }
    }

    #[test]
    fn a_battle_that_ends_too_early_is_named() {
        let mode = tiltyard_engine::Mode { seconds: 1, ..Skirmish::scenes()[0].clone() };
        assert!(matches!(
            Played::<Skirmish>::of(&mode, 3, 30, 60),
            Err(crate::bench::PlayedError::Short { ticks: 30, .. })
        ));
        assert_eq!(Played::<Skirmish>::of(&mode, 3, 20, 60).unwrap().ticks().count(), 10);
    }
}
