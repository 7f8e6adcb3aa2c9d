//! What one connection knows of itself.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::Peer;
use super::counted::Handshake;
use super::permissions::Asker;
use super::rate::Rates;
use super::services::Services;
use super::subscription::{Expiry, Subscription};
use crate::census::Place;
use crate::hub::{Borne, Known, Outbox};
use crate::protocol::Channel;
use crate::protocol::centrifuge::ClientInfo;
use crate::watch::What;

/// A connection and its client.
pub(super) struct Session {
    pub(super) services: Arc<Services>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) id: Uuid,
    pub(super) peer: Box<Peer>,
    pub(super) opened: Instant,
    pub(super) phase: Phase,
    /// Exactly as many as there are.
    pub(super) subscriptions: Vec<Subscription>,
}

/// How far the client has come.
pub(super) enum Phase {
    /// It has not connected yet.
    Opening(#[expect(dead_code, reason = "it counts by living")] Handshake),
    /// Its connect command failed: it is expected to leave.
    Refused {
        since: Instant,
    },
    Connected(Box<Client>),
}

/// Who is connected.
pub(super) struct Client {
    #[expect(dead_code, reason = "backends find the client as long as it lives")]
    pub(super) known: Known,
    #[expect(dead_code, reason = "its user has one connection more as long as it lives")]
    pub(super) place: Option<Place>,
    /// `""` for an anonymous user.
    pub(super) user: Arc<str>,
    /// `conn_info`.
    pub(super) info: Option<Bytes>,
    /// For hooks only.
    pub(super) meta: Option<Bytes>,
    pub(super) expiry: Option<Expiry>,
    /// When its token was issued, in Unix seconds; `u32::MAX` where none was needed, so that it is never too old.
    pub(super) issued_at: u32,
    /// Its token, where that has an id.
    pub(super) borne: Option<Box<Borne>>,
    /// The channels that the token subscribed: a new token must name the same.
    pub(super) token_channels: Vec<String>,
    /// Most have no limits.
    pub(super) rates: Option<Box<Rates>>,
}

impl Session {
    /// The connection's id, as clients see it.
    pub(super) fn client_id(&self) -> String {
        self.id.hyphenated().to_string()
    }

    pub(super) const fn client(&self) -> Option<&Client> {
        match &self.phase {
            Phase::Connected(client) => Some(client),
            Phase::Opening(_) | Phase::Refused { .. } => None,
        }
    }

    pub(super) const fn client_mut(&mut self) -> Option<&mut Client> {
        match &mut self.phase {
            Phase::Connected(client) => Some(client),
            Phase::Opening(_) | Phase::Refused { .. } => None,
        }
    }

    pub(super) const fn is_refused(&self) -> bool {
        matches!(self.phase, Phase::Refused { .. })
    }

    pub(super) fn subscription(&self, channel: &str) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.channel().as_str() == channel)
    }

    pub(super) fn position_of(&self, channel: &Channel) -> Option<usize> {
        self.subscriptions.iter().position(|subscription| subscription.channel() == channel)
    }

    /// Ends a subscription; whether there was one.
    pub(super) fn leave(&mut self, channel: &Channel) -> bool {
        let Some(index) = self.position_of(channel) else { return false };
        // First the membership: a loss that is told after that is of nobody's concern, and not of the next subscription's.
        drop(self.subscriptions.swap_remove(index));
        self.outbox.forget_loss(channel);
        self.seen(|| What::Unsubscribed { channel: channel.to_string() });
        true
    }

    /// Gives parked subscriptions what they missed: the client has read what waited for it.
    pub(super) async fn catch_up(&self) {
        let relay = &self.services.relay;
        // The other half of what may wait is for what cannot be refused.
        let part = self.services.client.queue_max_size / 2;
        for subscription in &self.subscriptions {
            relay.resume(&subscription.membership, &self.outbox, part).await;
        }
    }

    /// Takes a subscription in.
    pub(super) fn enter(&mut self, subscription: Subscription) {
        // Most connections listen to very few channels: a vector that grows by doubling would waste places.
        self.subscriptions.reserve_exact(1);
        let channel = subscription.channel().clone();
        self.subscriptions.push(subscription);
        self.seen(|| What::Subscribed { channel: channel.to_string() });
    }

    /// This client with respect to a channel.
    pub(super) fn asker<'a>(&'a self, channel: &Channel) -> Asker<'a> {
        let user = self.client().map_or("", |client| &client.user);
        Asker { user, subscribed: self.position_of(channel).is_some() }
    }

    /// How others see this client in a channel.
    pub(super) fn info(&self, channel: &Channel) -> ClientInfo {
        let client = self.client();
        let chan_info = self.subscription(channel.as_str()).and_then(|subscription| subscription.info.clone());
        ClientInfo {
            user: client.map_or_else(String::new, |client| client.user.to_string()),
            client: self.client_id(),
            conn_info: client.and_then(|client| client.info.clone()).unwrap_or_default(),
            chan_info: chan_info.unwrap_or_default(),
        }
    }
}
