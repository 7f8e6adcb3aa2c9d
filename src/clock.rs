//! The time of day by this host's clock, for what is told to others. How long something takes is measured by tokio's
//! `Instant`, which nobody sets.

use std::time::{Duration, SystemTime};

/// The time since the Unix epoch; zero where the clock stands before it.
#[must_use]
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The same in milliseconds.
#[must_use]
pub fn unix_millis() -> i64 {
    i64::try_from(unix_time().as_millis()).unwrap_or(i64::MAX)
}

/// The same in whole seconds.
#[must_use]
pub fn unix_seconds() -> u64 {
    unix_time().as_secs()
}
