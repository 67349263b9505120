//! A recording as something to look at: the battle at any tick, and what was told shortly before.
//!
//! What is shown of a tick follows from the recording and that tick alone, not from the way there: after a jump as
//! many ticks before it are played again as events are remembered for.

use std::collections::VecDeque;
use std::io::{Read, Seek};

use tiltyard_engine::{Battle, Game, Seat};
use tiltyard_replay::{PlayError, Player};

/// How long the line about an event is remembered.
const REMEMBERED_SECONDS: u32 = 10;
/// Lines of one tick that are kept, the last ones.
const TICK_LINES_MAX: usize = 8;
/// How far the search for an event goes before it gives up.
const SEARCH_SECONDS: u32 = 600;

/// One line about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) tick: u32,
    pub(super) text: String,
}

/// A recording, at one of its ticks.
pub(super) struct Film<G: Game, S> {
    player: Player<G, S>,
    seat: Option<Seat>,
    first: u32,
    tick: u32,
    /// Lines of the remembered ticks up to `tick`, oldest first; at most [`TICK_LINES_MAX`] a tick.
    lines: VecDeque<Line>,
    /// Whether `lines` holds all of them, and the battle the events of `tick`.
    whole: bool,
    diverged: Option<u32>,
}

impl<G: Game, S: Read + Seek> Film<G, S> {
    /// Opens a recording at its first tick.
    ///
    /// # Errors
    /// As [`Player::open`].
    pub(super) fn open(source: S) -> Result<Self, PlayError> {
        let player = Player::open(source)?;
        let tick = player.tick();
        let (lines, seat) = (VecDeque::new(), None);
        Ok(Self { player, seat, first: tick, tick, lines, whole: true, diverged: None })
    }

    /// Goes to a tick, or to the nearest that is there, and tells as the player of `seat` is told, or who looks on.
    ///
    /// # Errors
    /// If the recording is damaged on the way or cannot be computed further. Then it has to be shown where
    /// [`Film::tick`] says, by going there.
    pub(super) fn show(&mut self, tick: u32, seat: Option<Seat>) -> Result<(), PlayError> {
        let tick = tick.clamp(self.first, self.last().max(self.first));
        let told_otherwise = std::mem::replace(&mut self.seat, seat) != seat;
        let near = tick.checked_sub(self.tick).is_some_and(|ahead| ahead <= self.remembered());
        if !self.whole || !near || told_otherwise {
            self.jump(tick.saturating_sub(self.remembered()))?;
        }
        while self.tick < tick && self.step()? {}
        Ok(())
    }

    /// The next tick that tells something.
    ///
    /// # Errors
    /// As [`Film::show`].
    pub(super) fn next_told(&mut self) -> Result<Option<u32>, PlayError> {
        let from = self.tick;
        let until = from.saturating_add(self.ticks(SEARCH_SECONDS));
        while self.tick < until && self.step()? {
            if let Some(line) = self.lines.back().filter(|line| line.tick > from) {
                return Ok(Some(line.tick));
            }
        }
        self.show(from, self.seat)?;
        Ok(None)
    }

    /// The last tick before this one that tells something.
    ///
    /// # Errors
    /// As [`Film::show`].
    pub(super) fn previous_told(&mut self) -> Result<Option<u32>, PlayError> {
        let (here, seat) = (self.tick, self.seat);
        let until = here.saturating_sub(self.ticks(SEARCH_SECONDS)).max(self.first);
        let mut at = here;
        loop {
            if let Some(line) = self.lines.iter().rev().find(|line| line.tick < here) {
                return Ok(Some(line.tick));
            }
            if at <= until {
                self.show(here, seat)?;
                return Ok(None);
            }
            at = at.saturating_sub(self.remembered()).max(self.first);
            self.show(at, seat)?;
        }
    }

    /// Takes in what was written since, for a recording that still is.
    ///
    /// # Errors
    /// As [`Film::show`].
    pub(super) fn refresh(&mut self) -> Result<(), PlayError> {
        // The events of the tick are gone after it, so that it has to be played again.
        self.whole = false;
        let refreshed = self.player.refresh();
        self.tick = self.player.tick();
        refreshed
    }

    /// The battle at this tick.
    pub(super) fn battle(&self) -> &Battle<G> {
        self.player.battle()
    }

    /// What was told up to this tick, oldest first.
    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.lines.iter()
    }

    /// The tick that is shown.
    pub(super) fn tick(&self) -> u32 {
        self.tick
    }

    /// The first tick that can be shown.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// The last tick that can be shown.
    pub(super) fn last(&self) -> u32 {
        self.player.last_tick()
    }

    /// Whether the recording has an end.
    pub(super) fn is_complete(&self) -> bool {
        self.player.is_complete()
    }

    /// Ticks in a second.
    pub(super) fn rate_hz(&self) -> u16 {
        self.player.header().rate_hz
    }

    /// The first tick among those that were played whose state is not the recorded one.
    pub(super) fn diverged(&self) -> Option<u32> {
        self.diverged
    }

    fn jump(&mut self, tick: u32) -> Result<(), PlayError> {
        self.lines.clear();
        self.whole = false;
        let reached = self.player.seek(tick.max(self.first));
        // After an error it stands at the last good tick, unless the game panicked: then it has to seek again.
        self.tick = self.player.tick();
        self.whole = reached? == tick.max(self.first);
        Ok(())
    }

    /// Plays a tick; says whether there was one.
    fn step(&mut self) -> Result<bool, PlayError> {
        let before = self.tick;
        let hash = match self.player.step() {
            Ok(Some(hash)) => hash,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.whole = false;
                return Err(error);
            }
        };
        self.tick = self.player.tick();
        if self.tick <= before {
            // A higher epoch took over: what was told after its keyframe did not happen.
            self.lines.retain(|line| line.tick < self.tick);
        }
        if self.player.recorded_hash().is_some_and(|recorded| recorded != hash) {
            self.diverged = Some(self.diverged.map_or(self.tick, |first| first.min(self.tick)));
        }
        self.listen();
        Ok(true)
    }

    fn listen(&mut self) {
        let (tick, battle) = (self.tick, self.player.battle());
        let told = battle.events().iter().filter_map(|event| G::describe(battle.world(), self.seat, event));
        let mut of_tick: VecDeque<Line> = VecDeque::new();
        for text in told {
            if of_tick.len() == TICK_LINES_MAX {
                of_tick.pop_front();
            }
            of_tick.push_back(Line { tick, text });
        }
        self.lines.append(&mut of_tick);
        let oldest = (tick + 1).saturating_sub(self.remembered());
        while self.lines.front().is_some_and(|line| line.tick < oldest) {
            self.lines.pop_front();
        }
    }

    fn remembered(&self) -> u32 {
        self.ticks(REMEMBERED_SECONDS)
    }

    fn ticks(&self, seconds: u32) -> u32 {
        seconds.saturating_mul(self.rate_hz().into()).max(1)
    }
}
