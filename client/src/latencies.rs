//! Times in milliseconds, gathered in a histogram.

use std::fmt;

use hdrhistogram::Histogram;

/// The longest time that is told from longer ones, milliseconds.
const LATENCY_MS_MAX: u64 = 60_000;

/// Times in milliseconds, exact to three digits; a minute stands for everything longer.
#[derive(Clone, PartialEq)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// Adds a time, milliseconds.
    pub fn record(&mut self, ms: u64) {
        self.0.saturating_record(ms.min(LATENCY_MS_MAX));
    }

    /// Adds all of another one's times.
    pub fn merge(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// How many times were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that a share of all is not above, milliseconds; 0.5 is the median. 0 if there are none.
    #[must_use]
    pub fn quantile_ms(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }

    /// The longest, milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> u64 {
        self.0.max()
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_MS_MAX, 3).expect("the bounds are sound"))
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.quantile_ms(0.5), self.quantile_ms(0.99));
        write!(f, "Latencies({} times, p50 {p50} ms, p99 {p99} ms, max {} ms)", self.count(), self.max_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_merged_and_capped() {
        let (mut left, mut right) = (Latencies::default(), Latencies::default());
        assert_eq!((left.count(), left.quantile_ms(0.5), left.max_ms()), (0, 0, 0));
        for ms in 1..=100 {
            left.record(ms);
        }
        right.record(u64::MAX);
        left.merge(&right);
        assert_eq!((left.count(), left.quantile_ms(0.5)), (101, 51));
        assert!((LATENCY_MS_MAX..LATENCY_MS_MAX + 100).contains(&left.max_ms()), "{left:?}");
    }
}
