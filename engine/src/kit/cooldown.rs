//! When something may be done again.
//!
//! A cooldown is the tick at which it is over. It changes only when it starts, so that it costs nothing on the wire
//! and in a tick while it runs.

use bytemuck::{Pod, Zeroable};

use crate::{FieldKind, FieldType, Tick};

/// The tick from which on something may be done again; the default is "at once". A field of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(transparent)]
pub struct Cooldown(pub Tick);

impl Cooldown {
    /// Whether it is over at `now`.
    #[inline]
    #[must_use]
    pub fn is_over(self, now: Tick) -> bool {
        now >= self.0
    }

    /// Starts it anew: over again at `now` + `ticks`.
    #[inline]
    pub fn start(&mut self, now: Tick, ticks: u32) {
        self.0 = now.later(ticks);
    }

    /// Ticks that are left at `now`.
    #[inline]
    #[must_use]
    pub fn left(self, now: Tick) -> u32 {
        self.0.since(now)
    }
}

impl FieldType for Cooldown {
    const KIND: FieldKind = FieldKind::U32;
    const COUNT: u32 = 1;

    #[inline(always)]
    fn canonicalise(&mut self, _per_unit: u32) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cooldown_is_over_after_its_ticks_and_not_before() {
        let mut cooldown = Cooldown::default();
        assert!(cooldown.is_over(Tick(0)));
        cooldown.start(Tick(7), 10);
        assert!(!cooldown.is_over(Tick(16)));
        assert_eq!(cooldown.left(Tick(16)), 1);
        assert!(cooldown.is_over(Tick(17)));
        assert_eq!(cooldown.left(Tick(20)), 0);
    }
}
