//! The process's monotonic clock as `Millis`, and how far it is from Unix time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::Millis;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    base: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { base: Instant::now() }
    }

    pub(super) fn now(self) -> Millis {
        Millis(u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// When `at` is, for timers.
    pub(super) fn instant(self, at: Millis) -> Instant {
        self.base + std::time::Duration::from_millis(at.0)
    }

    /// What to add to `now` to have Unix milliseconds, by the wall clock of this moment.
    pub(super) fn unix_offset_ms(self) -> i64 {
        let now = i64::try_from(self.now().0).unwrap_or(i64::MAX);
        i64::try_from(unix_ms()).unwrap_or(i64::MAX).saturating_sub(now)
    }
}

/// Unix milliseconds by the wall clock; 0 before 1970.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
