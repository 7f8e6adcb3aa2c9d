//! How often a connection may do something, and a user with all of its connections.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

use crate::settings::{self, Rate};
use crate::telemetry::LimitScope;

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

    /// Takes so many tokens, if they are there; else none.
    pub fn take(&mut self, tokens: u32, now: Instant) -> bool {
        self.fill(now);
        let wanted = f64::from(tokens);
        let enough = self.tokens >= wanted;
        if enough {
            self.tokens -= wanted;
        }
        enough
    }

    /// How long it takes until there is a token again; `None` where there is one.
    pub fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        let lacks = 1.0 - self.tokens;
        (lacks > 0.0).then(|| Duration::try_from_secs_f64(lacks / self.rate.per_second).unwrap_or(Duration::MAX))
    }

    /// Whether it is as if nothing had ever been taken.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= f64::from(self.rate.burst)
    }

    fn fill(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.filled).as_secs_f64() * self.rate.per_second;
        self.tokens = (self.tokens + earned).min(f64::from(self.rate.burst));
        self.filled = now;
    }
}

/// A client that was refused for its rate so much more often than it was not is not going to stop by itself.
const PATIENCE: u32 = 100;
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
    /// So many bytes of one message.
    Bytes(u32),
}

impl Allowance {
    /// What it takes of its bucket.
    const fn tokens(self) -> u32 {
        match self {
            Self::Command | Self::Publish | Self::Subscribe => 1,
            Self::Bytes(bytes) => bytes,
        }
    }

    /// What is said to be limited where a connection has no more of it.
    pub(super) const fn scope(self) -> LimitScope {
        match self {
            Self::Command | Self::Publish | Self::Subscribe => LimitScope::Connection,
            Self::Bytes(_) => LimitScope::ConnectionBytes,
        }
    }
}

/// What one client may do, and how patient we are with it. Each has a patience of its own: who is far beyond one rate is not
/// excused by keeping to another.
pub(super) struct Rates {
    command: Meter,
    publish: Meter,
    subscribe: Meter,
    bytes: Meter,
}

/// One rate of a client.
pub(super) struct Meter {
    /// `None` without limit of the connection's own.
    bucket: Option<Bucket>,
    /// How often more was refused than was not.
    refused: u32,
}

impl Rates {
    /// `None` where nothing is limited, neither of connections nor of users.
    pub(super) fn new(client: &settings::Client, now: Instant) -> Option<Box<Self>> {
        let meter = |rate: Option<Rate>| Meter { bucket: rate.map(|rate| Bucket::new(rate, now)), refused: 0 };
        let own = [client.command_rate, client.publish_rate, client.subscribe_rate, client.bytes_rate];
        let of_users = [client.user_command_rate, client.user_publish_rate];
        if own.iter().chain(&of_users).all(Option::is_none) {
            return None;
        }
        let [command, publish, subscribe, bytes] = own.map(meter);
        Some(Box::new(Self { command, publish, subscribe, bytes }))
    }

    pub(super) const fn meter(&mut self, of: Allowance) -> &mut Meter {
        match of {
            Allowance::Command => &mut self.command,
            Allowance::Publish => &mut self.publish,
            Allowance::Subscribe => &mut self.subscribe,
            Allowance::Bytes(_) => &mut self.bytes,
        }
    }
}

impl Meter {
    /// Takes that of the bucket, if it is there; `None` where there is no limit.
    pub(super) fn take(&mut self, what: Allowance) -> Option<bool> {
        self.bucket.as_mut().map(|bucket| bucket.take(what.tokens(), Instant::now()))
    }

    pub(super) const fn passed(&mut self) {
        self.refused = self.refused.saturating_sub(1);
    }

    /// Counts a refusal; whether our patience ends.
    pub(super) const fn refuse(&mut self) -> bool {
        self.refused += 1;
        self.refused > PATIENCE
    }
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
            Allowance::Subscribe | Allowance::Bytes(_) => None,
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
        let passed: Vec<_> = [0, 0, 0, 0, 499, 500, 501, 1000].map(|millis| bucket.take(1, at(millis))).into();
        assert_eq!(passed, [true, true, true, false, false, true, false, true]);
    }

    #[test]
    fn what_is_too_much_takes_nothing_from_what_is_less() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { per_second: 100.0, burst: 1000 }, start);
        let later = start + Duration::from_secs(3);
        assert!(bucket.take(800, start) && !bucket.take(201, start) && bucket.take(200, start));
        assert!(!bucket.take(301, later) && bucket.take(300, later) && !bucket.take(1, later));
    }
}
