//! Signs of life, round trips and loss, the same for every transport.

use crate::limits::{HEARTBEAT_BUSY_MS, HEARTBEAT_IDLE_MS, TIMEOUT_MS};
use crate::packet::{Report, Side};
use crate::time::Millis;

/// Messages sent within this time make a connection busy.
const BUSY_MS: u64 = 1_000;

pub(crate) struct Heartbeat {
    side: Side,
    born: Millis,
    heard: Millis,
    pinged: Option<Millis>,
    /// Whether nothing was heard since the last ping.
    is_unanswered: bool,
    busy_until: Millis,
    /// Round trip, smoothed over eight samples, in eighths of a millisecond.
    round_trip_eighths: Option<u64>,
    jitter_eighths: u64,
    /// What the newest report says is missing, and what the two newest agree on: a packet that was overtaken is missing
    /// in one report and there in the next.
    missing: u32,
    settled: u32,
    lost: u64,
}

impl Heartbeat {
    pub(crate) fn new(side: Side, born: Millis) -> Self {
        Self {
            side,
            born,
            heard: born,
            pinged: None,
            is_unanswered: false,
            busy_until: born,
            round_trip_eighths: None,
            jitter_eighths: 0,
            missing: 0,
            settled: 0,
            lost: 0,
        }
    }

    pub(crate) fn heard(&mut self, now: Millis) {
        self.heard = now;
        self.is_unanswered = false;
    }

    /// A message was sent: pings come closer together for a while.
    pub(crate) fn sent_message(&mut self, now: Millis) {
        self.busy_until = now + BUSY_MS;
    }

    /// Takes a PONG's stamp.
    pub(crate) fn handle_pong(&mut self, now: Millis, stamp: u32) {
        let Some(sample) = u64::from(self.stamp(now)).checked_sub(u64::from(stamp)) else { return };
        if sample > TIMEOUT_MS {
            return;
        }
        self.add_sample(sample);
    }

    pub(crate) fn add_sample(&mut self, sample_ms: u64) {
        let eighths = sample_ms * 8;
        match self.round_trip_eighths {
            None => {
                self.round_trip_eighths = Some(eighths);
                self.jitter_eighths = eighths / 4;
            }
            Some(mean) => {
                let deviation = mean.abs_diff(eighths);
                self.round_trip_eighths = Some((mean * 7 + eighths) / 8);
                self.jitter_eighths = (self.jitter_eighths * 3 + deviation) / 4;
            }
        }
    }

    /// Takes what the peer says of our packets; gives how many more are missing than before.
    pub(crate) fn handle_report(&mut self, report: Report) -> u32 {
        let missing = report.next.wrapping_sub(report.received);
        let more = missing.saturating_sub(self.missing);
        let settled = missing.min(self.missing);
        self.lost = self.lost.saturating_add(u64::from(settled.saturating_sub(self.settled)));
        (self.missing, self.settled) = (missing, settled);
        more
    }

    /// Whether a ping is due; if so it counts as sent.
    pub(crate) fn poll_ping(&mut self, now: Millis) -> Option<u32> {
        if self.ping_at(now).is_none_or(|at| at > now) {
            return None;
        }
        self.pinged = Some(now);
        self.is_unanswered = true;
        Some(self.stamp(now))
    }

    pub(crate) fn is_timed_out(&self, now: Millis) -> bool {
        now.since(self.heard) >= TIMEOUT_MS
    }

    pub(crate) fn next_deadline(&self, now: Millis) -> Millis {
        let timeout = self.heard + TIMEOUT_MS;
        self.ping_at(now).map_or(timeout, |at| at.min(timeout))
    }

    pub(crate) fn round_trip_ms(&self) -> Option<u64> {
        self.round_trip_eighths.map(|eighths| eighths / 8)
    }

    pub(crate) fn jitter_ms(&self) -> u64 {
        self.jitter_eighths / 8
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// An idle server says nothing of its own: it answers the client's pings. A client that has heard nothing since its
    /// last ping asks again soon: at 30 % loss each way, five pings in ten seconds come to nothing once in 30 times.
    fn ping_at(&self, now: Millis) -> Option<Millis> {
        let pause = match self.side {
            _ if now < self.busy_until => HEARTBEAT_BUSY_MS,
            Side::Client if self.is_unanswered => HEARTBEAT_BUSY_MS,
            Side::Client => HEARTBEAT_IDLE_MS,
            Side::Server => return None,
        };
        Some(self.pinged.map_or(self.born, |pinged| pinged + pause))
    }

    fn stamp(&self, now: Millis) -> u32 {
        u32::try_from(now.since(self.born)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_connection_pings_more_often_and_an_idle_server_never() {
        let pings = |side, busy: bool| {
            let mut heart = Heartbeat::new(side, Millis(0));
            (0..10_000)
                .filter(|&ms| {
                    if busy {
                        heart.sent_message(Millis(ms));
                    }
                    let pings = heart.poll_ping(Millis(ms)).is_some();
                    heart.heard(Millis(ms));
                    pings
                })
                .count()
        };
        assert_eq!(pings(Side::Client, false), 5);
        assert_eq!(pings(Side::Client, true), 20);
        assert_eq!(pings(Side::Server, true), 20);
        assert_eq!(pings(Side::Server, false), 0);
    }

    #[test]
    fn a_client_asks_again_soon_while_it_is_not_answered() {
        let mut heart = Heartbeat::new(Side::Client, Millis(0));
        let pings: Vec<_> = (0..6_000).filter(|&ms| heart.poll_ping(Millis(ms)).is_some()).take(4).collect();
        assert_eq!(pings, [0, 500, 1_000, 1_500]);
        heart.heard(Millis(1_600));
        let next = (1_600..6_000).find(|&ms| heart.poll_ping(Millis(ms)).is_some());
        assert_eq!(next, Some(1_500 + HEARTBEAT_IDLE_MS));
    }

    #[test]
    fn silence_ends_a_connection_at_the_bound_and_not_before() {
        let mut heart = Heartbeat::new(Side::Server, Millis(0));
        heart.heard(Millis(500));
        assert!(!heart.is_timed_out(Millis(500 + TIMEOUT_MS - 1)));
        assert!(heart.is_timed_out(Millis(500 + TIMEOUT_MS)));
    }

    #[test]
    fn loss_is_what_is_newly_missing() {
        let mut heart = Heartbeat::new(Side::Server, Millis(0));
        assert_eq!(heart.handle_report(Report { next: 10, received: 10 }), 0);
        assert_eq!(heart.handle_report(Report { next: 20, received: 18 }), 2);
        assert_eq!(heart.lost(), 0, "they may have been overtaken");
        assert_eq!(heart.handle_report(Report { next: 30, received: 28 }), 0);
        assert_eq!(heart.lost(), 2);
        assert_eq!(heart.handle_report(Report { next: 30, received: 29 }), 0, "one came late");
        assert_eq!(heart.lost(), 2);
        assert_eq!(heart.handle_report(Report { next: 41, received: 39 }), 1);
        assert_eq!(heart.handle_report(Report { next: 50, received: 49 }), 0);
        assert_eq!(heart.lost(), 2, "one had been overtaken");
    }

    #[test]
    fn a_forged_stamp_does_not_bend_the_round_trip() {
        let mut heart = Heartbeat::new(Side::Client, Millis(0));
        heart.handle_pong(Millis(1_000), 960);
        heart.handle_pong(Millis(1_000), 1_001);
        heart.handle_pong(Millis(90_000), 0);
        assert_eq!(heart.round_trip_ms(), Some(40));
    }
}
