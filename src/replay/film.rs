//! A recording as something to look at: the battle at any tick, and what was told shortly before.
//!
//! What is shown of a tick follows from the recording and that tick alone, not from the way there: after a jump as
//! many ticks before it are played again as events are remembered for, and where this build's rules lead elsewhere than
//! was recorded, each keyframe is shown as recorded.
//!
//! Of a recording that this build cannot compute the pictures in it are shown, each until the next.

use std::collections::VecDeque;
use std::io::{Read, Seek};

use tiltyard_engine::screen::Canvas;
use tiltyard_engine::{Game, Seat, StateHash};
use tiltyard_replay::{Header, PlayError, Player, ReadError, SimulateError, Stills};

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

/// Where what is shown comes from.
enum Reel<G: Game, S> {
    /// This build computes it.
    Computed(Box<Player<G, S>>),
    /// The pictures in the recording, and the one that is shown.
    Drawn(Box<Stills<S>>, Canvas),
}

/// A recording, at one of its ticks.
pub(super) struct Film<G: Game, S> {
    reel: Reel<G, S>,
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
    /// Opens a recording at its first tick; `again` is the same source once more, for one that this build cannot
    /// compute.
    ///
    /// # Errors
    /// As [`Player::open`]; one that cannot be computed needs pictures.
    pub(super) fn open(source: S, again: impl FnOnce() -> std::io::Result<S>) -> Result<Self, PlayError> {
        let (lines, seat) = (VecDeque::new(), None);
        let foreign = match Player::open(source) {
            Ok(player) => {
                let tick = player.tick();
                let reel = Reel::Computed(Box::new(player));
                return Ok(Self { reel, seat, first: tick, tick, lines, whole: true, diverged: None });
            }
            Err(error @ PlayError::Simulate(SimulateError::Foreign { .. })) => error,
            Err(error) => return Err(error),
        };
        let failed = |error: std::io::Error| ReadError::Io { kind: error.kind(), offset: 0 };
        let stills = Stills::open(again().map_err(failed)?)?;
        let Some(tick) = stills.ticks().next() else { return Err(foreign) };
        let reel = Reel::Drawn(Box::new(stills), Canvas::new(0, 0));
        let mut film = Self { reel, seat, first: tick, tick, lines, whole: true, diverged: None };
        film.show(tick, None)?;
        Ok(film)
    }

    /// Goes to a tick, or to the nearest that is there, and tells as the player of `seat` is told, or who looks on.
    ///
    /// # Errors
    /// If the recording is damaged on the way or cannot be computed further. Then it has to be shown where
    /// [`Film::tick`] says, by going there.
    pub(super) fn show(&mut self, tick: u32, seat: Option<Seat>) -> Result<(), PlayError> {
        let tick = tick.clamp(self.first, self.last().max(self.first));
        if let Reel::Drawn(stills, shown) = &mut self.reel {
            if let Some((of, picture)) = stills.picture(tick)? {
                *shown = picture;
                let text =
                    "drawn by the build that recorded it; this one cannot compute the battle".to_owned();
                self.lines = VecDeque::from([Line { tick: of, text }]);
            }
            self.tick = tick;
            return Ok(());
        }
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
        if let Reel::Drawn(stills, _) = &self.reel {
            return Ok(stills.ticks().find(|tick| *tick > from));
        }
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
        if let Reel::Drawn(stills, _) = &self.reel {
            return Ok(stills.ticks().rfind(|tick| *tick < here));
        }
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
        match &mut self.reel {
            Reel::Computed(player) => {
                // The events of the tick are gone after it, so that it has to be played again.
                self.whole = false;
                let refreshed = player.refresh();
                self.tick = player.tick();
                refreshed
            }
            Reel::Drawn(stills, _) => Ok(stills.refresh()?),
        }
    }

    /// Draws this tick as the player of a seat sees it, or who looks on.
    pub(super) fn draw(&self, seat: Option<Seat>, canvas: &mut Canvas) {
        match &self.reel {
            Reel::Computed(player) => G::picture(player.battle(), seat, canvas),
            Reel::Drawn(_, shown) => canvas.paste(0, 0, shown),
        }
    }

    /// Seats whose view can be shown.
    pub(super) fn seats(&self) -> u16 {
        match &self.reel {
            Reel::Computed(player) => player.battle().spec().roster.len() as u16,
            Reel::Drawn(..) => 0,
        }
    }

    /// The hash of the state that is shown; none of a picture.
    pub(super) fn state_hash(&self) -> Option<StateHash> {
        match &self.reel {
            Reel::Computed(player) => Some(player.battle().state_hash()),
            Reel::Drawn(..) => None,
        }
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
        match &self.reel {
            Reel::Computed(player) => player.last_tick(),
            Reel::Drawn(stills, _) => stills.last_tick(),
        }
    }

    /// Whether the recording has an end.
    pub(super) fn is_complete(&self) -> bool {
        match &self.reel {
            Reel::Computed(player) => player.is_complete(),
            Reel::Drawn(stills, _) => stills.is_complete(),
        }
    }

    /// Ticks in a second.
    pub(super) fn rate_hz(&self) -> u16 {
        self.header().rate_hz
    }

    fn header(&self) -> &Header {
        match &self.reel {
            Reel::Computed(player) => player.header(),
            Reel::Drawn(stills, _) => stills.header(),
        }
    }

    /// The first tick among those that were played whose state is not the recorded one.
    pub(super) fn diverged(&self) -> Option<u32> {
        self.diverged
    }

    fn jump(&mut self, tick: u32) -> Result<(), PlayError> {
        let Reel::Computed(player) = &mut self.reel else { return Ok(()) };
        self.lines.clear();
        self.whole = false;
        let reached = player.seek(tick.max(self.first));
        // After an error it stands at the last good tick, unless the game panicked: then it has to seek again.
        self.tick = player.tick();
        self.whole = reached? == tick.max(self.first);
        Ok(())
    }

    /// Plays a tick; says whether there was one.
    fn step(&mut self) -> Result<bool, PlayError> {
        let Reel::Computed(player) = &mut self.reel else { return Ok(false) };
        let before = self.tick;
        let hash = match player.step() {
            Ok(Some(hash)) => hash,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.whole = false;
                return Err(error);
            }
        };
        self.tick = player.tick();
        if self.tick <= before {
            // A higher epoch took over: what was told after its keyframe did not happen.
            self.lines.retain(|line| line.tick < self.tick);
        }
        if player.recorded_hash().is_some_and(|recorded| recorded != hash) {
            self.diverged = Some(self.diverged.map_or(self.tick, |first| first.min(self.tick)));
        }
        self.listen();
        if self.diverged.is_some() {
            self.take_keyframe()?;
        }
        Ok(true)
    }

    /// Shows what was recorded, if this tick has a keyframe.
    fn take_keyframe(&mut self) -> Result<(), PlayError> {
        let Reel::Computed(player) = &mut self.reel else { return Ok(()) };
        let taken = player.take_keyframe(self.tick);
        self.whole &= taken.is_ok();
        taken.map(drop)
    }

    fn listen(&mut self) {
        let Reel::Computed(player) = &self.reel else { return };
        let (tick, battle) = (self.tick, player.battle());
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
    use tiltyard_engine::{Battle, BattleSpec, Save, TickRecord, encode_keyframe};
    use tiltyard_replay::{Settings, Writer, encode_picture};

    use super::super::deck::{Ask, Deck};
    use super::super::frame::{Foot, draw};
    use super::*;
    use crate::bench::Played;

    type Shown = Film<Skirmish, Cursor<Vec<u8>>>;

    const TICKS: u32 = 900;

    fn recording() -> Vec<u8> {
        let mode = &Skirmish::modes()[0];
        Played::<Skirmish>::of(mode, 2026, 0, TICKS).expect("it plays").recording().expect("it is recorded")
    }

    fn open(bytes: &[u8]) -> Result<Shown, PlayError> {
        Film::open(Cursor::new(bytes.to_vec()), || Ok(Cursor::new(bytes.to_vec())))
    }

    fn frame(film: &mut Shown, deck: &Deck) -> String {
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
        let mut film = open(&bytes).expect("a recording");
        let seats = film.seats();
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
                let mut fresh = open(&bytes).expect("a recording");
                frame(&mut fresh, &still)
            });
            assert_eq!(&shown, first, "press {press}, tick {}", still.tick);
        }
        assert!(seen.len() > 100, "{} pictures", seen.len());
        assert_eq!(film.diverged(), None);
    }

    #[test]
    fn events_are_found_in_both_directions_one_by_one() {
        let mut film = open(&recording()).expect("a recording");
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
        let mut film = open(&writer.into_sink()).expect("a recording");
        let mut diverged = |tick| {
            film.show(tick, None).expect("it can be computed");
            film.diverged()
        };
        assert_eq!([diverged(39), diverged(90), diverged(20)], [None, Some(40), Some(40)]);
        assert!(!film.is_complete());
    }

    #[test]
    fn where_the_rules_lead_elsewhere_keyframes_are_shown_as_recorded() {
        let spec = BattleSpec::<Skirmish>::bots(&Skirmish::modes()[0], 2026);
        let header = open(&recording()).expect("a recording").header().clone();
        let mut battle = Battle::new(spec).expect("it starts");
        let mut writer = Writer::start(Vec::new(), &header, Settings::new(1, 30)).expect("memory takes it");
        let mut before = TickRecord::neutral(battle.tick(), header.seat_names.len());
        let (mut hashes, mut save) = (vec![battle.state_hash()], Save::default());
        for tick in 1..=600 {
            let (mut record, mut bytes) = (TickRecord::neutral(battle.tick(), 0), Vec::new());
            battle.bot_record(&mut record);
            record.encode(&before, &mut bytes);
            // As if there were other rules up to tick 50: the players did something else than is recorded.
            let mut made = record.clone();
            if tick <= 50 {
                made.inputs.iter_mut().for_each(|seat| seat.input = Default::default());
            }
            hashes.push(battle.step(&made));
            writer.append(tick, &bytes, battle.state_hash().0).expect("memory takes it");
            if tick % 300 == 0 {
                battle.save(&mut save);
                writer.keyframe(tick, &encode_keyframe(&save, &record)).expect("memory takes it");
            }
            before = record;
        }
        writer.flush().expect("memory takes it");
        let bytes = writer.into_sink();
        let mut film = open(&bytes).expect("a recording");
        let mut state = |tick: u32| {
            film.show(tick, None).expect("it can be computed");
            (film.state_hash() == Some(hashes[tick as usize]), film.diverged().is_some())
        };
        assert_eq!(
            [state(299), state(300), state(450), state(299)],
            [(false, true), (true, true), (true, true), (false, true)]
        );
        let mut deck = Deck::new(0, 600, 30, 0);
        for tick in [300, 310, 299] {
            deck.halt(tick);
            let (there, fresh) =
                (frame(&mut film, &deck), frame(&mut open(&bytes).expect("it opens"), &deck));
            assert_eq!(there, fresh, "tick {tick}");
        }
    }

    #[test]
    fn of_another_version_the_pictures_are_shown() {
        let mode = &Skirmish::modes()[0];
        let header =
            Header { protocol_hash: [7; 16], ..open(&recording()).expect("it opens").header().clone() };
        let mut writer = Writer::start(Vec::new(), &header, Settings::new(1, 30)).expect("memory takes it");
        let mut battle = Battle::new(BattleSpec::<Skirmish>::bots(mode, 2026)).expect("it starts");
        let (mut record, mut drawn) = (TickRecord::neutral(battle.tick(), 0), Vec::new());
        for tick in 1..=100 {
            battle.bot_record(&mut record);
            battle.step(&record);
            writer.append(tick, b"what this build cannot read", 0).expect("memory takes it");
            if tick % 30 == 0 {
                let mut canvas = Canvas::new(80, 18);
                Skirmish::picture(&battle, None, &mut canvas);
                writer.snapshot(&encode_picture(&canvas)).expect("memory takes it");
                drawn.push(canvas.to_string());
            }
        }
        writer.flush().expect("memory takes it");
        let mut film = open(&writer.into_sink()).expect("it has pictures");
        assert_eq!((film.first(), film.last(), film.seats(), film.state_hash()), (30, 100, 0, None));
        let mut deck = Deck::new(film.first(), film.last(), film.rate_hz(), film.seats());
        for (tick, shown) in [(30, 0), (59, 0), (60, 1), (100, 2)] {
            deck.halt(tick);
            let frame = frame(&mut film, &deck);
            assert!(frame.starts_with(&drawn[shown]), "tick {tick}: {frame}");
            assert!(frame.contains("this one cannot compute the battle"), "{frame}");
        }
        assert_eq!((film.previous_told(), film.next_told()), (Ok(Some(90)), Ok(None)));
        film.show(45, None).expect("whole");
        assert_eq!((film.previous_told(), film.next_told()), (Ok(Some(30)), Ok(Some(60))));
    }

    #[test]
    fn at_damage_the_last_good_tick_is_shown_and_what_lies_behind_can_be_reached() {
        let mut bytes = recording();
        let opened = tiltyard_replay::Recording::open(Cursor::new(&bytes)).expect("a recording");
        let keyframe = opened.keyframes()[1];
        bytes[keyframe.offset as usize - 10] ^= 1;
        let mut film = open(&bytes).expect("a recording");
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
