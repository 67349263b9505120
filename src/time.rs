//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

/// Unix time in milliseconds.
pub(crate) fn now_unix_ms() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    u64::try_from(since.as_millis()).context("the clock stands too far ahead")
}
