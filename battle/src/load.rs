//! Load as tick head-room: how much of the time between two ticks a worker's battles use.

/// How many samples are looked back on: ten seconds of a worker that reports thirty times a second.
const SAMPLES: usize = 300;

/// The busy shares of a worker over the last seconds.
#[derive(Clone, Debug)]
pub(crate) struct LoadMeter {
    samples: Vec<u16>,
    next: usize,
}

impl Default for LoadMeter {
    fn default() -> Self {
        Self { samples: Vec::with_capacity(SAMPLES), next: 0 }
    }
}

impl LoadMeter {
    /// Notes that `busy_us` of `period_us` were used; both in microseconds.
    pub(crate) fn note(&mut self, busy_us: u64, period_us: u64) {
        let permille = busy_us.saturating_mul(1000) / period_us.max(1);
        let permille = u16::try_from(permille).unwrap_or(u16::MAX);
        if self.samples.len() < SAMPLES {
            self.samples.push(permille);
        } else {
            self.samples[self.next] = permille;
        }
        self.next = (self.next + 1) % SAMPLES;
    }

    /// The share that 99 of 100 samples stay within, in thousandths; 0 before the first sample.
    #[must_use]
    pub(crate) fn permille_p99(&self) -> u16 {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spike_in_two_hundred_is_forgiven_and_ten_are_not() {
        let mut load = LoadMeter::default();
        assert_eq!(load.permille_p99(), 0);
        (0..199).for_each(|_| load.note(100, 1000));
        load.note(5000, 1000);
        assert_eq!(load.permille_p99(), 100);
        (0..10).for_each(|_| load.note(5000, 1000));
        assert_eq!(load.permille_p99(), 5000);
        (0..SAMPLES).for_each(|_| load.note(7, 1000));
        assert_eq!(load.permille_p99(), 7);
    }
}
