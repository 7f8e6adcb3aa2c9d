//! What happens when a time is over.

use tokio::time::Instant;

use super::heart::Heart;
use super::state::{Phase, Session};
use super::subscription::{Expiry, Refresher};
use crate::protocol::Channel;
use crate::protocol::centrifuge::Push;
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode, UnsubscribeCode};

/// How long a client whose connect command failed may stay.
const REFUSED_STAY: std::time::Duration = std::time::Duration::from_secs(5);

impl Session {
    /// When the clock should be asked next.
    pub(super) fn next_deadline(&self, heart: &Heart) -> Instant {
        match &self.phase {
            Phase::Opening(_) => self.opened + self.services.client.stale_close_delay,
            Phase::Refused { since } => *since + REFUSED_STAY,
            Phase::Connected(client) => {
                let connection = client.expiry.map(|expiry| self.connection_deadline(expiry));
                let subscriptions = self.subscriptions.iter().filter_map(|subscription| subscription.expiry);
                let subscriptions = subscriptions.map(|expiry| self.subscription_deadline(expiry));
                connection.into_iter().chain(subscriptions).fold(heart.next(), Instant::min)
            }
        }
    }

    fn connection_deadline(&self, expiry: Expiry) -> Instant {
        match expiry.by {
            Refresher::Client => expiry.at + self.services.client.expired_close_delay,
            Refresher::Server => expiry.at,
        }
    }

    fn subscription_deadline(&self, expiry: Expiry) -> Instant {
        match expiry.by {
            Refresher::Client => expiry.at + self.services.client.expired_sub_close_delay,
            Refresher::Server => expiry.at,
        }
    }

    /// Ends what is over at `now`, but for what the server renews by itself.
    pub(super) fn deadlines(&mut self, now: Instant) -> Result<(), Disconnect> {
        match &self.phase {
            Phase::Opening(_) if now >= self.opened + self.services.client.stale_close_delay => {
                Err(DisconnectCode::Stale.into())
            }
            // It was told why it may not come in; this only ends its socket.
            Phase::Refused { since } if now >= *since + REFUSED_STAY => Err(DisconnectCode::ForceReconnect.into()),
            Phase::Opening(_) | Phase::Refused { .. } => Ok(()),
            Phase::Connected(client) => {
                let by_client = client.expiry.filter(|expiry| expiry.by == Refresher::Client);
                if by_client.is_some_and(|expiry| now >= self.connection_deadline(expiry)) {
                    return Err(DisconnectCode::Expired.into());
                }
                self.expire_subscriptions(now)
            }
        }
    }

    fn expire_subscriptions(&mut self, now: Instant) -> Result<(), Disconnect> {
        let over = |expiry: Option<Expiry>| {
            expiry.is_some_and(|expiry| expiry.by == Refresher::Client && now >= self.subscription_deadline(expiry))
        };
        let expired: Vec<(Channel, bool)> = self
            .subscriptions
            .iter()
            .filter(|subscription| over(subscription.expiry))
            .map(|subscription| (subscription.channel().clone(), subscription.server_side))
            .collect();
        for (channel, server_side) in expired {
            self.end_subscription(&channel, server_side)?;
        }
        Ok(())
    }

    /// A subscription ran out: the client may ask for it again, or for the connection that it came with.
    pub(super) fn end_subscription(&mut self, channel: &Channel, server_side: bool) -> Result<(), Disconnect> {
        if server_side {
            return Err(DisconnectCode::SubscriptionExpired.into());
        }
        self.push_unsubscribe(channel, UnsubscribeCode::Expired);
        Ok(())
    }

    /// Publications of a channel were lost for good: the client starts over, from history where there is any.
    pub(super) fn lost(&mut self, channel: &Channel) -> Result<(), Disconnect> {
        match self.subscription(channel.as_str()).map(|subscription| subscription.server_side) {
            Some(true) => Err(DisconnectCode::InsufficientState.into()),
            Some(false) => {
                self.push_unsubscribe(channel, UnsubscribeCode::Insufficient);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn push_unsubscribe(&mut self, channel: &Channel, code: UnsubscribeCode) {
        self.leave(channel);
        self.push(Push::Unsubscribe { channel: channel.clone(), code });
    }
}
