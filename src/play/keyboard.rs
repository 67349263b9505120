//! Which keys are held, by what a terminal says about them.
//!
//! Few terminals tell when a key is let go. The others repeat the key that was pressed last, after a first pause, and
//! say nothing of those that are held beside it. So there all held keys count as held for as long as one of them goes
//! on being repeated.

use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tiltyard_engine::screen::{Key, Keys};
use tokio::sync::mpsc;

/// How long keys count as held after one was pressed: most terminals have begun to repeat it by then.
const FIRST: Duration = Duration::from_millis(400);
/// How long keys count as held after one was repeated: slow terminals repeat ten times a second.
const REPEATED: Duration = Duration::from_millis(150);
/// Keys that count at once; more than hands hold.
const HELD_MAX: usize = 16;
/// Events that wait to be handled; who types faster waits.
const EVENTS_MAX: usize = 64;
/// How often the reading thread looks whether anybody still listens.
const LISTENING: Duration = Duration::from_millis(100);

/// What the keyboard said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A key was pressed, or is repeated.
    Pressed(Key),
    /// A key was let go.
    Released(Key),
    /// The player wants to leave.
    Leave,
}

/// What a terminal's event means; nothing for those that mean nothing here.
pub(crate) fn understand(event: &Event) -> Option<Said> {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return None };
    let key = match code {
        KeyCode::Esc => return (*kind == KeyEventKind::Press).then_some(Said::Leave),
        KeyCode::Char(letter) => {
            match (letter.to_ascii_lowercase(), modifiers.contains(KeyModifiers::CONTROL)) {
                ('q', false) | ('c', true) => return (*kind == KeyEventKind::Press).then_some(Said::Leave),
                (letter, false) => Key::Char(letter),
                (_, true) => return None,
            }
        }
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Enter => Key::Enter,
        _ => return None,
    };
    Some(if *kind == KeyEventKind::Release { Said::Released(key) } else { Said::Pressed(key) })
}

/// Reads the terminal's events on a thread of its own, which ends when nobody listens any more.
pub(crate) fn read() -> mpsc::Receiver<Event> {
    let (events, listening) = mpsc::channel(EVENTS_MAX);
    std::thread::spawn(move || {
        while !events.is_closed() {
            match crossterm::event::poll(LISTENING) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) => break,
            }
            let Ok(event) = crossterm::event::read() else { break };
            if events.blocking_send(event).is_err() {
                break;
            }
        }
    });
    listening
}

/// The keys that are held.
#[derive(Debug, Default)]
pub(super) struct Keyboard {
    /// The one that was pressed first before the others; at most [`HELD_MAX`].
    held: Vec<Held>,
    /// When they are let go by a terminal that does not tell.
    until: Option<Instant>,
    tells_releases: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    key: Key,
    /// It counted in a decision: whoever only taps a key has it counted once.
    counted: bool,
    released: bool,
}

impl Keyboard {
    /// A key was pressed, or is repeated.
    pub(super) fn press(&mut self, now: Instant, key: Key) {
        self.let_go(now);
        let known = self.held.iter().position(|held| held.key == key);
        let repeated = known.is_some_and(|place| !self.held[place].released);
        match known {
            Some(place) => self.held[place].released = false,
            None if self.held.len() < HELD_MAX => {
                self.held.push(Held { key, counted: false, released: false });
            }
            None => {}
        }
        self.until = Some(now + if repeated { REPEATED } else { FIRST });
    }

    /// A key was let go.
    pub(super) fn release(&mut self, key: Key) {
        self.tells_releases = true;
        for held in self.held.iter_mut().filter(|held| held.key == key) {
            held.released = true;
        }
        self.held.retain(|held| !held.released || !held.counted);
    }

    /// The keys that count now.
    pub(super) fn keys(&mut self, now: Instant) -> Keys {
        self.let_go(now);
        let keys = Keys::new(self.held.iter().map(|held| held.key));
        self.held.iter_mut().for_each(|held| held.counted = true);
        self.held.retain(|held| !held.released);
        keys
    }

    fn let_go(&mut self, now: Instant) {
        if !self.tells_releases && self.until.is_some_and(|until| now >= until) {
            self.held.iter_mut().for_each(|held| held.released = true);
            self.held.retain(|held| !held.counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: Key = Key::Char('w');
    const SPACE: Key = Key::Char(' ');

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_held_key_stays_held_over_the_pause_before_it_is_repeated() {
        let (mut keyboard, now) = (Keyboard::default(), Instant::now());
        keyboard.press(now, W);
        assert!(keyboard.keys(now + FIRST - ms(1)).is_held(W));
        for repeat in 0..20 {
            let at = now + FIRST - ms(1) + ms(100) * repeat;
            keyboard.press(at, W);
            assert!(keyboard.keys(at + REPEATED - ms(1)).is_held(W));
        }
        assert_eq!(keyboard.keys(now + ms(10_000)), Keys::default());
        // Pressed anew it has its first pause again.
        keyboard.press(now + ms(10_000), W);
        assert!(keyboard.keys(now + ms(10_000) + FIRST - ms(1)).is_held(W));
    }

    #[test]
    fn keys_beside_the_repeated_one_stay_held_with_it() {
        let (mut keyboard, now) = (Keyboard::default(), Instant::now());
        keyboard.press(now, W);
        keyboard.press(now + ms(200), SPACE);
        keyboard.press(now + ms(550), SPACE);
        assert_eq!(keyboard.keys(now + ms(600)), Keys::new([W, SPACE]));
        assert_eq!(keyboard.keys(now + ms(700)), Keys::default());
    }

    #[test]
    fn a_terminal_that_tells_releases_is_believed() {
        let (mut keyboard, now) = (Keyboard::default(), Instant::now());
        keyboard.press(now, W);
        keyboard.press(now, SPACE);
        assert_eq!(keyboard.keys(now), Keys::new([W, SPACE]));
        keyboard.release(SPACE);
        assert_eq!(keyboard.keys(now + ms(60_000)), Keys::new([W]));
        keyboard.release(W);
        assert_eq!(keyboard.keys(now + ms(60_000)), Keys::default());
    }

    #[test]
    fn a_tap_between_two_decisions_counts_once() {
        let (mut keyboard, now) = (Keyboard::default(), Instant::now());
        keyboard.press(now, SPACE);
        keyboard.release(SPACE);
        assert_eq!(keyboard.keys(now), Keys::new([SPACE]));
        assert_eq!(keyboard.keys(now), Keys::default());
        // Also where no release is told, and the decision comes late.
        let mut keyboard = Keyboard::default();
        keyboard.press(now, SPACE);
        assert_eq!(keyboard.keys(now + ms(5_000)), Keys::new([SPACE]));
        assert_eq!(keyboard.keys(now + ms(5_000)), Keys::default());
    }

    #[test]
    fn no_more_keys_count_than_hands_hold() {
        let (mut keyboard, now) = (Keyboard::default(), Instant::now());
        for letter in 'a'..='z' {
            keyboard.press(now, Key::Char(letter));
        }
        assert_eq!(keyboard.held.len(), HELD_MAX);
    }

    #[test]
    fn keys_are_understood_and_some_leave() {
        let event = |code, modifiers, kind| Event::Key(KeyEvent::new_with_kind(code, modifiers, kind));
        let check = |code, modifiers, said| {
            assert_eq!(understand(&event(code, modifiers, KeyEventKind::Press)), said, "{code:?}");
        };
        let (none, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        check(KeyCode::Char('W'), KeyModifiers::SHIFT, Some(Said::Pressed(W)));
        check(KeyCode::Char(' '), none, Some(Said::Pressed(SPACE)));
        check(KeyCode::Left, none, Some(Said::Pressed(Key::Left)));
        check(KeyCode::Esc, none, Some(Said::Leave));
        check(KeyCode::Char('q'), none, Some(Said::Leave));
        check(KeyCode::Char('c'), control, Some(Said::Leave));
        check(KeyCode::Char('w'), control, None);
        check(KeyCode::F(1), none, None);
        let released = event(KeyCode::Char('w'), none, KeyEventKind::Release);
        assert_eq!(understand(&released), Some(Said::Released(W)));
        let repeated = event(KeyCode::Char('w'), none, KeyEventKind::Repeat);
        assert_eq!(understand(&repeated), Some(Said::Pressed(W)));
        assert_eq!(understand(&event(KeyCode::Esc, none, KeyEventKind::Release)), None);
        assert_eq!(understand(&Event::Resize(80, 24)), None);
    }
}
