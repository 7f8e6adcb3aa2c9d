//! How a client comes into a namespace.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tracing::debug;
use uuid::Uuid;

use super::Connection;
use super::connection::Socket;
use crate::auth::ConnectionGrant;
use crate::census::Place;
use crate::clock::unix_millis;
use crate::engineio::CloseReason;
use crate::hooks::{Caller, Verdict};
use crate::hub::Profile;
use crate::protocol::centrifuge::codes::{ClientError, DisconnectCode};
use crate::protocol::centrifuge::{Encoding, Format};
use crate::protocol::socketio::{Body, Packet};
use crate::revocation::Token;
use crate::session::{NotAdmitted, moment};
use crate::telemetry::{HookEvent, Overflow, Rejection};

/// What a client says when it connects. Whatever else is in it is the application's.
#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    token: String,
}

/// Why somebody may not come in.
enum No {
    /// For good: the client is told, and does not try again by itself.
    Never(Cow<'static, str>),
    /// The application says so, with a number of its own.
    Application(ClientError),
    /// Not now: the connection ends, and the client comes again.
    NotNow(DisconnectCode),
}

impl Connection {
    pub(super) async fn connect(&mut self, name: Cow<'static, str>, payload: Option<Bytes>) -> Result<(), CloseReason> {
        let shared = Arc::clone(&self.shared);
        let services = &shared.services;
        let Some(namespace) = shared.namespaces.get(&*name).map(Arc::clone) else {
            self.refuse(name, "Invalid namespace", None);
            return Ok(());
        };
        let Ok(_turn) = services.limits.connects.enter().await.inspect_err(|error| {
            debug!("closing: {error} to connect (client.connects)");
            services.telemetry.queues.overflows.of(Overflow::Connect).increment(1);
        }) else {
            return Err(DisconnectCode::TooManyRequests.into());
        };
        let id = Uuid::new_v4();
        let admitted = match self.identify(&name, id, payload).await {
            Ok(grant) => self.admit(&grant.user, id).await.map(|place| (grant, place)),
            Err(no) => Err(no),
        };
        let (grant, place) = match admitted {
            Ok(admitted) => admitted,
            Err(No::Never(why)) => {
                self.refuse(name, &why, None);
                return Ok(());
            }
            Err(No::Application(error)) => {
                self.refuse(name, error.message(), Some(error.code()));
                return Ok(());
            }
            Err(No::NotNow(code)) => return Err(code.into()),
        };
        let token = Token::new(grant.token_id.as_deref(), grant.issued_at);
        let connected_at = unix_millis();
        let profile = Profile { name: "socket.io".into(), connected_at, ..Profile::default() };
        let user: Arc<str> = grant.user.into();
        let known = services.connections.know(Arc::clone(&user), id, &self.outbox, profile);
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
            borne: token.id.map(|id| services.revocations.bear(id, &self.outbox)),
            connected_at,
            rooms: Vec::new(),
            known,
            place,
        });
        if let Some(socket) = self.sockets.last() {
            shared.tell_connect(socket).await;
        }
        let rooms = grant.subs.into_iter().map(|sub| sub.channel).collect();
        self.join_first(rooms).await?;
        let json = format!("{{\"sid\":\"{id}\"}}");
        self.send(&Packet { namespace: name, body: Body::Connect(Some(json.into())) });
        drop(hold);
        // It may have been revoked before anybody could know that it is here.
        self.recheck().await;
        Ok(())
    }

    fn refuse(&self, namespace: Cow<'static, str>, message: &str, code: Option<u32>) {
        let json = match code {
            None => serde_json::json!({ "message": message }),
            Some(code) => serde_json::json!({ "message": message, "data": { "code": code } }),
        };
        self.send(&Packet { namespace, body: Body::ConnectError(json.to_string().into()) });
    }

    /// Counts the connect among those of its user, and the socket too.
    async fn admit(&mut self, user: &str, id: Uuid) -> Result<Option<Place>, No> {
        let services = Arc::clone(&self.shared.services);
        services.spend_connect(user, id)?;
        Ok(services.take_place(user, id, &self.outbox).await?)
    }

    /// Who a client is: its token says so, or the connect hook, or it is nobody.
    async fn identify(&mut self, namespace: &str, id: Uuid, payload: Option<Bytes>) -> Result<ConnectionGrant, No> {
        let shared = Arc::clone(&self.shared);
        let services = &shared.services;
        let payload = payload.unwrap_or_else(|| Bytes::from_static(b"{}"));
        // A token that is no text is none.
        let Auth { token } = serde_json::from_slice(&payload).unwrap_or_default();
        let hook = services.hooks.asks(HookEvent::Connect);
        // Without keys a token is the hook's business, as all else that a client says.
        let by_hook = hook && (token.is_empty() || services.connection_tokens.is_none());
        let grant = if by_hook {
            self.identify_by_hook(namespace, id, &payload).await?
        } else if token.is_empty() {
            None
        } else {
            Some(self.identify_by_token(&token).await?)
        };
        let grant = match grant {
            Some(grant) => grant,
            None if services.client.allow_anonymous_connect_without_token => return Ok(ConnectionGrant::default()),
            None => return Err(self.rejected("a token is needed")),
        };
        // Services are told of the user in a header, whose readers trim what they find.
        if grant.user.trim() != grant.user || grant.user.contains(char::is_control) {
            return Err(self.rejected("permission denied"));
        }
        Ok(grant)
    }

    async fn identify_by_token(&mut self, token: &str) -> Result<ConnectionGrant, No> {
        let shared = Arc::clone(&self.shared);
        let services = &shared.services;
        let Some(verifier) = &services.connection_tokens else {
            debug!("a token was sent, and no key is configured to verify it");
            return Err(self.rejected("invalid token"));
        };
        let grant = services.believe(verifier, token).await.map_err(|error| {
            debug!("connection token refused: {error}");
            if error.is_temporary() {
                return No::NotNow(DisconnectCode::ForceReconnect);
            }
            self.rejected(if error.is_expired() { "token expired" } else { "invalid token" })
        })?;
        if grant.user.is_empty() && services.client.disallow_anonymous_connection_tokens {
            return Err(self.rejected("permission denied"));
        }
        Ok(grant)
    }

    /// `None` where the hook knows nobody of the kind.
    async fn identify_by_hook(
        &mut self,
        namespace: &str,
        id: Uuid,
        payload: &[u8],
    ) -> Result<Option<ConnectionGrant>, No> {
        let shared = Arc::clone(&self.shared);
        let client = id.to_string();
        let caller = Caller {
            client: &client,
            user: "",
            transport: Format::SocketIo.transport(),
            encoding: Encoding::Json,
            namespace,
            headers: &self.headers,
            meta: None,
        };
        match shared.services.hooks.connect(&caller, "", "", &[], payload).await {
            Ok(Verdict::Result(connected)) => {
                let expired = connected.grant.expires_at.is_some_and(|at| moment(at) <= tokio::time::Instant::now());
                if expired { Err(self.rejected("expired")) } else { Ok(Some(connected.grant)) }
            }
            Ok(Verdict::Absent) => Ok(None),
            Ok(Verdict::Error(error)) if error.temporary() => Err(No::NotNow(DisconnectCode::ForceReconnect)),
            Ok(Verdict::Error(error)) => {
                self.count_rejected();
                Err(No::Application(error))
            }
            Ok(Verdict::Disconnect(end)) if end.reconnect() => Err(No::NotNow(DisconnectCode::ForceReconnect)),
            Ok(Verdict::Disconnect(end)) => Err(self.rejected(end.reason().to_owned())),
            Err(error) => {
                debug!("the connect hook gave no verdict: {error}");
                Err(No::NotNow(DisconnectCode::ForceReconnect))
            }
        }
    }

    fn rejected(&self, why: impl Into<Cow<'static, str>>) -> No {
        self.count_rejected();
        No::Never(why.into())
    }

    fn count_rejected(&self) {
        self.shared.services.telemetry.http.handshakes_rejected.of(Rejection::Auth).increment(1);
    }
}

impl From<NotAdmitted> for No {
    fn from(refused: NotAdmitted) -> Self {
        match refused {
            NotAdmitted::TooOften => Self::NotNow(DisconnectCode::TooManyRequests),
            NotAdmitted::Full => Self::Never("too many connections".into()),
            NotAdmitted::Unknown(_) => Self::NotNow(DisconnectCode::ForceReconnect),
        }
    }
}
