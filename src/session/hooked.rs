//! Where the application is asked.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use super::Failure;
use super::connect::Identity;
use super::state::Session;
use super::subscribe::Grant;
use super::subscription::{Expiry, Refresher, moment, remaining};
use crate::backplane::{Meta, Outgoing};
use crate::hooks::{Caller, HookError, Verdict};
use crate::protocol::Channel;
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode, ErrorCode};
use crate::protocol::centrifuge::{ConnectRequest, SubscribeRequest};
use crate::telemetry::HookEvent;

/// How long an expired grant goes on when nobody could be asked about it.
const GRACE: Duration = Duration::from_secs(60);

impl Session {
    /// Whether the client renews its connection by tokens, rather than the server by asking a hook.
    pub(super) fn client_refreshes(&self) -> bool {
        !self.services.hooks.asks(HookEvent::Refresh)
    }

    pub(super) async fn identify_by_hook(&self, request: &ConnectRequest) -> Result<Option<Identity>, Failure> {
        if !self.services.hooks.asks(HookEvent::Connect) {
            return Ok(None);
        }
        let id = self.client_id();
        let channels: Vec<_> = request.subs.keys().map(String::as_str).collect();
        let caller = self.caller(&id);
        let (name, version, data) = (&request.name, &request.version, &request.data);
        let asked = self.services.hooks.connect(&caller, name, version, &channels, data).await;
        let connected = self.decided(asked)?;
        Ok(Some(Identity {
            user: connected.grant.user,
            info: connected.grant.info,
            meta: connected.grant.meta,
            expires_at: connected.grant.expires_at,
            refreshed_by_server: !self.client_refreshes(),
            subs: connected.grant.subs,
            data: connected.data,
            token: None,
        }))
    }

    pub(super) async fn ask_before_subscribe(
        &self,
        channel: &Channel,
        request: &SubscribeRequest,
    ) -> Result<Grant, Failure> {
        let id = self.client_id();
        let caller = self.caller(&id);
        let asked = self.services.hooks.subscribe(&caller, channel.as_str(), &request.token, &request.data).await;
        let granted = self.decided(asked)?;
        if is_past(granted.expires_at) {
            return Err(ErrorCode::Expired.into());
        }
        let namespace = self.services.channel.namespaces.of(channel);
        Ok(Grant {
            info: granted.info,
            data: granted.data,
            expires_at: granted.expires_at,
            refreshed_by_server: namespace.is_ok_and(|namespace| namespace.sub_refresh_hook),
            overrides: granted.overrides,
            room: None,
            token: None,
        })
    }

    pub(super) async fn ask_before_publish(&self, channel: &Channel, message: Outgoing) -> Result<Outgoing, Failure> {
        let id = self.client_id();
        let caller = self.caller(&id);
        let asked = self.services.hooks.publish(&caller, channel.as_str(), &message.data).await;
        let allowed = self.decided(asked)?;
        Ok(Outgoing {
            data: allowed.data.unwrap_or(message.data),
            meta: Meta { tags: allowed.tags, delta: allowed.delta, ..Meta::default() },
            idempotency_key: allowed.idempotency_key,
            version: allowed.version,
            skip_history: allowed.skip_history,
        })
    }

    pub(super) async fn call(&self, method: &str, data: Bytes) -> Result<Bytes, Failure> {
        let id = self.client_id();
        self.services.hooks.rpc(&self.caller(&id), method, data).await.map_err(|error| {
            debug!(client = %self.id, method, "rpc failed: {error}");
            Failure::Error(error.client_error())
        })
    }

    /// Whether something that the server renews by itself has expired.
    pub(super) fn owes_refresh(&self, now: Instant) -> bool {
        let connection = self.client().and_then(|client| client.expiry);
        let subscriptions = self.subscriptions.iter().map(|subscription| subscription.expiry);
        subscriptions.chain([connection]).flatten().any(|expiry| due(expiry, now))
    }

    /// Asks the application about one thing that has expired: what others want comes before the next.
    pub(super) async fn refresh_by_hooks(&mut self) -> Result<(), Disconnect> {
        let now = Instant::now();
        let expired = |expiry: Option<Expiry>| expiry.is_some_and(|expiry| due(expiry, now));
        if expired(self.client().and_then(|client| client.expiry)) {
            return self.refresh_connection().await;
        }
        let subscription = self.subscriptions.iter().find(|subscription| expired(subscription.expiry));
        match subscription.map(|subscription| subscription.channel().clone()) {
            Some(channel) => self.refresh_subscription(&channel).await,
            None => Ok(()),
        }
    }

    async fn refresh_connection(&mut self) -> Result<(), Disconnect> {
        let id = self.client_id();
        let answer = self.services.hooks.refresh(&self.caller(&id)).await;
        let Some(refreshed) = self.renewed(answer)? else {
            self.prolong_connection(Some(Instant::now() + GRACE));
            return Ok(());
        };
        if refreshed.expired || is_past(refreshed.expires_at) {
            return Err(DisconnectCode::Expired.into());
        }
        self.prolong_connection(refreshed.expires_at.map(moment));
        if let Some(client) = self.client_mut() {
            client.info = refreshed.info.or(client.info.take());
            client.meta = refreshed.meta.or(client.meta.take());
        }
        self.show_changes();
        Ok(())
    }

    fn prolong_connection(&mut self, until: Option<Instant>) {
        if let Some(client) = self.client_mut() {
            client.expiry = until.map(|at| Expiry { at, by: Refresher::Server });
        }
    }

    async fn refresh_subscription(&mut self, channel: &Channel) -> Result<(), Disconnect> {
        let id = self.client_id();
        let answer = self.services.hooks.sub_refresh(&self.caller(&id), channel.as_str()).await;
        let renewed = self.renewed(answer)?;
        let Some(index) = self.position_of(channel) else { return Ok(()) };
        let subscription = &mut self.subscriptions[index];
        let until = match renewed {
            Some(refreshed) if refreshed.expired || is_past(refreshed.expires_at) => {
                let server_side = subscription.server_side;
                return self.end_subscription(channel, server_side);
            }
            Some(refreshed) => {
                subscription.info = refreshed.info.or(subscription.info.take());
                refreshed.expires_at.map(moment)
            }
            None => Some(Instant::now() + GRACE),
        };
        subscription.expiry = until.map(|at| Expiry { at, by: Refresher::Server });
        self.show_changes();
        Ok(())
    }

    /// What a hook decided about a command.
    fn decided<T>(&self, verdict: Result<Verdict<T>, HookError>) -> Result<T, Failure> {
        match verdict {
            Ok(Verdict::Result(result)) => Ok(result),
            Ok(Verdict::Error(error)) => Err(Failure::Error(error)),
            Ok(Verdict::Disconnect(disconnect)) => Err(Failure::Disconnect(disconnect)),
            Err(error) => {
                debug!(client = %self.id, "a hook gave no verdict: {error}");
                Err(Failure::Error(error.client_error()))
            }
        }
    }

    /// What a hook decided about something that expired; `None` when it could not be asked.
    fn renewed<T>(&self, verdict: Result<Verdict<T>, HookError>) -> Result<Option<T>, Disconnect> {
        match self.decided(verdict) {
            Ok(result) => Ok(Some(result)),
            Err(Failure::Error(_)) => Ok(None),
            Err(Failure::Disconnect(disconnect)) => Err(disconnect),
        }
    }

    fn caller<'a>(&'a self, id: &'a str) -> Caller<'a> {
        let client = self.client();
        Caller {
            client: id,
            user: client.map_or("", |client| &client.user),
            transport: self.peer.format.transport(),
            encoding: self.peer.format.encoding(),
            namespace: "",
            headers: &self.peer.headers,
            meta: client.and_then(|client| client.meta.as_deref()),
        }
    }
}

/// Whether a grant is over already: it is none, and asking again at once would only bring more of the same.
pub(super) fn is_past(expires_at: Option<u64>) -> bool {
    expires_at.is_some_and(|at| remaining(at).is_zero())
}

fn due(expiry: Expiry, now: Instant) -> bool {
    expiry.by == Refresher::Server && expiry.at <= now
}
