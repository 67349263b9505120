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
        Self { period_us: period_us(rate_hz), catch_up_max, next_us: start_us, late_ticks: 0, dropped_us: 0 }
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

/// Microseconds from one tick to the next.
pub(crate) fn period_us(rate_hz: u16) -> u64 {
    1_000_000 / u64::from(rate_hz)
}

/// When a battle begins that could do so at `now_us`, on a worker whose battles of the same `period_us` have their next
/// ticks at `others_us`: in the middle of the widest gap between those, so that ticks, and what they send, come evenly.
/// Less than a period later, and at once where it is the only one.
pub(crate) fn staggered_start_us(now_us: u64, period_us: u64, others_us: impl Iterator<Item = u64>) -> u64 {
    // How long after now one of each one's ticks is due, less than a period.
    let mut phases: Vec<u64> = others_us
        .map(|next_us| {
            let late = now_us.saturating_sub(next_us) % period_us;
            (next_us.saturating_sub(now_us) + period_us - late) % period_us
        })
        .collect();
    phases.sort_unstable();
    let after = phases.iter().skip(1).copied().chain(phases.first().map(|first| first + period_us));
    let gaps = phases.iter().zip(after).map(|(phase, after)| (after - phase, phase + (after - phase) / 2));
    // Of the widest ones that which comes first.
    let widest = gaps.map(|(gap, middle)| (std::cmp::Reverse(gap), middle % period_us)).min();
    now_us + widest.map_or(0, |(_, middle)| middle)
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

    #[test]
    fn a_lone_battle_begins_at_once_and_a_second_one_half_a_period_beside_it() {
        assert_eq!(staggered_start_us(500, 100, [].into_iter()), 500);
        // Whether the other one's tick is due, late by periods, or to come.
        for (other, expected) in [(500, 550), (480, 530), (210, 560), (520, 570), (599, 549), (951, 501)] {
            assert_eq!(staggered_start_us(500, 100, [other].into_iter()), expected, "{other}");
        }
    }

    #[test]
    fn the_widest_gap_is_halved_and_of_equal_ones_the_first_that_comes() {
        assert_eq!(staggered_start_us(0, 100, [0, 20, 50].into_iter()), 75);
        assert_eq!(staggered_start_us(0, 100, [50, 0].into_iter()), 25);
        assert_eq!(staggered_start_us(30, 100, [50, 0].into_iter()), 75);
        // No room is left, and none is needed.
        assert_eq!(staggered_start_us(7, 1, [7, 7].into_iter()), 7);
    }

    #[test]
    fn battles_that_begin_together_never_crowd_and_none_waits_a_period() {
        let mut begun: Vec<u64> = Vec::new();
        for count in 1..=200_u64 {
            let start = staggered_start_us(1_000_000, PERIOD, begun.iter().copied());
            assert!((1_000_000..1_000_000 + PERIOD).contains(&start));
            begun.push(start);
            let mut phases: Vec<u64> = begun.iter().map(|start| start % PERIOD).collect();
            phases.sort_unstable();
            let closest = phases.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(PERIOD);
            // Half as far apart as they could be, but for what rounding takes at each halving.
            assert!(closest + 8 >= PERIOD / (2 * count), "{closest} us between {count} battles");
        }
    }
}
