//! Scene many: what a node does. Hundreds of battles take turns on one core, so that none finds its state in the near
//! caches when its turn comes.

use std::time::Instant;

use anyhow::ensure;
use serde_json::{Value, json};
use tiltyard_engine::{Battle, Game, Mode, Save};

use super::WARM_TICKS;
use super::figures::{Spread, spread, timed};
use super::scene::Played;
use crate::output::Table;

/// Ticks of a round: a second of play.
const TICKS: u32 = 30;
/// How many battles of the game's first scene there are, and of its second.
pub(super) const BATTLES: [usize; 2] = [1000, 200];

/// What was measured of the battles of one scene.
pub(super) struct Group {
    scene: &'static str,
    battles: usize,
    tick: Spread,
    /// The mean of 99 ticks in 100, see [`usual_mean_us`].
    mean_us: f64,
    /// In a battle's turn, when it was just stepped: when a node copies it.
    save_and_hash: Spread,
    /// When all others were stepped since.
    save_and_hash_cold: Spread,
    rate_hz: u16,
}

/// Plays so many battles of each scene and steps them in turn for about so many seconds.
///
/// # Errors
/// If a battle does not start, ends too early, or comes to another state than when it was played.
pub(super) fn measure<G: Game>(
    scenes: &[(Mode<G::Setup>, usize)],
    seed: u64,
    seconds: f64,
    mut progress: impl FnMut(f64),
) -> anyhow::Result<Vec<Group>> {
    let mut played: Vec<Vec<Played<G>>> = Vec::new();
    for (scene, battles) in scenes {
        let seeds = seed..seed + *battles as u64;
        let play = |seed| Played::of(scene, seed, WARM_TICKS, TICKS);
        played.push(seeds.map(play).collect::<Result<_, _>>()?);
    }
    let mut battles: Vec<Vec<Battle<G>>> =
        played.iter().map(|group| group.iter().map(Played::battle).collect()).collect();
    let mut tick_ns = vec![Vec::new(); scenes.len()];
    let mut save_ns = vec![Vec::new(); scenes.len()];
    let mut cold_ns = vec![Vec::new(); scenes.len()];
    let mut save = Save::default();
    let started = Instant::now();
    loop {
        for tick in 0..TICKS as usize {
            for (group, (played, battles)) in played.iter().zip(&mut battles).enumerate() {
                for (played, battle) in played.iter().zip(&mut *battles) {
                    let Some((record, expected)) = played.ticks().nth(tick) else { continue };
                    let hash = timed(&mut tick_ns[group], || battle.step(record));
                    ensure!(hash == expected, "tick {} gives another state than before", record.tick.0);
                    save_and_hash(battle, &mut save, &mut save_ns[group])?;
                }
            }
            for (battles, cold_ns) in battles.iter_mut().zip(&mut cold_ns) {
                for battle in battles {
                    save_and_hash(battle, &mut save, cold_ns)?;
                }
            }
        }
        let over = started.elapsed().as_secs_f64();
        progress(over.min(seconds));
        if over >= seconds {
            break;
        }
        for (played, battle) in played.iter().flatten().zip(battles.iter_mut().flatten()) {
            battle.restore(played.warm());
        }
    }
    let groups = scenes.iter().zip(tick_ns).zip(save_ns).zip(cold_ns).zip(&played);
    Ok(groups
        .map(|(((((scene, battles), mut tick_ns), mut save_ns), mut cold_ns), played)| Group {
            scene: scene.name,
            battles: *battles,
            tick: spread(&mut tick_ns),
            mean_us: usual_mean_us(&tick_ns),
            save_and_hash: spread(&mut save_ns),
            save_and_hash_cold: spread(&mut cold_ns),
            rate_hz: played[0].rate_hz(),
        })
        .collect())
}

/// Copies a battle's state and hashes it.
fn save_and_hash<G: Game>(battle: &mut Battle<G>, save: &mut Save, ns: &mut Vec<u64>) -> anyhow::Result<()> {
    let hash = timed(ns, || {
        battle.save(save);
        battle.hash_again()
    });
    ensure!(hash == battle.state_hash(), "tick {} hashes otherwise than before", battle.tick().0);
    Ok(())
}

/// The mean of sorted times without the slowest hundredth: in that are the pauses in which something else had the core.
fn usual_mean_us(ns: &[u64]) -> f64 {
    let usual = &ns[..(ns.len() * 99).div_ceil(100)];
    usual.iter().sum::<u64>() as f64 / usual.len() as f64 / 1_000.0
}

impl Group {
    /// How many such battles one core steps in real time, if they are in turn with as many others as here.
    fn battles_per_core(&self) -> u64 {
        (1_000_000.0 / f64::from(self.rate_hz) / self.mean_us) as u64
    }

    /// What part of one core its battles take.
    fn core_share(&self) -> f64 {
        self.battles as f64 * self.mean_us * f64::from(self.rate_hz) / 1_000_000.0
    }
}

pub(super) fn describe(groups: &[Group]) -> String {
    let mut table = Table::new([
        "in turn on one core",
        "battles",
        "tick p50",
        "p99",
        "save and hash",
        "when cold",
        "of a core",
        "a core holds",
    ]);
    for group in groups {
        table.row([
            group.scene.to_owned(),
            group.battles.to_string(),
            format!("{:.2} µs", group.tick.p50_us),
            format!("{:.2} µs", group.tick.p99_us),
            format!("{:.2} µs", group.save_and_hash.p50_us),
            format!("{:.2} µs", group.save_and_hash_cold.p50_us),
            format!("{:.1} %", group.core_share() * 100.0),
            group.battles_per_core().to_string(),
        ]);
    }
    table.to_string()
}

fn object_of(spread: &Spread) -> Value {
    json!({ "p50": spread.p50_us, "p99": spread.p99_us })
}

pub(super) fn object(groups: &[Group]) -> Value {
    let of = |value: &dyn Fn(&Group) -> Value| -> Value {
        groups
            .iter()
            .map(|group| (group.scene.to_owned(), value(group)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    json!({
        "scene": "many",
        "battles": of(&|group| group.battles.into()),
        "battles_per_core": of(&|group| group.battles_per_core().into()),
        "tick_us": of(&|group| json!({ "p50": group.tick.p50_us, "p99": group.tick.p99_us, "mean": group.mean_us })),
        "save_and_hash_us": of(&|group| object_of(&group.save_and_hash)),
        "save_and_hash_cold_us": of(&|group| object_of(&group.save_and_hash_cold)),
        "core_share": groups.iter().map(Group::core_share).sum::<f64>(),
    })
}

#[cfg(test)]
mod tests {
    use tiltyard_engine::skirmish::Skirmish;

    use super::*;

    #[test]
    fn pauses_are_no_part_of_the_usual_mean() {
        let mut ns = vec![2_000; 99];
        assert_eq!(usual_mean_us(&ns), 2.0);
        ns.push(9_000_000);
        assert_eq!(usual_mean_us(&ns), 2.0);
        assert_eq!(usual_mean_us(&[7_000]), 7.0);
    }

    #[test]
    fn battles_in_turn_come_to_the_states_they_came_to_alone() {
        let scenes = Skirmish::scenes();
        let groups =
            measure::<Skirmish>(&[(scenes[0].clone(), 5), (scenes[1].clone(), 2)], 1, 0.0, |_| {}).unwrap();
        let object = object(&groups);
        assert_eq!(object["battles"]["10x30"], 5);
        for scene in ["10x30", "100x300"] {
            assert!(object["battles_per_core"][scene].as_u64() > Some(0), "{object}");
        }
        assert!(describe(&groups).contains("10x30"));
    }
}
