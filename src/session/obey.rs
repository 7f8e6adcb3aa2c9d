//! What backends want of a client.

use std::sync::Arc;

use bytes::Bytes;
use tracing::{debug, warn};

use super::Failure;
use super::state::Session;
use super::subscribe::Grant;
use super::subscription::{Expiry, Refresher, moment, remaining};
use crate::auth::Overrides;
use crate::hub::{Description, Errand, Order, Placement};
use crate::protocol::Channel;
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode, UnsubscribeCode};
use crate::protocol::centrifuge::{Push, SubscribePush, SubscribeRequest, ttl};

impl Session {
    /// Whoever is not connected any more has nothing to obey.
    pub(super) async fn obey(&mut self, order: &Order) -> Result<(), Disconnect> {
        if self.client().is_none() {
            return Ok(());
        }
        match order {
            // Nobody else is on its connection.
            Order::Client(_, errand) => self.run_errand(errand).await?,
            Order::Recheck => self.recheck()?,
            Order::Describe(asker) => {
                let channels = self.subscriptions.iter().map(|subscription| subscription.channel().clone());
                // Whoever asked may be gone; there is room for each.
                let _ = asker.0.try_send(Description { client: self.id, channels: channels.collect() });
            }
        }
        Ok(())
    }

    async fn run_errand(&mut self, errand: &Errand) -> Result<(), Disconnect> {
        match errand {
            Errand::Subscribe(placement) => self.place(placement).await?,
            Errand::Unsubscribe(Some(channel)) => self.displace(channel.clone()),
            Errand::Unsubscribe(None) => {
                while let Some(last) = self.subscriptions.last() {
                    self.displace(last.channel().clone());
                }
            }
            Errand::Refresh { expires_at, info } => self.refresh_for_backend(*expires_at, info.as_ref())?,
            Errand::Dismiss => return Err(DisconnectCode::ForceNoReconnect.into()),
            Errand::Disconnect(disconnect) => return Err(disconnect.clone()),
        }
        Ok(())
    }

    async fn place(&mut self, placement: &Placement) -> Result<(), Disconnect> {
        let channel = &placement.channel;
        if self.position_of(channel).is_some() {
            return Ok(());
        }
        if self.subscriptions.len() >= self.services.client.channel_limit {
            // Whoever does not get what its backend gives it must know: it would wait for it in vain.
            warn!(client = %self.id, %channel, "closing: a backend subscribes the client beyond its channel limit");
            return Err(DisconnectCode::ChannelLimit.into());
        }
        let Ok(namespace) = self.services.channel.namespaces.of(channel).map(Arc::clone) else { return Ok(()) };
        let asked = placement.since.as_ref().map(|(offset, epoch)| SubscribeRequest {
            channel: channel.to_string(),
            recover: true,
            offset: *offset,
            epoch: epoch.clone(),
            ..SubscribeRequest::default()
        });
        let overrides = Overrides {
            presence: placement.presence,
            join_leave: placement.join_leave,
            force_push_join_leave: placement.force_push_join_leave,
            force_recovery: placement.force_recovery,
            force_positioning: placement.force_positioning,
        };
        let grant = Grant {
            info: placement.info.clone(),
            data: placement.data.clone(),
            expires_at: placement.expires_at,
            refreshed_by_server: false,
            overrides,
            room: None,
            token: None,
        };
        let (result, hold) = match self.join(channel, &namespace, asked.as_ref(), grant, true).await {
            Ok(joined) => joined,
            Err(Failure::Disconnect(disconnect)) => return Err(disconnect),
            Err(Failure::Error(error)) => {
                // Nobody would try again, and it would wait in vain: it comes back as one who has lost something.
                warn!(client = %self.id, %channel, %error, "closing: not subscribed for a backend");
                self.services.telemetry.clients.orders_failed.increment(1);
                return Err(DisconnectCode::InsufficientState.into());
            }
        };
        debug!(client = %self.id, %channel, "subscribed for a backend");
        let subscription = SubscribePush {
            recoverable: result.recoverable,
            positioned: result.positioned,
            epoch: result.epoch,
            offset: result.offset,
            data: result.data,
        };
        self.push(Push::Subscribe { channel: channel.clone(), subscription });
        for publication in result.publications {
            self.push(Push::Publication { channel: channel.clone(), publication });
        }
        drop(hold);
        Ok(())
    }

    fn displace(&mut self, channel: Channel) {
        if self.leave(&channel) {
            self.push(Push::Unsubscribe { channel, code: UnsubscribeCode::Server });
        }
    }

    fn refresh_for_backend(&mut self, at: Option<u64>, info: Option<&Bytes>) -> Result<(), Disconnect> {
        if at.is_some_and(|at| remaining(at).is_zero()) {
            // The backend wants it to have expired: nobody is waited for to renew it.
            return Err(DisconnectCode::Expired.into());
        }
        let by = if self.client_refreshes() { Refresher::Client } else { Refresher::Server };
        let Some(client) = self.client_mut() else { return Ok(()) };
        client.expiry = at.map(|at| Expiry { at: moment(at), by });
        if let Some(info) = info {
            client.info = Some(info.clone());
            self.show_changes();
        }
        self.push(Push::Refresh { expires: at.is_some(), ttl: at.map_or(0, |at| ttl(remaining(at))) });
        Ok(())
    }
}
