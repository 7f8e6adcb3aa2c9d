//! How a client comes into a namespace.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tracing::debug;
use uuid::Uuid;

use super::connection::Socket;
use super::{Connection, SocketIo};
use crate::auth::{ConnectionGrant, TokenError};
use crate::census::{NoPlace, Place};
use crate::clock::unix_millis;
use crate::engineio::CloseReason;
use crate::hub::Profile;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::socketio::{Body, Packet};
use crate::revocation::Token;
use crate::session::moment;
use crate::telemetry::{LimitScope, Overflow, Rejection, Verdict};

/// What a client says when it connects. Whatever else is in it is the application's.
#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    token: String,
}

/// What a client is told whose user has as many connections as allowed.
const NO_PLACE: &str = "too many connections";

/// Why somebody may not come in.
enum No {
    /// For good: the client is told, and does not try again by itself.
    Never(&'static str),
    /// Not now: the connection ends, and the client comes again.
    NotNow(DisconnectCode),
}

impl Connection {
    pub(super) async fn connect(&mut self, name: Cow<'static, str>, payload: Option<Bytes>) -> Result<(), CloseReason> {
        let shared = Arc::clone(&self.shared);
        let Some(namespace) = shared.namespaces.get(&*name).map(Arc::clone) else {
            self.refuse(name, "Invalid namespace");
            return Ok(());
        };
        let Ok(_turn) = shared.services.limits.connects.enter().await.inspect_err(|error| {
            debug!("closing: {error} to connect (client.connects)");
            shared.services.telemetry.queues.overflows.of(Overflow::Connect).increment(1);
        }) else {
            return Err(DisconnectCode::TooManyRequests.into());
        };
        let id = Uuid::new_v4();
        let admitted = match self.identify(payload).await {
            Ok(grant) => self.take_place(&grant.user, id).await.map(|place| (grant, place)),
            Err(no) => Err(no),
        };
        let (grant, place) = match admitted {
            Ok(admitted) => admitted,
            Err(No::Never(why)) => {
                self.refuse(name, why);
                return Ok(());
            }
            Err(No::NotNow(code)) => return Err(code.into()),
        };
        let token = Token::new(grant.token_id.as_deref(), grant.issued_at);
        let profile = Profile { name: "socket.io".into(), connected_at: unix_millis(), ..Profile::default() };
        let known = shared.services.connections.know(&grant.user, id, &self.outbox, profile);
        let user: Arc<str> = grant.user.into();
        // What is said to it, or in its rooms, comes after it is told that it is in.
        let hold = self.outbox.hold();
        let entry = shared.sockets.enter(&namespace.name, id, &user, &self.outbox);
        self.sockets.reserve_exact(1);
        self.sockets.push(Socket {
            namespace,
            id,
            entry,
            user,
            meta: grant.meta,
            expires_at: grant.expires_at.map(moment),
            issued_at: if grant.issued_at.is_some() || grant.token_id.is_some() { token.issued_at } else { u32::MAX },
            borne: token.id.map(|id| shared.services.revocations.bear(id, &self.outbox)),
            rooms: Vec::new(),
            known,
            place,
        });
        let rooms = grant.subs.into_iter().map(|sub| sub.channel).collect();
        self.join_first(rooms).await?;
        let json = format!("{{\"sid\":\"{id}\"}}");
        self.send(&Packet { namespace: name, body: Body::Connect(Some(json.into())) });
        drop(hold);
        // It may have been revoked before anybody could know that it is here.
        self.recheck();
        Ok(())
    }

    fn refuse(&self, namespace: Cow<'static, str>, message: &str) {
        let json = serde_json::json!({ "message": message }).to_string();
        self.send(&Packet { namespace, body: Body::ConnectError(json.into()) });
    }

    async fn identify(&mut self, payload: Option<Bytes>) -> Result<ConnectionGrant, No> {
        let shared = Arc::clone(&self.shared);
        let services = &shared.services;
        let auth: Auth = match &payload {
            // A token that is no text is none; so is one in rubbish.
            Some(payload) => serde_json::from_slice(payload).unwrap_or_default(),
            None => Auth::default(),
        };
        let rejected = || services.telemetry.http.handshakes_rejected.of(Rejection::Auth).increment(1);
        if auth.token.is_empty() {
            if services.client.allow_anonymous_connect_without_token {
                return Ok(ConnectionGrant::default());
            }
            rejected();
            return Err(No::Never("a token is needed"));
        }
        let Some(verifier) = &services.connection_tokens else {
            debug!("a token was sent, and no key is configured to verify it");
            rejected();
            return Err(No::Never("invalid token"));
        };
        let grant = verifier.connection(&auth.token).await.and_then(|grant| unless_revoked(&shared, grant));
        let verdict = grant.as_ref().err().map_or(Verdict::Ok, TokenError::verdict);
        services.telemetry.clients.auth.of(verdict).increment(1);
        let grant = grant.map_err(|error| {
            debug!("connection token refused: {error}");
            if error.is_temporary() {
                return No::NotNow(DisconnectCode::ForceReconnect);
            }
            rejected();
            No::Never(if error.is_expired() { "token expired" } else { "invalid token" })
        })?;
        let anonymous = grant.user.is_empty() && services.client.disallow_anonymous_connection_tokens;
        // Services are told of the user in a header, whose readers trim what they find.
        let unspeakable = grant.user.trim() != grant.user || grant.user.contains(char::is_control);
        if anonymous || unspeakable {
            rejected();
            return Err(No::Never("permission denied"));
        }
        Ok(grant)
    }

    /// Counts the connect among those of its user, and the socket too.
    async fn take_place(&mut self, user: &str, id: Uuid) -> Result<Option<Place>, No> {
        if user.is_empty() {
            return Ok(None);
        }
        let shared = Arc::clone(&self.shared);
        let services = &shared.services;
        if services.limits.rate.as_ref().is_some_and(|rate| !rate.admits(user)) {
            services.telemetry.http.rate_limited.of(LimitScope::UserConnect).increment(1);
            services.telemetry.http.handshakes_rejected.of(Rejection::RateLimit).increment(1);
            debug!(client = %id, "refused: the user connects too often (client.user_connect_rate)");
            return Err(No::NotNow(DisconnectCode::TooManyRequests));
        }
        let Some(census) = &services.limits.census else { return Ok(None) };
        census.enter(user, id, &self.outbox).await.map(Some).map_err(|error| match error {
            NoPlace::Full => {
                services.telemetry.http.handshakes_rejected.of(Rejection::UserLimit).increment(1);
                debug!(client = %id, "refused: {NO_PLACE} (client.user_connection_limit)");
                No::Never(NO_PLACE)
            }
            NoPlace::Unknown(_) => No::NotNow(DisconnectCode::ForceReconnect),
        })
    }
}

fn unless_revoked(shared: &SocketIo, grant: ConnectionGrant) -> Result<ConnectionGrant, TokenError> {
    let token = Token::new(grant.token_id.as_deref(), grant.issued_at);
    let revoked = shared.services.revocations.refuses(&token, &grant.user, "");
    if revoked { Err(TokenError::Revoked) } else { Ok(grant) }
}
