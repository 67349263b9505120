//! Intake: the inputs that players sent for ticks to come, filed under (seat, tick), and what a seat does in a tick
//! for which nothing came.
//!
//! Late, early, doubled and senseless inputs are dropped and counted; the tick record says what was used.

use tiltyard_engine::{Battle, Game, Reason, Record, Seat, SeatInput, SeatRole, Tick, TickRecord};

/// How many ticks ahead of the battle an input may be. Later ones are dropped.
pub(crate) const TICKS_AHEAD_MAX: u32 = 64;

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filed {
    /// It waits for its tick.
    Taken,
    /// Its tick was made already, without it.
    Late,
    /// Its tick is too far ahead.
    Early,
    /// There is one for this tick already, used or waiting: the first counts. Clients send inputs more than once, so
    /// this is the common fate of an input.
    Double,
    /// The bytes are no input, or a float in them is not finite.
    Malformed,
    /// The game refuses it.
    Senseless,
}

/// The inputs of one seat.
#[derive(Clone, Debug)]
struct Window<I> {
    /// The input for tick `t` lies at `t % TICKS_AHEAD_MAX`, with its tick.
    slots: Vec<Option<(Tick, I)>>,
    last: I,
    /// How many ticks in a row nothing came.
    silent: u16,
    newest: Option<Tick>,
    /// How many ticks before its use the newest input came; negative when late.
    margin: i16,
}

/// The inputs of all seats of a battle.
#[derive(Debug)]
pub(crate) struct Intake<I> {
    windows: Vec<Window<I>>,
}

impl<I: Record> Intake<I> {
    /// An intake for `seats` seats; nothing came yet.
    #[must_use]
    pub(crate) fn new(seats: usize) -> Self {
        let window = Window {
            slots: vec![None; TICKS_AHEAD_MAX as usize],
            last: I::default(),
            silent: 0,
            newest: None,
            margin: 0,
        };
        Self { windows: vec![window; seats] }
    }

    /// Files the bytes of an input for `tick`, while `now` is the last tick that was made.
    pub(crate) fn file<G: Game<Input = I>>(
        &mut self,
        now: Tick,
        seat: Seat,
        tick: Tick,
        bytes: &[u8],
    ) -> Filed {
        let Some(window) = self.windows.get_mut(seat.index()) else { return Filed::Malformed };
        let ahead = i64::from(tick.0) - i64::from(now.0);
        let slot = &mut window.slots[(tick.0 % TICKS_AHEAD_MAX) as usize];
        if matches!(slot, Some((held, _)) if *held == tick) {
            return Filed::Double;
        }
        if ahead <= 0 {
            let ticks_late = i16::try_from(ahead - 1).unwrap_or(i16::MIN);
            window.margin = window.margin.min(ticks_late);
            return Filed::Late;
        }
        if ahead > i64::from(TICKS_AHEAD_MAX) {
            return Filed::Early;
        }
        let Ok(input) = I::parse(bytes) else { return Filed::Malformed };
        if !G::check(&input) {
            return Filed::Senseless;
        }
        *slot = Some((tick, input));
        window.newest = window.newest.max(Some(tick));
        window.margin = i16::try_from(ahead - 1).unwrap_or(i16::MAX);
        Filed::Taken
    }

    /// Fills `record` with what every seat does in its tick: the input that came, the scripted player's decision,
    /// or what the game says of a silent seat. Returns for how many players nothing came.
    pub(crate) fn resolve<G: Game<Input = I>>(
        &mut self,
        battle: &Battle<G>,
        record: &mut TickRecord<I>,
    ) -> u64 {
        record.inputs.clear();
        let mut missing = 0;
        for ((seat, entry), window) in battle.spec().roster.iter().zip(&mut self.windows) {
            record.inputs.push(match entry.role {
                SeatRole::Bot => SeatInput { input: battle.bot_input(seat), reason: Reason::Bot },
                SeatRole::Human => window.take::<G>(record.tick),
            });
            missing += u64::from(window.silent > 0);
        }
        missing
    }

    /// The newest tick that the seat has an input for, and how many ticks before its use the newest input came:
    /// negative when one came too late since the last report.
    pub(crate) fn report(&mut self, seat: Seat) -> (Option<Tick>, i16) {
        self.windows.get_mut(seat.index()).map_or((None, 0), |window| {
            let margin = window.margin;
            window.margin = margin.max(0);
            (window.newest, margin)
        })
    }
}

impl<I: Record> Window<I> {
    fn take<G: Game<Input = I>>(&mut self, tick: Tick) -> SeatInput<I> {
        // The input stays in its slot until another tick needs it, so that a double is known as one.
        let slot = self.slots[(tick.0 % TICKS_AHEAD_MAX) as usize];
        if let Some((held, input)) = slot
            && held == tick
        {
            self.silent = 0;
            self.last = input;
            return SeatInput { input, reason: Reason::Arrived };
        }
        self.silent = self.silent.saturating_add(1);
        self.last = G::missing(&self.last, self.silent);
        let reason = if self.last == I::default() { Reason::Neutral } else { Reason::Repeated };
        SeatInput { input: self.last, reason }
    }
}
