//! The time by the clock of a store.
//!
//! How old a message is, and whether the store still has it, is asked of no clock but the one that stamped it: that of a
//! node may be hours off, and may be set at any moment. Between two words of the store time goes on by this process's
//! monotonic clock, which nobody sets.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::message::now;

/// How far behind a word of the store may be and still count as one that was long on its way. Beyond, its clock was set.
const LATE: i64 = Duration::from_secs(5).as_nanos() as i64;

/// What a store's clock shows.
pub(super) struct StoreClock {
    begun: Instant,
    /// What it showed when this began: nanoseconds since the Unix epoch.
    origin: AtomicI64,
    heard: AtomicBool,
}

impl StoreClock {
    /// Goes by the host's clock of this moment, until the store is [heard](Self::hear).
    pub fn new() -> Self {
        Self { begun: Instant::now(), origin: AtomicI64::new(now()), heard: AtomicBool::new(false) }
    }

    /// Nanoseconds since the Unix epoch; never ahead of the store by more than `LATE`, and behind it by less than an answer
    /// takes.
    pub fn now(&self) -> i64 {
        self.origin.load(Ordering::Relaxed).saturating_add(self.elapsed())
    }

    /// How long ago that was, by the store's clock.
    pub fn since(&self, then: i64) -> Duration {
        Duration::from_nanos(u64::try_from(self.now().saturating_sub(then)).unwrap_or(0))
    }

    /// Takes what the store's clock showed when it sent what arrives now. The answer that was least on its way is nearest.
    pub fn hear(&self, showed: i64) {
        let origin = showed.saturating_sub(self.elapsed());
        let first = !self.heard.swap(true, Ordering::Relaxed);
        let known = self.origin.load(Ordering::Relaxed);
        if first || origin > known || origin < known - LATE {
            self.origin.store(origin, Ordering::Relaxed);
        }
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[tokio::test(start_paused = true)]
    async fn the_store_is_believed_and_not_the_host() {
        let clock = StoreClock::new();
        clock.hear(100 * SECOND);
        assert_eq!(clock.now(), 100 * SECOND);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.now(), 107 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_took_long_does_not_set_it_back() {
        let clock = StoreClock::new();
        clock.hear(100 * SECOND);
        clock.hear(98 * SECOND);
        assert_eq!(clock.now(), 100 * SECOND);
        clock.hear(101 * SECOND);
        assert_eq!(clock.now(), 101 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_s_clock_that_is_set_is_followed() {
        let clock = StoreClock::new();
        clock.hear(10_000 * SECOND);
        clock.hear(100 * SECOND);
        assert_eq!(clock.now(), 100 * SECOND);
    }
}
