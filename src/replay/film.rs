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

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::time::Duration;

    use tiltyard_engine::Game as _;
    use tiltyard_engine::screen::Key;
    use tiltyard_engine::skirmish::Skirmish;
    use tiltyard_engine::{BattleSpec, TickRecord};
    use tiltyard_replay::{Settings, Writer};

    use super::super::deck::{Ask, Deck};
    use super::super::frame::{Foot, draw};
    use super::*;
    use crate::bench::Played;

    type Reel = Film<Skirmish, Cursor<Vec<u8>>>;

    const TICKS: u32 = 900;

    fn recording() -> Vec<u8> {
        let mode = &Skirmish::modes()[0];
        Played::<Skirmish>::of(mode, 2026, 0, TICKS).expect("it plays").recording().expect("it is recorded")
    }

    fn frame(film: &mut Reel, deck: &Deck) -> String {
        film.show(deck.tick, deck.seat).expect("whole");
        assert_eq!(film.tick(), deck.tick);
        draw(film, deck, Foot::None, (80, 24)).to_string()
    }

    /// xorshift: any numbers do.
    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn every_way_to_a_tick_shows_the_same_picture() {
        let seed = std::env::var("SEED").map_or(7, |seed| seed.parse().expect("SEED is a number"));
        eprintln!("SEED={seed}");
        let (mut dice, bytes) = (seed | 1, recording());
        let mut film = Reel::open(Cursor::new(bytes.clone())).expect("a recording");
        let seats = film.battle().spec().roster.len() as u16;
        let mut deck = Deck::new(film.first(), film.last(), film.rate_hz(), seats);
        let keys: Vec<Key> = " ,.,.,.,.-+bpnpnfog0123456789x"
            .chars()
            .map(Key::Char)
            .chain([Key::Left, Key::Left, Key::Right, Key::Up, Key::Down, Key::Enter])
            .collect();
        let mut seen = std::collections::BTreeMap::new();
        for press in 0..600 {
            match deck.press(keys[next(&mut dice) as usize % keys.len()]) {
                Some(Ask::Next) => {
                    let (from, next) = (deck.tick, film.next_told().expect("whole"));
                    assert!(next.is_none_or(|next| next > from));
                    deck.halt(next.unwrap_or(from));
                }
                Some(Ask::Previous) => {
                    let (from, previous) = (deck.tick, film.previous_told().expect("whole"));
                    assert!(previous.is_none_or(|previous| previous < from));
                    deck.halt(previous.unwrap_or(from));
                }
                None => deck.pass(Duration::from_millis(next(&mut dice) % 250)),
            }
            // How it plays is part of the picture, and is left out here.
            let mut still = Deck::new(deck.first, deck.last, deck.rate_hz, seats);
            (still.tick, still.seat) = (deck.tick, deck.seat);
            let shown = frame(&mut film, &still);
            let first = seen.entry((still.tick, still.seat.map(|seat| seat.0))).or_insert_with(|| {
                let mut fresh = Reel::open(Cursor::new(bytes.clone())).expect("a recording");
                frame(&mut fresh, &still)
            });
            assert_eq!(&shown, first, "press {press}, tick {}", still.tick);
        }
        assert!(seen.len() > 100, "{} pictures", seen.len());
        assert_eq!(film.diverged(), None);
    }

    #[test]
    fn events_are_found_in_both_directions_one_by_one() {
        let mut film = Reel::open(Cursor::new(recording())).expect("a recording");
        let mut forwards = Vec::new();
        while let Some(tick) = film.next_told().expect("whole") {
            forwards.push(tick);
        }
        film.show(TICKS, None).expect("whole");
        let mut backwards: Vec<_> =
            film.lines().map(|line| line.tick).filter(|tick| *tick == TICKS).take(1).collect();
        while let Some(tick) = film.previous_told().expect("whole") {
            backwards.push(tick);
            film.show(tick, None).expect("whole");
        }
        backwards.reverse();
        assert!(forwards.len() > 5, "{forwards:?}");
        assert_eq!(forwards, backwards);
    }

    #[test]
    fn a_state_that_is_not_the_recorded_one_is_named_by_its_first_tick() {
        let spec = BattleSpec::<Skirmish>::bots(&Skirmish::modes()[0], 2026);
        let header =
            Player::<Skirmish, _>::open(Cursor::new(recording())).expect("a recording").header().clone();
        let mut battle = Battle::new(spec).expect("it starts");
        let mut writer = Writer::start(Vec::new(), &header, Settings::new(1, 30)).expect("memory takes it");
        let mut before = TickRecord::neutral(battle.tick(), header.seat_names.len());
        for tick in 1..=90 {
            let (mut record, mut bytes) = (TickRecord::neutral(battle.tick(), 0), Vec::new());
            battle.bot_record(&mut record);
            record.encode(&before, &mut bytes);
            let hash = battle.step(&record).0 ^ u64::from(tick == 40 || tick == 70);
            writer.append(tick, &bytes, hash).expect("memory takes it");
            before = record;
        }
        writer.flush().expect("memory takes it");
        let mut film = Reel::open(Cursor::new(writer.into_sink())).expect("a recording");
        let mut diverged = |tick| {
            film.show(tick, None).expect("it can be computed");
            film.diverged()
        };
        assert_eq!([diverged(39), diverged(90), diverged(20)], [None, Some(40), Some(40)]);
        assert!(!film.is_complete());
    }

    #[test]
    fn at_damage_the_last_good_tick_is_shown_and_what_lies_behind_can_be_reached() {
        let mut bytes = recording();
        let opened = tiltyard_replay::Recording::open(Cursor::new(&bytes)).expect("a recording");
        let keyframe = opened.keyframes()[1];
        bytes[keyframe.offset as usize - 10] ^= 1;
        let mut film = Reel::open(Cursor::new(bytes)).expect("a recording");
        assert!(film.show(keyframe.tick - 1, None).is_err());
        let stands = film.tick();
        assert!(stands > keyframe.tick - 60 && stands < keyframe.tick, "{stands}");
        film.show(stands, None).expect("good up to there");
        assert_eq!(film.tick(), stands);
        let behind = keyframe.tick + film.remembered();
        film.show(behind, None).expect("a keyframe leads there");
        assert_eq!(film.tick(), behind);
    }
}
