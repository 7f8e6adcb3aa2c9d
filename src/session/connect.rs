//! Who connects, and what it is subscribed to from the start.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use super::Failure;
use super::admission::NotAdmitted;
use super::commands::Answer;
use super::hooked::is_past;
use super::rate::Rates;
use super::state::{Client, Phase, Session};
use super::strangers::Stranger;
use super::subscribe::Grant;
use super::subscription::{Expiry, Refresher, moment, remaining};
use super::unidirectional::as_disconnect;
use crate::auth::{Overrides, ServerSub, TokenError};
use crate::census::Place;
use crate::clock::unix_millis;
use crate::hub::{Hold, Profile};
use crate::protocol::centrifuge::codes::{ClientError, DisconnectCode, ErrorCode};
use crate::protocol::centrifuge::{ConnectRequest, ConnectResult, ServerSubscription, ttl};
use crate::revocation::Token;
use crate::telemetry::Overflow;
use crate::watch::What;

/// Who somebody turned out to be.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) user: String,
    pub(super) info: Option<Bytes>,
    pub(super) meta: Option<Bytes>,
    /// Unix seconds.
    pub(super) expires_at: Option<u64>,
    pub(super) refreshed_by_server: bool,
    pub(super) subs: Vec<ServerSub>,
    /// For the client, from the connect hook.
    pub(super) data: Option<Bytes>,
    /// The token that said so, if one did.
    pub(super) token: Option<Token>,
}

impl Session {
    pub(super) async fn connect(&mut self, id: u32, request: ConnectRequest) -> Answer {
        let services = Arc::clone(&self.services);
        let Ok(_turn) = services.limits.connects.enter().await.inspect_err(|error| {
            debug!(client = %self.id, "closing: {error} to connect (client.connects)");
            services.telemetry.queues.overflows.of(Overflow::Connect).increment(1);
        }) else {
            return Err(DisconnectCode::TooManyRequests.into());
        };
        match self.try_connect(id, request).await {
            Err(Failure::Error(error)) => {
                self.phase = Phase::Refused { since: Instant::now() };
                self.subscriptions = Vec::new();
                if self.is_unidirectional() {
                    return Err(Failure::Disconnect(as_disconnect(&error)));
                }
                Err(Failure::Error(error))
            }
            outcome => outcome,
        }
    }

    async fn try_connect(&mut self, id: u32, request: ConnectRequest) -> Answer {
        let identity = self.identify(&request).await.inspect_err(|failure| self.count_unidentified(failure))?;
        if identity.token.is_some()
            && identity.user.is_empty()
            && self.services.client.disallow_anonymous_connection_tokens
        {
            let refused = DisconnectCode::PermissionDenied.into();
            self.count_unidentified(&refused);
            return Err(refused);
        }
        self.services.spend_connect(&identity.user, self.id)?;
        if is_past(identity.expires_at) && identity.token.is_none() {
            return Err(ErrorCode::Expired.into());
        }
        let mut result = self.greeting(&identity);
        let granted = self.granted_subs(&identity, &request)?;
        if granted.len() > self.services.client.channel_limit {
            return Err(DisconnectCode::ChannelLimit.into());
        }
        // All are checked before the first is joined: a connect fails whole.
        let granted = granted
            .into_iter()
            .map(|sub| self.channel(&sub.channel).map(|(channel, namespace)| (channel, namespace, sub)))
            .collect::<Result<Vec<_>, _>>()?;
        let place = self.services.take_place(&identity.user, self.id, &self.outbox).await?;
        self.become_client(identity, &request, place);
        // It may have been revoked before anybody could know that it is here.
        self.recheck_connection()?;
        let mut holds: Vec<Hold> = Vec::new();
        // All that is recovered comes in one reply.
        let mut room = self.services.client.queue_max_size / 2;
        for (channel, namespace, sub) in granted {
            let asked = request.subs.get(channel.as_str());
            let grant = Grant {
                info: sub.info,
                data: sub.data,
                overrides: sub.overrides,
                room: Some(room),
                ..Grant::default()
            };
            let (subscribed, hold) = self.join(&channel, &namespace, asked, grant, true).await?;
            let recovered: usize = subscribed.publications.iter().map(|publication| publication.data.len()).sum();
            room = room.saturating_sub(recovered);
            result.subs.push(ServerSubscription { channel: channel.to_string(), result: subscribed });
            holds.push(hold);
        }
        self.greet(id, result);
        self.services.counted_connect(self.outbox.format(), self.opened.elapsed());
        drop(holds);
        Ok(None)
    }

    async fn identify(&self, request: &ConnectRequest) -> Result<Identity, Failure> {
        if !request.token.is_empty() {
            return self.identify_by_token(&request.token).await;
        }
        if let Some(identity) = self.identify_by_hook(request).await? {
            return Ok(identity);
        }
        if self.services.client.allow_anonymous_connect_without_token {
            return Ok(Identity::default());
        }
        debug!(client = %self.id, "closing: no token");
        self.services.strangers.tell(&Stranger::NoToken);
        Err(DisconnectCode::BadRequest.into())
    }

    async fn identify_by_token(&self, token: &str) -> Result<Identity, Failure> {
        let Some(verifier) = &self.services.connection_tokens else {
            debug!(client = %self.id, "closing: a token, and no key");
            self.services.strangers.tell(&Stranger::NoKey);
            return Err(DisconnectCode::InvalidToken.into());
        };
        let grant = self.services.believe(verifier, token).await.map_err(|error| {
            debug!(client = %self.id, "connection token refused: {error}");
            token_failure(&error).unwrap_or_else(|| DisconnectCode::InvalidToken.into())
        })?;
        Ok(Identity {
            user: grant.user,
            info: grant.info,
            meta: grant.meta,
            expires_at: grant.expires_at,
            refreshed_by_server: false,
            subs: grant.subs,
            data: None,
            token: Some(Token::new(grant.token_id.as_deref(), grant.issued_at)),
        })
    }

    /// What the token or hook grants, what a client that only listens may have of its own, and the user's personal
    /// channel.
    fn granted_subs(&self, identity: &Identity, request: &ConnectRequest) -> Result<Vec<ServerSub>, Failure> {
        let mut subs = identity.subs.clone();
        let wanted = self.wanted_subs(identity, request)?;
        subs.extend(wanted.into_iter().filter(|wanted| identity.subs.iter().all(|sub| sub.channel != wanted.channel)));
        if let Some(namespace) = &self.services.client.user_personal_channel
            && !identity.user.is_empty()
        {
            let channel = personal_channel(namespace, &identity.user);
            if !subs.iter().any(|sub| sub.channel == channel) {
                subs.push(ServerSub { channel, info: None, data: None, overrides: Overrides::default() });
            }
        }
        Ok(subs)
    }

    fn greeting(&self, identity: &Identity) -> ConnectResult {
        let settings = &self.services.client;
        let by_client = identity.expires_at.filter(|_| !identity.refreshed_by_server && self.client_refreshes());
        let frame_pings = self.peer.frame_pings;
        let mailbox = self.peer.mailbox;
        ConnectResult {
            client: self.client_id(),
            version: self.services.node.version.clone(),
            expires: by_client.is_some(),
            ttl: by_client.map_or(0, |at| ttl(remaining(at))),
            data: identity.data.clone().unwrap_or_default(),
            ping: if frame_pings && !self.is_unidirectional() { 0 } else { ttl(settings.ping_interval) },
            pong: !frame_pings && !self.is_unidirectional() && settings.pong_timeout.is_some(),
            session: mailbox.map(|mailbox| mailbox.session.to_string()).unwrap_or_default(),
            node: mailbox.map(|mailbox| mailbox.node.to_string()).unwrap_or_default(),
            time: if settings.connect_include_server_time { unix_millis() } else { 0 },
            ..ConnectResult::default()
        }
    }

    fn become_client(&mut self, identity: Identity, request: &ConnectRequest, place: Option<Place>) {
        let by = if identity.refreshed_by_server || !self.client_refreshes() {
            Refresher::Server
        } else {
            Refresher::Client
        };
        let settings = &self.services.client;
        let profile = Profile {
            name: request.name.as_str().into(),
            version: request.version.as_str().into(),
            connected_at: unix_millis(),
            session: self.peer.mailbox.map(|mailbox| Box::new(mailbox.session)),
        };
        let user: Arc<str> = identity.user.into();
        let known = self.services.connections.know(Arc::clone(&user), self.id, &self.outbox, profile);
        self.phase = Phase::Connected(Box::new(Client {
            known,
            place,
            user,
            issued_at: identity.token.map_or(u32::MAX, |token| token.issued_at),
            borne: identity.token.and_then(|token| self.bear(token)),
            info: identity.info,
            meta: identity.meta,
            expiry: identity.expires_at.map(|at| Expiry { at: moment(at), by }),
            token_channels: identity.subs.into_iter().map(|sub| sub.channel).collect(),
            rates: Rates::new(settings, Instant::now()),
        }));
        self.seen(|| What::Connected { transport: self.outbox.format().transport().to_owned() });
    }
}

impl From<NotAdmitted> for Failure {
    fn from(refused: NotAdmitted) -> Self {
        match refused {
            NotAdmitted::TooOften => DisconnectCode::TooManyRequests.into(),
            NotAdmitted::Full => DisconnectCode::ConnectionLimit.into(),
            NotAdmitted::Unknown(_) => ErrorCode::Internal.into(),
        }
    }
}

/// What a refused token means to the client, where it means the same for every kind of token.
pub(super) fn token_failure(error: &TokenError) -> Option<Failure> {
    if error.is_expired() {
        Some(ErrorCode::TokenExpired.into())
    } else if error.is_temporary() {
        Some(Failure::Error(ClientError::from(ErrorCode::Internal)))
    } else {
        None
    }
}

/// `#user` in the default namespace, `ns:#user` in another.
fn personal_channel(namespace: &str, user: &str) -> String {
    let boundary = crate::protocol::channel::USER_BOUNDARY;
    if namespace.is_empty() {
        format!("{boundary}{user}")
    } else {
        format!("{namespace}{}{boundary}{user}", crate::protocol::channel::NAMESPACE_BOUNDARY)
    }
}

/// Used by the refresh command too: which channels a token subscribes, whatever their order.
pub(super) fn same_channels(had: &[String], has: &[ServerSub]) -> bool {
    had.len() == has.len() && has.iter().all(|sub| had.contains(&sub.channel))
}
