//! Where an actor was a moment ago: lag compensation for shots that hit at once.
//!
//! A shooter sees others where they were when the newest state was made that he has. His input says which tick that
//! was, as a number of ticks back, and the shot is judged by where they were then: [`Past::at`]. How far back that may be
//! has a bound, [`BACK_MS_MAX`], so that nobody is hit long after he has reached cover.
//!
//! ```text
//! client:  Game::aimed(input, seen, tick)   input.back = past::back(seen, tick)
//! node:    Game::check(input)               input.back < PAST_TICKS
//! systems: every tick, after motion         past.remember(now, position)
//!          for a shot                       past.at(now, input.back, rate)
//! ```
//! The past is state and what was seen is input, so both are in saves and recordings, and a replay judges each shot as
//! the node did.

use glam::Vec2;

use crate::{Tick, TickRate};

/// Places that are remembered.
pub const PAST_TICKS: u32 = 32;

/// How far back a shot may be judged, in milliseconds.
pub const BACK_MS_MAX: u32 = 200;

crate::record! {
    /// Where an actor was in its last [`PAST_TICKS`] ticks: the place in tick t lies at t modulo that. An actor begins
    /// with [`Past::new`]; the default was always at the origin. It takes 256 bytes a row, which are hashed in every
    /// tick.
    pub struct Past {
        places: [Vec2; 32] => grid(4096),
    }
}

const _: () = assert!(size_of::<Past>() == PAST_TICKS as usize * size_of::<Vec2>());

impl Past {
    /// The past of an actor that appears here: it has always been here. For those that jump, too.
    #[must_use]
    pub fn new(at: Vec2) -> Self {
        Self { places: [at; PAST_TICKS as usize] }
    }

    /// Notes where the actor is in tick `now`. Called in every tick, before anybody asks.
    #[inline]
    pub fn remember(&mut self, now: Tick, at: Vec2) {
        self.places[(now.0 % PAST_TICKS) as usize] = at;
    }

    /// Where the actor was `back` ticks before `now`, but no more than [`BACK_MS_MAX`] and the last place remembered
    /// allow.
    #[inline]
    #[must_use]
    pub fn at(&self, now: Tick, back: u32, rate: TickRate) -> Vec2 {
        let back = back.min(back_max(rate));
        self.places[(now.0.wrapping_sub(back) % PAST_TICKS) as usize]
    }
}

/// How many ticks before `tick` the shooter's picture was made, for his input: at most what is remembered.
#[must_use]
pub fn back(seen: Tick, tick: Tick) -> u8 {
    // Below 32.
    tick.since(seen).min(PAST_TICKS - 1) as u8
}

/// The most ticks that a shot is judged back at this rate: whole ones within [`BACK_MS_MAX`].
#[must_use]
pub fn back_max(rate: TickRate) -> u32 {
    (BACK_MS_MAX * u32::from(rate.hz()) / 1000).min(PAST_TICKS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(hz: u16) -> TickRate {
        TickRate::new(hz).expect("a rate")
    }

    #[test]
    fn no_shot_is_judged_further_back_than_200_ms_or_31_ticks() {
        for (hz, ticks) in [(1, 0), (4, 0), (5, 1), (30, 6), (60, 12), (159, 31), (160, 31), (240, 31)] {
            assert_eq!(back_max(rate(hz)), ticks, "{hz} Hz");
        }
    }

    #[test]
    fn what_was_remembered_is_found_and_nothing_older() {
        let mut past = Past::new(Vec2::ZERO);
        for tick in 1..=100 {
            past.remember(Tick(tick), Vec2::new(tick as f32, 0.0));
        }
        let x = |back, hz| past.at(Tick(100), back, rate(hz)).x;
        assert_eq!(
            [x(0, 30), x(1, 30), x(6, 30), x(7, 30), x(u32::MAX, 30)],
            [100.0, 99.0, 94.0, 94.0, 94.0]
        );
        assert_eq!([x(31, 240), x(32, 240)], [69.0, 69.0]);
    }

    #[test]
    fn who_appears_was_always_there() {
        let mut past = Past::new(Vec2::ONE);
        past.remember(Tick(2), Vec2::X);
        assert_eq!(
            [0, 1, 2, 3].map(|back| past.at(Tick(2), back, rate(60))),
            [Vec2::X, Vec2::ONE, Vec2::ONE, Vec2::ONE]
        );
    }

    #[test]
    fn what_was_seen_is_said_in_ticks_back() {
        assert_eq!([back(Tick(7), Tick(12)), back(Tick(12), Tick(12)), back(Tick(13), Tick(12))], [5, 0, 0]);
        assert_eq!(
            [back(Tick(0), Tick(31)), back(Tick(0), Tick(32)), back(Tick(0), Tick(9_000))],
            [31, 31, 31]
        );
    }
}
