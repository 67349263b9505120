//! How fast a session may speak: a token bucket.

use tokio::time::Instant;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is read.
    Read,
    /// It is dropped, and the client is told.
    Drop,
    /// The client does not listen: it is closed.
    Close,
}

/// A bucket that fills with time and is drained by messages. Dropped messages drain it too, below empty, until
/// twice the burst is owed.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    burst: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self { per_second: per_second.into(), burst: burst.into(), level: burst.into(), at: now }
    }

    pub(super) fn message(&mut self, now: Instant) -> Verdict {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.level = (self.level + elapsed * self.per_second).min(self.burst) - 1.0;
        if self.level >= 0.0 {
            Verdict::Read
        } else if self.level > -2.0 * self.burst {
            Verdict::Drop
        } else {
            Verdict::Close
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Bucket, Verdict};

    #[test]
    fn a_burst_is_read_the_next_is_dropped_and_a_flood_is_closed() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, 5, now);
        let verdicts: Vec<_> = (0..15).map(|_| bucket.message(now)).collect();
        assert!(verdicts[..5].iter().all(|verdict| *verdict == Verdict::Read));
        assert!(verdicts[5..14].iter().all(|verdict| *verdict == Verdict::Drop));
        assert_eq!(verdicts[14], Verdict::Close);
    }

    #[test]
    fn the_bucket_fills_at_its_rate_and_no_higher_than_the_burst() {
        let mut now = Instant::now();
        let mut bucket = Bucket::new(10, 5, now);
        for _ in 0..100 {
            now += Duration::from_millis(101);
            assert_eq!(bucket.message(now), Verdict::Read);
        }
        now += Duration::from_secs(1_000);
        let read = (0..10).filter(|_| bucket.message(now) == Verdict::Read).count();
        assert_eq!(read, 5);
    }
}
