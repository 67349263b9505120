//! The pacer: when the next tick of a battle is due.
//!
//! Time comes in as microseconds of a monotonic clock. A battle that fell behind catches up by a bounded number of
//! ticks at a time; what is more is dropped from the schedule (the battle then ends later by the clock, never by
//! its ticks) and counted.

/// Keeps the schedule of one battle.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    period_us: u64,
    catch_up_max: u32,
    next_us: u64,
    late_ticks: u64,
    dropped_us: u64,
}

/// How many ticks are due, and how late the first of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Ticks to make now, at most as many as may be caught up at once.
    pub ticks: u32,
    /// How late the first of them is, in microseconds.
    pub late_us: u64,
}

impl Pacer {
    /// A schedule of `rate_hz` ticks a second whose first tick is due at `start_us`, and which catches up by
    /// `catch_up_max` ticks at once at most.
    ///
    /// # Panics
    /// If the rate or the bound is 0.
    #[must_use]
    pub(crate) fn new(rate_hz: u16, start_us: u64, catch_up_max: u32) -> Self {
        assert!(rate_hz > 0, "a battle has a tick rate");
        assert!(catch_up_max > 0, "a battle makes a tick at a time at least");
        let period_us = 1_000_000 / u64::from(rate_hz);
        Self { period_us, catch_up_max, next_us: start_us, late_ticks: 0, dropped_us: 0 }
    }

    /// Takes the ticks that are due at `now_us` from the schedule.
    pub(crate) fn take_due(&mut self, now_us: u64) -> Due {
        let Some(late_us) = now_us.checked_sub(self.next_us) else { return Due { ticks: 0, late_us: 0 } };
        let behind = late_us / self.period_us + 1;
        let ticks = behind.min(u64::from(self.catch_up_max));
        // A tick is late when its successor is due already.
        self.late_ticks += (behind - 1).min(ticks);
        let dropped = (behind - ticks) * self.period_us;
        self.dropped_us += dropped;
        self.next_us += ticks * self.period_us + dropped;
        Due { ticks: ticks as u32, late_us }
    }

    /// When the next tick is due, in microseconds.
    #[must_use]
    pub(crate) fn next_us(&self) -> u64 {
        self.next_us
    }

    /// Ticks that were made a whole period late or more.
    #[must_use]
    pub(crate) fn late_ticks(&self) -> u64 {
        self.late_ticks
    }

    /// Time that was taken out of the schedule because the battle could not catch up, in microseconds.
    #[must_use]
    pub(crate) fn dropped_us(&self) -> u64 {
        self.dropped_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 33_333;
    const CATCH_UP_MAX: u32 = 5;

    #[test]
    fn nothing_is_due_early_and_one_tick_on_time() {
        let mut pacer = Pacer::new(30, 1000, CATCH_UP_MAX);
        assert_eq!(pacer.take_due(999), Due { ticks: 0, late_us: 0 });
        assert_eq!(pacer.take_due(1000), Due { ticks: 1, late_us: 0 });
        assert_eq!(pacer.take_due(1000), Due { ticks: 0, late_us: 0 });
        assert_eq!(pacer.take_due(1000 + PERIOD - 1).ticks, 0);
        assert_eq!(pacer.take_due(1000 + PERIOD), Due { ticks: 1, late_us: 0 });
        assert_eq!(pacer.late_ticks(), 0);
    }

    #[test]
    fn a_short_stall_is_caught_up_whole() {
        let mut pacer = Pacer::new(30, 0, CATCH_UP_MAX);
        assert_eq!(pacer.take_due(3 * PERIOD + 5).ticks, 4);
        assert_eq!(pacer.late_ticks(), 3);
        assert_eq!(pacer.dropped_us(), 0);
        assert_eq!(pacer.next_us(), 4 * PERIOD);
    }

    #[test]
    fn a_long_stall_is_caught_up_in_bounds_and_the_rest_is_dropped() {
        let mut pacer = Pacer::new(30, 0, CATCH_UP_MAX);
        let due = pacer.take_due(2_000_000);
        assert_eq!(due.ticks, CATCH_UP_MAX);
        assert!(pacer.dropped_us() > 1_700_000);
        assert!(pacer.next_us() > 2_000_000);
        assert_eq!(pacer.take_due(2_000_000).ticks, 0);
    }
}
