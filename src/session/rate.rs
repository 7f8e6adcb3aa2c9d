//! How often a connection may do something, and a user with all of its connections.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

use crate::settings::{self, Rate};

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

/// How often quiet keys are forgotten.
pub const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Places, however many keys come.
const PLACES: u64 = 1 << 18;

/// Gives each key a place among a bounded number of them: two keys may have to share one. Seeded, so that nobody can choose
/// with whom.
#[derive(Debug, Clone, Default)]
pub struct Places(RandomState);

impl Places {
    /// The place of `key`.
    #[must_use]
    pub fn of(&self, key: impl Hash) -> u64 {
        self.0.hash_one(key) % PLACES
    }
}

/// How often each user may do something, with all of its connections at this node.
pub struct UserRate {
    buckets: DefaultKeyedRateLimiter<u64>,
    places: Places,
}

impl UserRate {
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let quota = Quota::with_period(rate.period()).expect("the period is not zero").allow_burst(rate.at_once());
        Self { buckets: RateLimiter::keyed(quota), places: Places::default() }
    }

    /// Counts one more of `user`; whether it was not too many.
    pub fn admits(&self, user: &str) -> bool {
        self.buckets.check_key(&self.places.of(user)).is_ok()
    }
}

/// What has a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    /// All commands, but connects and refreshes.
    Command,
    Publish,
    Subscribe,
}

/// What users may do, each with all of its connections at this node; `None` without limit. Anonymous clients, of whom nobody
/// knows whether they are one or many, have none of it.
#[derive(Default)]
pub struct UserRates {
    pub connect: Option<UserRate>,
    pub publish: Option<UserRate>,
    pub command: Option<UserRate>,
}

impl UserRates {
    #[must_use]
    pub fn new(client: &settings::Client) -> Self {
        let rate = |rate: Option<Rate>| rate.map(UserRate::new);
        Self {
            connect: rate(client.user_connect_rate),
            publish: rate(client.user_publish_rate),
            command: rate(client.user_command_rate),
        }
    }

    pub(super) const fn of(&self, what: Allowance) -> Option<&UserRate> {
        match what {
            Allowance::Command => self.command.as_ref(),
            Allowance::Publish => self.publish.as_ref(),
            Allowance::Subscribe => None,
        }
    }

    /// Counts one more publication of `user`; whether it was not too many.
    #[must_use]
    pub fn may_publish(&self, user: &str) -> bool {
        user.is_empty() || self.publish.as_ref().is_none_or(|rate| rate.admits(user))
    }

    /// Forgets users who have not come for a while, for ever.
    pub async fn forget(self: Arc<Self>) {
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            for rate in [&self.connect, &self.publish, &self.command].into_iter().flatten() {
                rate.buckets.retain_recent();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_rate_of_its_own() {
        let rate = UserRate::new(Rate { per_second: 0.001, burst: 2 });
        let admitted: Vec<_> = ["ann", "ann", "ann", "bob"].map(|user| rate.admits(user)).into();
        assert_eq!(admitted, [true, true, false, true]);
    }

    #[test]
    fn however_many_users_come_there_are_no_more_buckets_than_that() {
        let rate = UserRate::new(Rate { per_second: 0.001, burst: 2 });
        (0..2 * PLACES).for_each(|user| {
            rate.admits(&user.to_string());
        });
        assert!(rate.buckets.len() <= PLACES as usize);
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
