//! Battles one after the other over one kind of link, and what came of them.

use std::time::Instant;

use tiltyard_client::{FeedWish, LaneBytes, Latencies, Pace, PlayerSettings, PredictionReport};
use tiltyard_engine::{Game, StartError, StateHash, TickRate};
use tiltyard_netcode::LaneWish;
use tiltyard_netcode::link::{LinkConfig, LinkStats};
use tiltyard_replay::Ended;

use super::field::{Field, spec_for};

/// How long a battle may take beyond its ticks, milliseconds: meeting, ending, and coming back from silence.
const SPARE_MS: u64 = 60_000;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) players: u16,
    pub(super) rate: TickRate,
    pub(super) link: LinkConfig,
    pub(super) lane: LaneWish,
    pub(super) feed: FeedWish,
    pub(super) minutes: u32,
    pub(super) seed: u64,
    /// The players predict.
    pub(super) predicts: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) battles: u32,
    /// Battles that were not played to their end, by the node or by a player.
    pub(super) unfinished: u32,
    pub(super) ticks: u64,
    pub(super) state_age: Latencies,
    pub(super) input_to_state: Latencies,
    /// Of players that predict.
    pub(super) prediction: Option<PredictionReport>,
    pub(super) inputs_missed: u64,
    /// Inputs that ticks could have had: one for each player and tick.
    pub(super) inputs_due: u64,
    pub(super) up: LinkStats,
    pub(super) down: LinkStats,
    pub(super) lane_bytes: LaneBytes,
    pub(super) desyncs: u64,
    pub(super) reconnects: u64,
    /// The last battle's.
    pub(super) final_hash: Option<StateHash>,
    /// Virtual time, milliseconds, of every player in a battle.
    pub(super) player_ms: u64,
    pub(super) virtual_ms: u64,
    /// Time by the wall clock.
    pub(super) seconds: f64,
}

impl Plan {
    /// Plays battles until the minutes are over; `progress` hears of each virtual second in which one ended.
    pub(super) fn run<G: Game>(&self, mut progress: impl FnMut(u64)) -> Result<Figures, StartError> {
        let (mut figures, began) = (Figures::default(), Instant::now());
        let ticks = u64::from(self.minutes) * 60 * u64::from(self.rate.hz());
        while figures.ticks < ticks && figures.unfinished == 0 {
            let left = u32::try_from(ticks - figures.ticks).unwrap_or(u32::MAX);
            self.play::<G>(left, &mut figures)?;
            progress(figures.virtual_ms / 1000);
        }
        figures.seconds = began.elapsed().as_secs_f64();
        Ok(figures)
    }

    fn play<G: Game>(&self, ticks: u32, figures: &mut Figures) -> Result<(), StartError> {
        let seed = self.seed.wrapping_add(u64::from(figures.battles));
        let mut spec = spec_for::<G>(self.players, ticks, seed);
        spec.terms.rate = self.rate;
        let longest = u64::from(ticks) * 1000 / u64::from(spec.terms.rate.hz()) + SPARE_MS;
        let mut field = Field::<G>::new(spec, self.link, seed)?;
        for seat in 0..self.players {
            let (feed, lane) = (self.feed.feed::<G>(seat), self.lane);
            let predicts = self.predicts;
            let pace = Pace::Prompt;
            field.join(seat, PlayerSettings { feed, lane, pace, predicts, ..PlayerSettings::default() });
        }
        let is_through = field.run_to_end(field.now() + longest);
        figures.add(&field, is_through);
        Ok(())
    }
}

impl Figures {
    fn add<G: Game>(&mut self, field: &Field<G>, is_through: bool) {
        self.battles += 1;
        let ticks = field.hashes().count() as u64;
        let players = field.players().count() as u64;
        self.ticks += ticks;
        self.inputs_due += ticks * players;
        let counters = field.ended().map(|ended| ended.room.counters());
        self.inputs_missed += counters.map_or(0, |counters| counters.inputs_missing);
        self.desyncs += field.differing();
        let mut heard_the_end = true;
        for player in field.players() {
            let report = player.report(field.now());
            self.desyncs += report.desyncs + u64::from(report.agrees == Some(false));
            self.reconnects += report.reconnects;
            self.lane_bytes.merge(report.lane_bytes_up);
            self.lane_bytes.merge(report.lane_bytes_down);
            self.input_to_state.merge(&report.input_to_state);
            if let Some(prediction) = &report.prediction {
                self.prediction.get_or_insert_default().merge(prediction);
            }
            self.player_ms += report.joined_ms;
            heard_the_end &= report.ended().is_some();
        }
        let end = field.ended().map(|ended| &ended.end);
        let is_finished = end.is_some_and(|end| end.ended == Ended::Finished);
        self.unfinished += u32::from(!(is_through && is_finished && heard_the_end));
        self.final_hash = end.map(|end| end.final_hash);
        self.state_age.merge(field.state_age());
        let (up, down) = field.link_stats();
        self.up = self.up + up;
        self.down = self.down + down;
        self.virtual_ms += field.age_ms();
    }

    /// Whether every battle was played to its end by all, in step with the node.
    pub(super) fn is_fine(&self) -> bool {
        self.unfinished == 0 && self.desyncs == 0
    }

    pub(super) fn times_realtime(&self) -> f64 {
        self.virtual_ms as f64 / 1000.0 / self.seconds.max(1e-9)
    }

    /// Bytes of UDP payload that a player sent, and that were sent to one, a second.
    pub(super) fn bytes_per_player_s(&self) -> (u64, u64) {
        let a_second = |bytes: u64| bytes.saturating_mul(1000).checked_div(self.player_ms).unwrap_or(0);
        (a_second(self.up.bytes), a_second(self.down.bytes))
    }

    /// The share of the inputs that ticks had to do without, in percent.
    pub(super) fn missed_percent(&self) -> f64 {
        self.inputs_missed as f64 * 100.0 / self.inputs_due.max(1) as f64
    }
}
