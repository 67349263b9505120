//! The share of packets that get lost on the way to the peer, by what it reports: over a second or more, then smoothed
//! over several of these, so that a link's bad luck in one of them is not taken for a bad link.

use crate::packet::Report;
use crate::time::Millis;

/// Shortest time that is looked at.
const WINDOW_MS: u64 = 1_000;

/// Fewest packets whose loss says something.
const PACKETS_MIN: u32 = 10;

/// What a new window weighs: one part in so many.
const SMOOTHED_OVER: u32 = 4;

pub(super) struct LossMeter {
    since: Millis,
    base: Report,
    permille: u32,
}

impl LossMeter {
    pub(super) fn new(now: Millis) -> Self {
        Self { since: now, base: Report { next: 0, received: 0 }, permille: 0 }
    }

    /// Takes what the peer says of all packets so far. A peer that lies about it harms its own feed.
    pub(super) fn handle_report(&mut self, now: Millis, report: Report) {
        let sent = report.next.wrapping_sub(self.base.next);
        let is_older = sent > u32::MAX / 2;
        if is_older || sent < PACKETS_MIN || now.since(self.since) < WINDOW_MS {
            return;
        }
        // What was late in the window before arrives in this one.
        let lost = sent.saturating_sub(report.received.wrapping_sub(self.base.received));
        let sample = u64::from(lost) * 1_000 / u64::from(sent);
        let sample = u32::try_from(sample).expect("a part is no more than the whole");
        self.permille = (self.permille * (SMOOTHED_OVER - 1) + sample) / SMOOTHED_OVER;
        (self.since, self.base) = (now, report);
    }

    /// In thousandths; 0 until something was measured.
    pub(super) fn permille(&self) -> u16 {
        u16::try_from(self.permille).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports twice a second for so many seconds, 40 packets a second, of which so many in 100 arrive.
    fn report(meter: &mut LossMeter, told: &mut Report, from_ms: u64, seconds: u64, arrive: u32) {
        for half in 1..=2 * seconds {
            told.next = told.next.wrapping_add(20);
            told.received = told.received.wrapping_add(20 * arrive / 100);
            meter.handle_report(Millis(from_ms + half * 500), *told);
        }
    }

    #[test]
    fn a_steady_loss_is_found_and_forgotten_within_seconds() {
        let (mut meter, mut told) = (LossMeter::new(Millis(0)), Report { next: 0, received: 0 });
        report(&mut meter, &mut told, 0, 20, 60);
        assert!((390..=400).contains(&meter.permille()), "{}", meter.permille());
        report(&mut meter, &mut told, 20_000, 8, 100);
        assert!(meter.permille() < 50, "{}", meter.permille());
    }

    #[test]
    fn a_second_of_bad_luck_is_no_bad_link() {
        let (mut meter, mut told) = (LossMeter::new(Millis(0)), Report { next: 0, received: 0 });
        report(&mut meter, &mut told, 0, 10, 90);
        report(&mut meter, &mut told, 10_000, 1, 40);
        assert!((200..250).contains(&meter.permille()), "{}", meter.permille());
    }

    #[test]
    fn numbers_that_wrap_reports_that_overtake_and_nonsense_are_taken() {
        let mut meter = LossMeter::new(Millis(0));
        let mut told = Report { next: u32::MAX - 70, received: u32::MAX - 90 };
        meter.base = told;
        report(&mut meter, &mut told, 0, 10, 50);
        let before = meter.permille();
        assert!((450..=500).contains(&before), "{before}");
        // An older one, one that says nothing new, and one of a peer to which more came than was sent.
        meter.handle_report(
            Millis(12_000),
            Report { next: told.next.wrapping_sub(30), received: told.received },
        );
        meter.handle_report(Millis(12_000), told);
        assert_eq!(meter.permille(), before);
        told.next = told.next.wrapping_add(10);
        meter.handle_report(
            Millis(12_000),
            Report { next: told.next, received: told.received.wrapping_add(9_000) },
        );
        assert!(meter.permille() < before);
    }
}
