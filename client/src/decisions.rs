//! Decisions: for which tick an input is taken, and what of it goes into the next message.
//!
//! ```text
//! Pace::Repeatable   state of tick s seen ──▶ input for tick s + lead      (no clock: same states, same inputs)
//! Pace::Prompt       the clock says that tick t is next ──▶ input for t    (least latency)
//! ```

use std::collections::VecDeque;

use tiltyard_engine::rng::Rng;
use tiltyard_engine::{Battle, Game, Seat, Tick};
use tiltyard_netcode::Millis;
use tiltyard_netcode::input_window::InputWindow;
use tiltyard_netcode::message::{INPUT_LEN_MAX, INPUTS_RUN_MAX};

use crate::latencies::Latencies;
use crate::script::{Script, View};

/// How far ahead of the state that it sees a repeatable player decides, unless told otherwise: 200 ms at 30 Hz, so
/// inputs come in time over round trips of about 150 ms.
pub const LEAD_TICKS: u32 = 6;

/// The largest lead: inputs of so many ticks fit one message.
pub const LEAD_TICKS_MAX: u32 = INPUTS_RUN_MAX as u32 - 2;

/// The stream of random numbers that scripts of clients draw from.
const SCRIPT_STREAM: u16 = u16::MAX - 1;

/// Inputs whose way is timed at once; the oldest gives way.
const TIMED_MAX: usize = 128;

/// When an input is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// By the states alone: the input for a tick is decided on the state `lead_ticks` before it, each once and in
    /// order, those of the first ticks on the state before tick 1. As long as every state is seen and inputs come in
    /// time, a battle repeats itself.
    Repeatable {
        /// The lead, 1 to [`LEAD_TICKS_MAX`].
        lead_ticks: u32,
    },
    /// By the clock, as late as the way to the node allows, steered by the node's reports.
    Prompt,
}

/// One seat's decisions.
pub(crate) struct Decisions<G: Game> {
    script: Box<dyn Script<G>>,
    pace: Pace,
    window: InputWindow,
    /// The newest tick that was decided, or passed over.
    decided: Option<u32>,
    /// How many of the window's newest inputs were never sent.
    unsent: usize,
    /// Inputs on their way: tick and when it was first sent.
    timed: VecDeque<(u32, Millis)>,
    /// Ticks are being made; before, inputs wait for the battle's begin and not for the network.
    runs: bool,
    made: u64,
    input_to_state: Latencies,
}

impl<G: Game> Decisions<G> {
    pub(crate) fn new(script: Box<dyn Script<G>>, pace: Pace) -> Self {
        const { assert!(size_of::<G::Input>() <= INPUT_LEN_MAX, "an input of a game fits a message") };
        let pace = match pace {
            Pace::Repeatable { lead_ticks } => {
                Pace::Repeatable { lead_ticks: lead_ticks.clamp(1, LEAD_TICKS_MAX) }
            }
            Pace::Prompt => Pace::Prompt,
        };
        Self {
            script,
            pace,
            window: InputWindow::default(),
            decided: None,
            unsent: 0,
            timed: VecDeque::with_capacity(TIMED_MAX),
            runs: false,
            made: 0,
            input_to_state: Latencies::default(),
        }
    }

    /// Another copy of the battle begins: what was said counts no more.
    pub(crate) fn start_over(&mut self) {
        self.window = InputWindow::default();
        self.decided = None;
        self.unsent = 0;
        self.timed.clear();
        self.runs = false;
    }

    /// A new session of the same battle: it has received nothing of what is unconfirmed.
    pub(crate) fn say_all_again(&mut self) {
        self.unsent = self.window.len();
    }

    /// A new state is there.
    pub(crate) fn see(&mut self, battle: &Battle<G>, seat: Seat) {
        if seat.index() < battle.spec().roster.len() {
            self.script.see(battle, seat);
        }
        let Pace::Repeatable { lead_ticks } = self.pace else { return };
        let now = battle.tick().0;
        let newest = now.saturating_add(lead_ticks);
        let first = self.decided.map_or(now, |decided| decided.max(now)).saturating_add(1);
        for tick in first..newest.saturating_add(1) {
            self.decide(battle, seat, tick);
        }
    }

    /// Decides for a tick, once, seeing this battle; older ticks than the newest decided are passed. Gives what was
    /// decided.
    pub(crate) fn decide(&mut self, battle: &Battle<G>, seat: Seat, tick: u32) -> Option<G::Input> {
        if self.is_decided(tick) || seat.index() >= battle.spec().roster.len() {
            return None;
        }
        self.decided = Some(tick);
        let rng = Rng::new(battle.spec().terms.seed, tick, SCRIPT_STREAM, u32::from(seat.0));
        let mut view = View { battle, seat, tick: Tick(tick), rng };
        let input = G::aimed(self.script.decide(&mut view)?, battle.tick(), Tick(tick));
        self.window.push(tick, bytemuck::bytes_of(&input));
        self.unsent = (self.unsent + 1).min(self.window.len());
        self.made += 1;
        Some(input)
    }

    /// The state of `tick` was seen: older inputs have had their effect.
    pub(crate) fn shown(&mut self, now: Millis, tick: u32) {
        while let Some((_, sent)) = self.timed.pop_front_if(|(of, _)| *of <= tick) {
            self.input_to_state.record(now.since(sent));
        }
        self.runs = tick > 0;
        self.confirm(tick);
    }

    /// The node holds every input up to `tick`, or needs it no more.
    pub(crate) fn confirm(&mut self, tick: u32) {
        self.window.confirm(tick);
        self.unsent = self.unsent.min(self.window.len());
    }

    /// Writes the next message: what was never sent, and at least `redundancy` inputs if so many are unconfirmed.
    pub(crate) fn encode(
        &mut self,
        now: Millis,
        out: &mut Vec<u8>,
        seat: u16,
        acknowledged: Option<u32>,
        redundancy: usize,
    ) {
        self.window.encode(out, seat, acknowledged, self.unsent.max(redundancy));
        let unsent = std::mem::take(&mut self.unsent);
        let Some(newest) = self.window.newest_tick().filter(|_| self.runs) else { return };
        for behind in (0..unsent).rev() {
            let tick = newest.saturating_sub(u32::try_from(behind).unwrap_or(u32::MAX));
            if self.timed.back().is_some_and(|(last, _)| *last >= tick) {
                continue;
            }
            if self.timed.len() == TIMED_MAX {
                self.timed.pop_front();
            }
            self.timed.push_back((tick, now));
        }
    }

    /// Whether the tick was decided, or passed over.
    pub(crate) fn is_decided(&self, tick: u32) -> bool {
        self.decided.is_some_and(|decided| tick <= decided)
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// Whether something is there that was never sent.
    pub(crate) fn has_news(&self) -> bool {
        self.unsent > 0
    }

    /// Whether something is there that the node may not have.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        !self.window.is_empty()
    }

    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    pub(crate) fn input_to_state(&self) -> &Latencies {
        &self.input_to_state
    }
}

#[cfg(test)]
mod tests {
    use tiltyard_engine::{
        BattleSpec, Mode, Outcome, Registry, Schedule, Stage, Terms, TickRecord, World, record,
    };
    use tiltyard_netcode::message::ToServer;

    use super::*;
    use crate::script::Bot;

    record! {
        struct Count { unused: u32 }
        struct Shot { seen: u32, tick: u32 }
    }

    /// A game whose inputs say what was seen.
    struct Range;

    impl Game for Range {
        const NAME: &'static str = "range";
        type Input = Shot;
        type Event = Count;
        type Setup = Count;
        type Scratch = ();

        fn components(registry: &mut Registry) {
            registry.singleton::<Count>();
        }

        fn systems(_: &mut Schedule<Self>) {}

        fn modes() -> Vec<Mode<Count>> {
            vec![Mode { name: "one", teams: 1, seats_per_team: 1, seconds: 10, setup: Count::default() }]
        }

        fn spawn(_: &mut Stage<'_, Self>) {}

        fn missing(last: &Shot, _: u16) -> Shot {
            *last
        }

        fn check(_: &Shot) -> bool {
            true
        }

        fn bot(_: &World, _: Seat, _: &mut Rng) -> Shot {
            Shot::default()
        }

        fn aimed(_: Shot, seen: Tick, tick: Tick) -> Shot {
            Shot { seen: seen.0, tick: tick.0 }
        }

        fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
            (world.tick().0 >= terms.ticks_max).then(Outcome::default)
        }
    }

    #[test]
    fn an_input_says_which_state_its_player_saw() {
        let mut battle =
            Battle::new(BattleSpec::<Range>::bots(&Range::modes()[0], 1)).expect("the game is sound");
        let mut record = TickRecord::neutral(Tick::ZERO, 1);
        for _ in 0..3 {
            battle.bot_record(&mut record);
            battle.step(&record);
        }
        assert_eq!(record.inputs[0].input, Shot { seen: 2, tick: 3 }, "of scripted players too");
        let mut decisions = Decisions::<Range>::new(Box::new(Bot), Pace::Prompt);
        assert_eq!(decisions.decide(&battle, Seat(0), 9), Some(Shot { seen: 3, tick: 9 }));
        let mut message = Vec::new();
        decisions.encode(Millis(0), &mut message, 0, None, 1);
        let Ok(ToServer::Inputs(inputs)) = ToServer::parse(&message) else { panic!("{message:?}") };
        let sent: Vec<_> = inputs.run().map(|(tick, bytes)| (tick, bytes.to_vec())).collect();
        assert_eq!(sent, [(9, bytemuck::bytes_of(&Shot { seen: 3, tick: 9 }).to_vec())]);
    }
}
