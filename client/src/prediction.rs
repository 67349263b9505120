//! Prediction: the battle as it will be when the node gets what the player says now.
//!
//! ```text
//! confirmed state of tick c ──own inputs for c + 1 … t, others as last known──▶ predicted state of tick t
//!        ▲                                                                         │ what the player sees
//!        └───────── the next confirmed state: back to it, and forward again ◀──────┘
//! ```
//! What the others do is known with the frame feed alone, and only up to tick c: from there on they do what
//! [`Game::missing`] says of a seat that falls silent. With the snapshot feed they are neutral.
//!
//! When a confirmed state shows that the prediction was wrong, the predicted battle is right at once, and the pose that
//! is shown glides there: half of the way in [`HALF_LIFE_MS`]. Beyond [`GLIDE_MAX_M`] it jumps.

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use tiltyard_engine::{
    Battle, Game, Pose, Reason, Save, Seat, SeatInput, StartError, Tick, TickRecord, math,
};
use tiltyard_netcode::Millis;

use crate::mirror::Mirror;

/// How far ahead of the newest confirmed state is predicted at most; beyond, the confirmed state is shown.
pub const PREDICTED_TICKS_MAX: u32 = 32;

/// Time in which half of a correction is made.
const HALF_LIFE_MS: f32 = 100.0;

/// A correction beyond this is made at once: gliding so far would look like another body.
const GLIDE_MAX_M: f32 = 3.0;

/// A prediction that was not further off was right: finer than anybody sees.
const RIGHT_M: f32 = 0.001;

/// The largest error that is told from larger ones, in millimetres.
const ERROR_MM_MAX: u64 = 1_000_000;

/// One seat's prediction.
pub struct Prediction<G: Game> {
    battle: Battle<G>,
    seat: Seat,
    confirmed: Save,
    /// What the seats did last: in the confirmed tick, then in each predicted one.
    known: Vec<SeatInput<G::Input>>,
    last: Vec<SeatInput<G::Input>>,
    record: TickRecord<G::Input>,
    /// Own inputs for ticks that are not confirmed, ascending.
    said: VecDeque<(u32, G::Input)>,
    /// The own pose as it was predicted for ticks that are not confirmed, ascending.
    poses: VecDeque<(u32, Pose)>,
    /// The predicted battle is ahead of the confirmed one.
    is_ahead: bool,
    /// A state was confirmed since the last prediction; and the newest pose that was predicted before.
    is_outdated: bool,
    before: Option<(u32, Pose)>,
    /// Where the shown pose is, seen from the predicted one, and when that was so.
    glide: (Pose, Millis),
    report: PredictionReport,
}

/// How well a player's own pose was predicted.
#[derive(Clone, Debug)]
pub struct PredictionReport {
    /// Confirmed states for which the pose had been predicted: how far off it was, in millimetres.
    errors_mm: Histogram<u64>,
    /// Confirmed states for which it was off.
    pub corrections: u64,
    /// Corrections too large to glide.
    pub jumps: u64,
    /// Ticks computed.
    pub ticks: u64,
    /// Of them those that had been computed before.
    pub ticks_again: u64,
    /// Ticks that were not predicted, as they were too far ahead of the newest confirmed state.
    pub too_far: u64,
    /// Panics of the game in the predicted battle: one, after which nothing was predicted.
    pub faults: u64,
}

impl<G: Game> Prediction<G> {
    pub(crate) fn new(mirror: &Mirror<G>, seat: Seat) -> Result<Self, StartError> {
        let spec = mirror.battle().spec().clone();
        let record = TickRecord::neutral(Tick::ZERO, spec.roster.len());
        Ok(Self {
            battle: Battle::new(spec)?,
            seat,
            confirmed: Save::default(),
            known: record.inputs.clone(),
            last: Vec::new(),
            record,
            said: VecDeque::new(),
            poses: VecDeque::new(),
            is_ahead: false,
            is_outdated: false,
            before: None,
            glide: (Pose::default(), Millis(0)),
            report: PredictionReport::default(),
        })
    }

    /// The predicted battle; nothing while it is not ahead of the confirmed one.
    #[must_use]
    pub fn battle(&self) -> Option<&Battle<G>> {
        self.is_ahead.then_some(&self.battle)
    }

    /// The own pose to show: the predicted one, or on its way there after a correction. Nothing without a predicted
    /// battle, or if the game does not tell poses.
    #[must_use]
    pub fn pose(&self, now: Millis) -> Option<Pose> {
        let pose = G::pose(self.battle()?.world(), self.seat)?;
        let off = self.glide_at(now);
        Some(Pose { at: pose.at + off.at, angle: math::wrap_angle(pose.angle + off.angle) })
    }

    /// How well it went so far.
    #[must_use]
    pub fn report(&self) -> &PredictionReport {
        &self.report
    }

    /// Takes the mirror's newest state as confirmed. Costs a copy of the state.
    pub(crate) fn confirm(&mut self, mirror: &Mirror<G>) {
        let tick = mirror.tick().0;
        if !self.is_outdated {
            self.before = self.poses.back().copied();
        }
        let mut predicted = None;
        while let Some((of, pose)) = self.poses.pop_front_if(|(of, _)| *of <= tick) {
            predicted = (of == tick).then_some(pose);
        }
        if let (Some(predicted), Some(pose)) = (predicted, G::pose(mirror.world(), self.seat)) {
            self.report.note_error(predicted.at.distance(pose.at));
        }
        mirror.battle().save(&mut self.confirmed);
        let mut own = self.known[self.seat.index()];
        while let Some((_, input)) = self.said.pop_front_if(|(of, _)| *of <= tick) {
            own = SeatInput { input, reason: Reason::Arrived };
        }
        match mirror.known_inputs() {
            Some(inputs) => self.known.copy_from_slice(inputs),
            None => {
                self.known.fill(SeatInput { input: G::Input::default(), reason: Reason::Neutral });
                self.known[self.seat.index()] = own;
            }
        }
        self.is_outdated = true;
    }

    /// Takes what the player says for a tick, later than all before.
    pub(crate) fn say(&mut self, tick: u32, input: G::Input) {
        if self.said.len() == PREDICTED_TICKS_MAX as usize {
            self.said.pop_front();
        }
        self.said.push_back((tick, input));
    }

    /// Predicts up to `tick`. Costs a restore after each confirmed state, and a step for every tick since.
    pub(crate) fn predict(&mut self, now: Millis, tick: u32) {
        let confirmed = self.confirmed.tick().0;
        if self.confirmed.is_empty() || tick <= confirmed {
            self.is_ahead = false;
            return;
        }
        if tick - confirmed > PREDICTED_TICKS_MAX {
            self.report.too_far += 1;
            self.is_ahead = false;
            return;
        }
        if std::mem::take(&mut self.is_outdated) || !self.is_ahead {
            if self.is_ahead {
                self.report.ticks_again += u64::from(self.battle.tick().0.saturating_sub(confirmed));
            }
            self.battle.restore(&self.confirmed);
            self.last.clone_from(&self.known);
            self.poses.clear();
            self.is_ahead = true;
        }
        while self.battle.tick().0 < tick && self.battle.outcome().is_none() {
            self.step(confirmed);
            self.glide_on(now);
        }
    }

    fn step(&mut self, confirmed: u32) {
        let tick = self.battle.tick().next();
        let silent = u16::try_from(tick.0 - confirmed).unwrap_or(u16::MAX);
        for last in &mut self.last {
            *last = SeatInput { input: G::missing(&last.input, silent), reason: Reason::Repeated };
        }
        if let Some((_, input)) = self.said.iter().find(|(of, _)| *of == tick.0) {
            self.last[self.seat.index()] = SeatInput { input: *input, reason: Reason::Arrived };
        }
        self.record.tick = tick;
        self.record.inputs.clone_from(&self.last);
        self.battle.step(&self.record);
        self.report.ticks += 1;
        if let Some(pose) = G::pose(self.battle.world(), self.seat) {
            self.poses.push_back((tick.0, pose));
        }
    }

    /// Where the tick is reached again that was shown before the correction: what was shown must not jump.
    fn glide_on(&mut self, now: Millis) {
        let (Some((of, old)), Some((tick, new))) = (self.before, self.poses.back()) else { return };
        if of != *tick {
            return;
        }
        self.before = None;
        let mut off = self.glide_at(now);
        off.at += old.at - new.at;
        off.angle = math::wrap_angle(off.angle + old.angle - new.angle);
        if off.at.length() > GLIDE_MAX_M {
            self.report.jumps += 1;
            off = Pose::default();
        }
        self.glide = (off, now);
    }

    fn glide_at(&self, now: Millis) -> Pose {
        let (off, since) = self.glide;
        let left = (-(now.since(since) as f32) / HALF_LIFE_MS).exp2();
        Pose { at: off.at * left, angle: off.angle * left }
    }
}

impl PredictionReport {
    fn note_error(&mut self, metres: f32) {
        // From float to integer saturates.
        self.errors_mm.saturating_record(((metres * 1_000.0).round() as u64).min(ERROR_MM_MAX));
        self.corrections += u64::from(metres > RIGHT_M);
    }

    /// Adds another one's.
    pub fn merge(&mut self, other: &Self) {
        self.errors_mm += &other.errors_mm;
        self.corrections += other.corrections;
        self.jumps += other.jumps;
        self.ticks += other.ticks;
        self.ticks_again += other.ticks_again;
        self.too_far += other.too_far;
        self.faults += other.faults;
    }

    /// Confirmed states for which the pose had been predicted.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.errors_mm.len()
    }

    /// How far off the predicted pose was on average, in metres; 0 if none was confirmed.
    #[must_use]
    pub fn error_mean_m(&self) -> f64 {
        self.errors_mm.mean() / 1_000.0
    }

    /// The distance that a share of all predicted poses was not above, in metres; 0 if none was confirmed.
    #[must_use]
    pub fn error_quantile_m(&self, share: f64) -> f64 {
        self.errors_mm.value_at_quantile(share) as f64 / 1_000.0
    }
}

impl Default for PredictionReport {
    fn default() -> Self {
        Self {
            errors_mm: Histogram::new_with_bounds(1, ERROR_MM_MAX, 3).expect("the bounds are sound"),
            corrections: 0,
            jumps: 0,
            ticks: 0,
            ticks_again: 0,
            too_far: 0,
            faults: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use tiltyard_engine::glam::{Vec2, Vec3, vec2};
    use tiltyard_engine::skirmish::{Input, Skirmish};
    use tiltyard_engine::{BattleSpec, encode_keyframe};

    use super::*;
    use crate::predictor::Predictor;

    const SEAT: Seat = Seat(0);
    const EAST: Vec2 = vec2(1.0, 0.0);

    fn spec() -> BattleSpec<Skirmish> {
        BattleSpec::bots(&Skirmish::modes()[0], 5)
    }

    /// A node's battle in which seat 0 goes where it is told and all others stand.
    struct Node {
        battle: Battle<Skirmish>,
        record: TickRecord<Input>,
    }

    impl Node {
        fn new() -> Self {
            let spec = spec();
            let record = TickRecord::neutral(Tick::ZERO, spec.roster.len());
            Self { battle: Battle::new(spec).expect("it starts"), record }
        }

        fn step(&mut self, towards: Vec2) {
            self.record.tick = self.battle.tick().next();
            self.record.inputs[0].input = Input::new(towards, 0.0, 0);
            self.battle.step(&self.record);
        }

        /// The state as the client has it.
        fn mirror(&self) -> Mirror<Skirmish> {
            let (mut save, mut mirror) = (Save::default(), Mirror::start(&spec().encode()).expect("a spec"));
            self.battle.save(&mut save);
            let state = encode_keyframe(&save, &self.record);
            assert!(
                mirror.keyframe(self.battle.tick(), &state, self.battle.state_hash()).expect("a keyframe")
            );
            mirror
        }

        fn pose(&self) -> Pose {
            Skirmish::pose(self.battle.world(), SEAT).expect("it has a body")
        }
    }

    /// A prediction that goes on from the node's tick 10.
    fn begin() -> (Node, Prediction<Skirmish>) {
        let mut node = Node::new();
        (0..10).for_each(|_| node.step(Vec2::ZERO));
        let mirror = node.mirror();
        let mut prediction = Prediction::new(&mirror, SEAT).expect("it starts");
        prediction.confirm(&mirror);
        (node, prediction)
    }

    #[test]
    fn what_is_said_is_seen_at_once_and_comes_out_the_same_at_the_node() {
        let (mut node, mut prediction) = begin();
        assert!(prediction.battle().is_none());
        for tick in 11..=16 {
            prediction.say(tick, Input::new(EAST, 0.0, 0));
            prediction.predict(Millis(0), tick);
        }
        let at_begin = node.pose();
        for _ in 11..=16 {
            node.step(EAST);
        }
        let predicted = prediction.battle().expect("it is ahead");
        assert_eq!(predicted.state_hash(), node.battle.state_hash());
        assert_eq!(prediction.pose(Millis(0)), Some(node.pose()));
        assert!(node.pose().at.distance(at_begin.at) > 0.1, "it went somewhere");
        prediction.confirm(&node.mirror());
        let report = prediction.report();
        assert_eq!((report.confirmed(), report.corrections, report.error_quantile_m(1.0)), (1, 0, 0.0));
        assert_eq!((report.ticks, report.ticks_again), (6, 0));
    }

    #[test]
    fn a_wrong_prediction_is_right_at_once_and_shown_gliding_there() {
        let (mut node, mut prediction) = begin();
        for tick in 11..=16 {
            prediction.say(tick, Input::new(EAST, 0.0, 0));
            prediction.predict(Millis(0), tick);
        }
        let shown = prediction.pose(Millis(0)).expect("a pose");
        // The input of tick 11 never came.
        node.step(Vec2::ZERO);
        prediction.confirm(&node.mirror());
        prediction.predict(Millis(0), 16);
        (12..=16).for_each(|_| node.step(EAST));
        assert_eq!(prediction.battle().expect("it is ahead").state_hash(), node.battle.state_hash());
        let off = |ms| prediction.pose(Millis(ms)).expect("a pose").at.distance(node.pose().at);
        let whole = shown.at.distance(node.pose().at);
        assert!(whole > 0.01, "{whole}");
        assert!((off(0) - whole).abs() < 1e-4, "what is shown does not jump");
        assert!((off(100) - whole / 2.0).abs() < 1e-4, "half of it is done after the half life");
        assert!(off(2_000) < 1e-4);
        let report = prediction.report();
        assert_eq!((report.confirmed(), report.corrections, report.jumps), (1, 1, 0));
        assert_eq!((report.ticks, report.ticks_again), (11, 5));
    }

    #[test]
    fn a_correction_that_is_too_far_to_glide_is_made_at_once() {
        let (_, mut prediction) = begin();
        for (off, jumps) in [(GLIDE_MAX_M - 0.01, 0), (GLIDE_MAX_M + 0.01, 1)] {
            prediction.glide = (Pose::default(), Millis(0));
            prediction.before = Some((11, Pose { at: Vec3::X * off, angle: 0.0 }));
            prediction.poses.clear();
            prediction.poses.push_back((11, Pose::default()));
            prediction.glide_on(Millis(0));
            assert_eq!(prediction.report.jumps, jumps, "{off}");
            assert_eq!(prediction.glide.0.at.x, if jumps == 0 { off } else { 0.0 });
        }
    }

    #[test]
    fn beyond_the_bound_nothing_is_predicted() {
        let (_, mut prediction) = begin();
        prediction.predict(Millis(0), 10 + PREDICTED_TICKS_MAX);
        assert_eq!(prediction.battle().map(Battle::tick), Some(Tick(42)));
        prediction.predict(Millis(0), 11 + PREDICTED_TICKS_MAX);
        assert!(prediction.battle().is_none());
        assert_eq!(prediction.report().too_far, 1);
        // The same where the node is ahead of what is said.
        prediction.predict(Millis(0), 10);
        assert!(prediction.battle().is_none());
        prediction.predict(Millis(0), 12);
        assert_eq!(prediction.battle().map(Battle::tick), Some(Tick(12)));
    }

    #[test]
    fn a_state_that_the_systems_do_not_bear_ends_the_prediction_and_nothing_else() {
        let (node, _) = begin();
        let mut predictor = Predictor::<Skirmish>::new(true);
        predictor.confirm(SEAT, &node.mirror());
        predictor.predict(Millis(0), 12);
        assert!(predictor.prediction().is_some());
        // A sound state, of a battle with fewer puppets than seats: skirmish's systems count on one for each.
        let mut small = spec();
        small.roster.seats.truncate(1);
        let (mut save, mut mirror) = (Save::default(), node.mirror());
        let mut other = Battle::new(small).expect("it starts");
        let mut record = TickRecord::neutral(Tick::ZERO, 1);
        (0..11).for_each(|_| {
            record.tick = record.tick.next();
            other.step(&record);
        });
        other.save(&mut save);
        let record = TickRecord { tick: Tick(11), ..node.record };
        let state = encode_keyframe(&save, &record);
        assert!(mirror.keyframe(Tick(11), &state, other.state_hash()).expect("it is sound"));
        predictor.confirm(SEAT, &mirror);
        predictor.predict(Millis(0), 13);
        assert!(predictor.prediction().is_none());
        assert_eq!(predictor.report().map(|report| report.faults), Some(1));
        predictor.confirm(SEAT, &mirror);
        predictor.predict(Millis(0), 13);
        assert_eq!(predictor.report().map(|report| report.faults), Some(1), "it is not tried again");
    }
}
