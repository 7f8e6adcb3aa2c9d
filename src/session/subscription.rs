//! One channel that a connection listens to.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::clock::unix_time;
use crate::hub::Borne;
use crate::presence::{Listening, Stay};
use crate::protocol::Channel;
use crate::relay::Membership;

/// A connection's subscription.
pub(super) struct Subscription {
    /// Ends with the subscription.
    pub(super) membership: Membership,
    /// The server made it; the client cannot refresh it, nor resubscribe by itself.
    pub(super) server_side: bool,
    /// `chan_info` of the client in this channel.
    pub(super) info: Option<Bytes>,
    pub(super) expiry: Option<Expiry>,
    /// Who is told of it; absent where nobody is, and it is told of nobody.
    pub(super) attendance: Option<Box<Attendance>>,
    /// The token that it was granted by, if it was.
    pub(super) token: Option<Box<SubscriptionToken>>,
}

/// What a session keeps of a subscription token, for when it is revoked.
pub(super) struct SubscriptionToken {
    /// Unix seconds.
    pub(super) issued_at: u32,
    /// Where it has an id.
    pub(super) borne: Option<Borne>,
}

/// What a subscription does for presence. Both end with it.
pub(super) struct Attendance {
    pub(super) stay: Option<Stay>,
    #[expect(dead_code, reason = "it listens by living")]
    pub(super) listening: Option<Listening>,
}

/// When a grant ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expiry {
    pub(super) at: Instant,
    pub(super) by: Refresher,
}

/// Who renews a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresher {
    /// The client brings a new token.
    Client,
    /// A hook is asked.
    Server,
}

impl Subscription {
    pub(super) fn channel(&self) -> &Channel {
        self.membership.channel()
    }
}

/// The moment of a Unix time, on this process's clock; what lies in the past is now, what no clock will show is in thirty
/// years.
pub fn moment(unix_seconds: u64) -> Instant {
    const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    Instant::now() + remaining(unix_seconds).min(FOREVER)
}

/// How long it is until a Unix time; zero when it has passed.
pub(super) fn remaining(unix_seconds: u64) -> Duration {
    Duration::from_secs(unix_seconds).saturating_sub(unix_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_clock_will_show_is_far_away_and_no_panic() {
        assert!(moment(u64::MAX) > Instant::now() + Duration::from_secs(365 * 24 * 3600));
    }
}
