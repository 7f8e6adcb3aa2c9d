//! How often a connection may do something, and a user may connect.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

use crate::settings::Rate;

/// A token bucket.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: f64::from(rate.burst), filled: now }
    }

    /// Takes one token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.filled).as_secs_f64() * self.rate.per_second;
        self.tokens = (self.tokens + earned).min(f64::from(self.rate.burst));
        self.filled = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// Buckets of users, however many come: two of them may have to share one.
const BUCKETS: u64 = 1 << 18;
/// How often users who were quiet for long enough are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How often each user may connect at this node.
pub struct ConnectRate {
    buckets: DefaultKeyedRateLimiter<u64>,
    /// Seeded, so that nobody can choose a bucket.
    places: RandomState,
}

impl ConnectRate {
    #[must_use]
    pub fn new(rate: Rate) -> Arc<Self> {
        let quota = Quota::with_period(rate.period()).expect("the period is not zero").allow_burst(rate.at_once());
        Arc::new(Self { buckets: RateLimiter::keyed(quota), places: RandomState::new() })
    }

    /// Counts a connect of `user`; whether it was not too many.
    pub fn admits(&self, user: &str) -> bool {
        self.buckets.check_key(&(self.places.hash_one(user) % BUCKETS)).is_ok()
    }

    /// Forgets users who have not come for a while, for ever.
    pub async fn forget(self: Arc<Self>) {
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            self.buckets.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_rate_of_its_own() {
        let rate = ConnectRate::new(Rate { per_second: 0.001, burst: 2 });
        let admitted: Vec<_> = ["ann", "ann", "ann", "bob"].map(|user| rate.admits(user)).into();
        assert_eq!(admitted, [true, true, false, true]);
    }

    #[test]
    fn however_many_users_come_there_are_no_more_buckets_than_that() {
        let rate = ConnectRate::new(Rate { per_second: 0.001, burst: 2 });
        (0..2 * BUCKETS).for_each(|user| {
            rate.admits(&user.to_string());
        });
        assert!(rate.buckets.len() <= BUCKETS as usize);
    }

    #[test]
    fn a_burst_passes_and_then_the_average_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { per_second: 2.0, burst: 3 }, start);
        let at = |millis| start + Duration::from_millis(millis);
        let passed: Vec<_> = [0, 0, 0, 0, 499, 500, 501, 1000].map(|millis| bucket.take(at(millis))).into();
        assert_eq!(passed, [true, true, true, false, false, true, false, true]);
    }
}
