//! What the keys of a replay do: a state machine that knows neither terminal nor recording.

use std::time::Duration;

use tiltyard_engine::Seat;
use tiltyard_engine::screen::Key;

/// What keys do, shown on the last line of 80 columns.
pub(super) const HELP: &str =
    "q leave  space pause  ←→ tick  ↓↑ 5 s  -+ speed  pn event  99g tick  3f f o view";

/// Seconds that the arrows up and down jump over.
const LEAP_SECONDS: u32 = 5;
/// Numbers that are typed stop here.
const TYPED_MAX: u32 = 999_999_999;
/// After a longer pause between two pictures the replay goes on from where it was.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How fast it plays: one of ¼, ½, 1, 2, 4, 8 and 16 times real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Speed {
    quarters: u8,
}

impl Speed {
    /// As fast as it was.
    pub(super) const REAL: Self = Self { quarters: 4 };

    fn slower(self) -> Self {
        Self { quarters: (self.quarters / 2).max(1) }
    }

    fn faster(self) -> Self {
        Self { quarters: (self.quarters * 2).min(64) }
    }

    /// What people call it.
    pub(super) fn name(self) -> &'static str {
        match self.quarters {
            1 => "¼×",
            2 => "½×",
            4 => "1×",
            8 => "2×",
            16 => "4×",
            32 => "8×",
            _ => "16×",
        }
    }
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let quarters = match text.trim_end_matches(['x', '×']) {
            "0.25" | "1/4" | "¼" => 1,
            "0.5" | "1/2" | "½" => 2,
            "1" => 4,
            "2" => 8,
            "4" => 16,
            "8" => 32,
            "16" => 64,
            _ => return Err("one of 0.25, 0.5, 1, 2, 4, 8, 16".to_owned()),
        };
        Ok(Self { quarters })
    }
}

/// What a key asks of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The next tick that tells something.
    Next,
    /// The last one before this.
    Previous,
}

/// Which tick is shown, and how it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deck {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) tick: u32,
    pub(super) rate_hz: u16,
    pub(super) playing: bool,
    pub(super) speed: Speed,
    /// Whose view it is; nobody's looks on.
    pub(super) seat: Option<Seat>,
    /// A number that is being typed.
    pub(super) typed: Option<u32>,
    /// Whether ticks are still being added.
    pub(super) live: bool,
    seats: u16,
    /// What was left of time after the last whole tick, in millionths of a quarter tick.
    rest: u64,
}

impl Deck {
    /// A deck at the first of some ticks, playing.
    pub(super) fn new(first: u32, last: u32, rate_hz: u16, seats: u16) -> Self {
        Self {
            first,
            last: last.max(first),
            tick: first,
            rate_hz,
            playing: true,
            speed: Speed::REAL,
            seat: None,
            typed: None,
            live: false,
            seats,
            rest: 0,
        }
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: Key) -> Option<Ask> {
        if let Key::Char(letter) = key
            && let Some(digit) = letter.to_digit(10)
        {
            let number = self.typed.unwrap_or(0).saturating_mul(10).saturating_add(digit);
            self.typed = Some(number.min(TYPED_MAX));
            return None;
        }
        let typed = self.typed.take();
        let leap = LEAP_SECONDS * u32::from(self.rate_hz);
        match key {
            Key::Char(' ') if !self.playing && self.tick == self.last && !self.live => {
                self.go(self.first);
                self.playing = true;
            }
            Key::Char(' ') => self.playing = !self.playing,
            Key::Left | Key::Char(',') => self.halt(self.tick.saturating_sub(1)),
            Key::Right | Key::Char('.') => self.halt(self.tick.saturating_add(1)),
            Key::Down => self.go(self.tick.saturating_sub(leap)),
            Key::Up => self.go(self.tick.saturating_add(leap)),
            Key::Char('-' | '_') => self.speed = self.speed.slower(),
            Key::Char('+' | '=') => self.speed = self.speed.faster(),
            Key::Char('b') => self.go(self.first),
            Key::Char('e') => self.go(self.last),
            Key::Char('g') | Key::Enter => typed.into_iter().for_each(|tick| self.halt(tick)),
            Key::Char('f') => self.follow(typed),
            Key::Char('o') => self.seat = None,
            Key::Char('n') => return Some(Ask::Next),
            Key::Char('p') => return Some(Ask::Previous),
            Key::Char(_) => {}
        }
        None
    }

    /// Time went by: plays on. At the end it halts, unless more is to come.
    pub(super) fn pass(&mut self, time: Duration) {
        if !self.playing {
            self.rest = 0;
            return;
        }
        const WHOLE: u64 = 4_000_000;
        let micros = time.min(PAUSE_MAX).as_micros() as u64;
        let run = self.rest + micros * u64::from(self.rate_hz) * u64::from(self.speed.quarters);
        let ticks = u32::try_from(run / WHOLE).unwrap_or(u32::MAX);
        self.rest = run % WHOLE;
        self.tick = self.tick.saturating_add(ticks).min(self.last);
        if self.tick == self.last {
            self.rest = 0;
            self.playing = self.live;
        }
    }

    /// Goes to a tick, or the nearest there is.
    pub(super) fn go(&mut self, tick: u32) {
        self.tick = tick.clamp(self.first, self.last);
        self.rest = 0;
    }

    /// Goes to a tick and stays there.
    pub(super) fn halt(&mut self, tick: u32) {
        self.go(tick);
        self.playing = false;
    }

    /// There are ticks up to this one now.
    pub(super) fn extend(&mut self, last: u32) {
        self.last = last.max(self.first);
        self.tick = self.tick.min(self.last);
    }

    /// Follows a seat, or the one after that which is followed; after the last one nobody.
    fn follow(&mut self, typed: Option<u32>) {
        let wanted = typed.unwrap_or_else(|| self.seat.map_or(0, |seat| u32::from(seat.0) + 1));
        let there = u16::try_from(wanted).ok().filter(|seat| *seat < self.seats);
        self.seat = match (there, typed) {
            (None, Some(_)) => self.seat,
            (seat, _) => seat.map(Seat),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deck() -> Deck {
        Deck::new(10, 1_000, 30, 4)
    }

    fn press(deck: &mut Deck, keys: &str) {
        for key in keys.chars() {
            assert_eq!(deck.press(Key::Char(key)), None);
        }
    }

    #[test]
    fn time_becomes_ticks_at_every_speed_and_no_part_of_one_is_lost() {
        for (speed, expected) in
            [("0.25", 75), ("1/2", 150), ("1", 300), ("2x", 600), ("4", 1_200), ("8", 2_400), ("16", 4_800)]
        {
            let mut deck = Deck { speed: speed.parse().expect("a speed"), ..Deck::new(0, 9_000, 30, 4) };
            (0..1_000).for_each(|_| deck.pass(Duration::from_millis(10)));
            assert_eq!(deck.tick, expected, "{speed}");
        }
        assert!("3".parse::<Speed>().is_err() && "".parse::<Speed>().is_err());
        let mut deck = deck();
        deck.pass(Duration::from_secs(3_600));
        assert_eq!(deck.tick, 17, "a pause is not caught up with");
    }

    #[test]
    fn at_the_end_it_halts_and_starts_again_unless_more_is_to_come() {
        let mut deck = deck();
        press(&mut deck, "e");
        deck.pass(Duration::from_millis(100));
        assert_eq!((deck.tick, deck.playing), (1_000, false));
        press(&mut deck, " ");
        assert_eq!((deck.tick, deck.playing), (10, true));
        let mut live = Deck { live: true, ..self::deck() };
        press(&mut live, "e");
        live.pass(Duration::from_millis(100));
        live.extend(1_030);
        live.pass(Duration::from_millis(100));
        assert_eq!((live.tick, live.playing), (1_003, true));
    }

    #[test]
    fn keys_go_to_ticks_and_stay_within_the_recording() {
        let mut deck = deck();
        let check = |deck: &Deck, tick, playing| assert_eq!((deck.tick, deck.playing), (tick, playing));
        deck.press(Key::Left);
        check(&deck, 10, false);
        deck.press(Key::Right);
        check(&deck, 11, false);
        deck.press(Key::Up);
        check(&deck, 161, false);
        press(&mut deck, " ");
        deck.press(Key::Down);
        check(&deck, 11, true);
        press(&mut deck, "500g");
        check(&deck, 500, false);
        press(&mut deck, "99999999999999g");
        check(&deck, 1_000, false);
        press(&mut deck, "3");
        deck.press(Key::Enter);
        check(&deck, 10, false);
        press(&mut deck, "7xg");
        check(&deck, 10, false);
        assert_eq!(deck.press(Key::Char('n')), Some(Ask::Next));
        assert_eq!(deck.press(Key::Char('p')), Some(Ask::Previous));
        press(&mut deck, "+++++++");
        assert_eq!(deck.speed.name(), "16×");
        press(&mut deck, "---------");
        assert_eq!(deck.speed.name(), "¼×");
    }

    #[test]
    fn the_help_fits_a_terminal() {
        assert!(HELP.chars().count() <= 80);
    }

    #[test]
    fn seats_are_followed_in_turn_or_by_number() {
        let mut deck = deck();
        let mut seen = Vec::new();
        for keys in ["f", "f", "f", "f", "f", "2f", "9f", "70000f", "o"] {
            press(&mut deck, keys);
            seen.push(deck.seat.map(|seat| seat.0));
        }
        let expected = [Some(0), Some(1), Some(2), Some(3), None, Some(2), Some(2), Some(2), None];
        assert_eq!(seen, expected);
    }
}
