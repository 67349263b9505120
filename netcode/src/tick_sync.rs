//! The client's clock: which tick to give an input for, so that it arrives just before it is needed.
//!
//! The client leads the server by half a round trip plus jitter. The first guess comes from ACCEPT (tick and round
//! trip); afterwards the server reports how early the inputs come, and the lead is steered towards a margin.

use crate::time::Millis;

/// Margin that inputs should have beyond the jitter, milliseconds.
const MARGIN_MS: i64 = 8;
/// Largest lead over the server's tick, milliseconds.
const LEAD_MAX_MS: i64 = 500;
/// How long reports are gathered before they are acted on.
const GATHER_MS: u64 = 250;
/// An error beyond this is corrected at once instead of being steered away.
const JUMP_MS: i64 = 150;

/// The client's estimate of the tick that its next input is for.
#[derive(Clone, Debug)]
pub struct TickSync {
    rate_hz: u32,
    /// When tick 0 would have been due, on the client's clock, lead included, microseconds.
    origin_us: i64,
    /// Since when reports are gathered, and the worst lead among them.
    worst: Option<(Millis, i64)>,
    deaf_until: Millis,
    newest: u32,
}

impl TickSync {
    /// Starts from what ACCEPT told: at `now` the server was at `tick`, half a round trip ago.
    ///
    /// # Panics
    /// When the rate is 0.
    pub fn new(now: Millis, tick: u32, rate_hz: u16, round_trip_ms: u64) -> Self {
        assert!(rate_hz > 0, "a battle has a tick rate");
        let rate_hz = u32::from(rate_hz);
        let round_trip_ms = i64::try_from(round_trip_ms).unwrap_or(LEAD_MAX_MS).min(2 * LEAD_MAX_MS);
        // Half a round trip for the ACCEPT to come, half for the input to go.
        let origin_us =
            as_us(now) - tick_us(tick, rate_hz) - (round_trip_ms + MARGIN_MS).min(LEAD_MAX_MS) * 1_000;
        // Reports within a round trip are of inputs that were given before.
        let deaf_until = now + u64::try_from(round_trip_ms).unwrap_or(0);
        Self { rate_hz, origin_us, worst: None, deaf_until, newest: tick }
    }

    /// The tick that an input taken now is for. Never goes back.
    pub fn input_tick(&mut self, now: Millis) -> u32 {
        let elapsed_us = (as_us(now) - self.origin_us).max(0);
        let tick = elapsed_us.saturating_mul(i64::from(self.rate_hz)) / 1_000_000 + 1;
        self.newest = self.newest.max(u32::try_from(tick).unwrap_or(u32::MAX));
        self.newest
    }

    /// When the tick after the newest one given begins: the time for the next input.
    pub fn next_input_at(&self) -> Millis {
        let at_us = self.origin_us + tick_us(self.newest, self.rate_hz);
        Millis(u64::try_from(at_us.max(0) / 1_000).unwrap_or(0) + 1)
    }

    /// The server's report: the newest input came `lead_ms` before it was needed (negative: too late).
    ///
    /// Reports of a quarter second are gathered and the worst of them is acted on; then nothing for a round trip, because
    /// those reports are of inputs that were given before.
    pub fn handle_report(&mut self, now: Millis, lead_ms: i16, round_trip_ms: u64, jitter_ms: u64) {
        if now < self.deaf_until {
            return;
        }
        let lead_ms = i64::from(lead_ms);
        let (since, worst) = self.worst.map_or((now, lead_ms), |(since, worst)| (since, worst.min(lead_ms)));
        self.worst = Some((since, worst));
        let jitter_ms = i64::try_from(jitter_ms).unwrap_or(LEAD_MAX_MS).min(LEAD_MAX_MS / 4);
        let error = MARGIN_MS + jitter_ms - worst;
        if now.since(since) < GATHER_MS && error.abs() < JUMP_MS {
            return;
        }
        // Late inputs are worse than early ones: catch up at once, fall back slowly.
        let step_ms = if error > 0 || error.abs() > JUMP_MS { error } else { error / 4 };
        self.origin_us -= step_ms * 1_000;
        self.worst = None;
        self.deaf_until = now + round_trip_ms.min(1_000) + GATHER_MS / 2;
    }
}

fn as_us(now: Millis) -> i64 {
    i64::try_from(now.0).unwrap_or(i64::MAX / 2_000).saturating_mul(1_000)
}

fn tick_us(tick: u32, rate_hz: u32) -> i64 {
    i64::from(tick) * 1_000_000 / i64::from(rate_hz)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server at 30 Hz whose tick 0 is due at 10 s; gives the lead of each input after `seconds`.
    fn leads(one_way_ms: u64, jitter_ms: u64, seconds: u64, first_guess_ms: u64) -> Vec<i64> {
        let mut random = crate::link::Random::new(5);
        let mut sync = TickSync::new(Millis(10_000), 0, 30, first_guess_ms);
        let (mut leads, mut reports) = (Vec::new(), std::collections::VecDeque::new());
        let mut given = 0;
        for ms in 10_000..10_000 + seconds * 1_000 {
            let tick = sync.input_tick(Millis(ms));
            if tick > given {
                given = tick;
                let arrival = ms + one_way_ms + random.below(jitter_ms + 1);
                let lead = (10_000 + u64::from(tick) * 1_000 / 30) as i64 - arrival as i64;
                reports.push_back((arrival + one_way_ms, lead));
                if ms > 10_000 + seconds * 500 {
                    leads.push(lead);
                }
            }
            while let Some(&(at, lead)) = reports.front() {
                if at > ms {
                    break;
                }
                reports.pop_front();
                sync.handle_report(Millis(ms), lead as i16, 2 * one_way_ms, jitter_ms / 4);
            }
        }
        leads
    }

    #[test]
    fn inputs_come_in_time_after_a_wrong_first_guess() {
        for first_guess in [0, 100, 400] {
            let leads = leads(50, 0, 20, first_guess);
            assert!(leads.len() > 250);
            assert!(leads.iter().all(|lead| (0..60).contains(lead)), "{first_guess}: {leads:?}");
        }
    }

    #[test]
    fn jitter_is_covered_by_the_lead() {
        let leads = leads(50, 30, 40, 100);
        let late = leads.iter().filter(|lead| **lead < 0).count();
        assert!(late * 100 <= leads.len(), "{late} of {} late", leads.len());
    }

    #[test]
    fn the_tick_never_goes_back() {
        let mut sync = TickSync::new(Millis(1_000), 100, 30, 80);
        let mut last = 0;
        for ms in 1_000..5_000 {
            if ms % 100 == 0 {
                sync.handle_report(Millis(ms), i16::MAX, 50, 0);
            }
            let tick = sync.input_tick(Millis(ms));
            assert!(tick >= last);
            last = tick;
        }
    }
}
