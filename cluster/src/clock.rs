//! The calendar clock, passed in wherever Unix time is needed.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells Unix time in milliseconds.
///
/// Whatever measures how long something takes uses tokio's monotonic clock instead; this one may jump.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Tokio { base_unix_ms: u64, start: Instant },
}

impl Clock {
    /// The machine's calendar clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that starts at `base_unix_ms` now and follows tokio's clock, paused or not.
    pub fn from_tokio(base_unix_ms: u64) -> Self {
        Self(Source::Tokio { base_unix_ms, start: Instant::now() })
    }

    /// Unix time now, in milliseconds; 0 for a machine whose clock stands before 1970.
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Source::Tokio { base_unix_ms, start } => {
                let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                base_unix_ms.saturating_add(elapsed)
            }
        }
    }
}
