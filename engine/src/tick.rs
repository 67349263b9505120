//! Time inside a battle: ticks, and how many of them make a second.

use bytemuck::{Pod, Zeroable};

/// A step of a battle. Tick 0 is the state that the setup made; the first step leads to tick 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Tick(pub u32);

impl Tick {
    /// The state before the first step.
    pub const ZERO: Self = Self(0);

    /// The tick after this one.
    ///
    /// # Panics
    /// After 2³² − 1 ticks (4.5 years at 30 Hz): `Terms::ticks_max` ends a battle long before.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("ticks_max ends a battle before its ticks run out"))
    }

    /// The tick that comes `ticks` after this one; the last there is, if there are not so many.
    #[inline]
    #[must_use]
    pub const fn later(self, ticks: u32) -> Self {
        Self(self.0.saturating_add(ticks))
    }

    /// Ticks from `earlier` to this one, 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::fmt::Display for Tick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Ticks per second of a battle, 1 to [`TickRate::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickRate(u16);

impl TickRate {
    /// The fastest rate a battle may run at, in Hz.
    pub const MAX: u16 = 240;
    /// What a battle runs at unless it is told otherwise: 30 Hz.
    pub const DEFAULT: Self = Self(30);

    /// A rate in Hz, or nothing when it is 0 or above [`TickRate::MAX`].
    #[must_use]
    pub const fn new(hz: u16) -> Option<Self> {
        if hz == 0 || hz > Self::MAX { None } else { Some(Self(hz)) }
    }

    /// Ticks per second.
    #[must_use]
    pub const fn hz(self) -> u16 {
        self.0
    }

    /// Seconds per tick.
    #[must_use]
    pub fn seconds_per_tick(self) -> f32 {
        1.0 / f32::from(self.0)
    }

    /// Ticks in `ms` milliseconds, rounded up, at least 1.
    #[must_use]
    pub fn ticks_in_ms(self, ms: u32) -> u32 {
        let ticks = (u64::from(ms) * u64::from(self.0)).div_ceil(1000);
        u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_outside_their_bounds_do_not_exist() {
        assert!(TickRate::new(0).is_none());
        assert!(TickRate::new(1).is_some());
        assert!(TickRate::new(TickRate::MAX).is_some());
        assert!(TickRate::new(TickRate::MAX + 1).is_none());
    }

    #[test]
    fn later_ticks_end_with_the_last_one() {
        assert_eq!(Tick(7).later(10), Tick(17));
        assert_eq!(Tick(u32::MAX - 1).later(1), Tick(u32::MAX));
        assert_eq!(Tick(u32::MAX - 1).later(2), Tick(u32::MAX));
    }

    #[test]
    fn milliseconds_round_up_to_whole_ticks() {
        let rate = TickRate::DEFAULT;
        assert_eq!(rate.ticks_in_ms(0), 1);
        assert_eq!(rate.ticks_in_ms(1000), 30);
        assert_eq!(rate.ticks_in_ms(1001), 31);
    }
}
