//! How a client comes into a namespace.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use super::Connection;
use super::connection::Socket;
use super::restoring::Restored;
use super::returning::Back;
use super::sessions::Session;
use crate::auth::ConnectionGrant;
use crate::census::Place;
use crate::clock::unix_millis;
use crate::engineio::CloseReason;
use crate::hooks::{Caller, Verdict};
use crate::hub::Profile;
use crate::protocol::Channel;
use crate::protocol::centrifuge::codes::{ClientError, DisconnectCode};
use crate::protocol::centrifuge::{Encoding, Format};
use crate::protocol::socketio::{Body, Packet};
use crate::relay::Wish;
use crate::revocation::Token;
use crate::session::{NotAdmitted, Stranger, moment};
use crate::settings::SocketIoNamespace;
use crate::telemetry::{HookEvent, LimitScope, Overflow, Rejection};

/// What a client says when it connects. Whatever else is in it is the application's.
#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    token: String,
}

/// Somebody who may come in.
struct Newcomer {
    id: Uuid,
    grant: ConnectionGrant,
    user: Arc<str>,
    place: Option<Place>,
    restored: Option<Restored>,
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
        if !self.connect_rate.take(1, Instant::now()) {
            services.telemetry.http.rate_limited.of(LimitScope::Connection).increment(1);
            debug!("closing: too many connects to namespaces");
            return Err(DisconnectCode::TooManyRequests.into());
        }
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
        let back = namespace.recovery.and_then(|_| serde_json::from_slice::<Back>(payload.as_ref()?).ok());
        let id = Uuid::new_v4();
        let grant = match self.identify(&namespace.name, id, payload).await {
            Ok(grant) => grant,
            Err(no) => return self.turn_away(name, no),
        };
        // What is said to it, or in its rooms, comes after it is told that it is in.
        let hold = self.outbox.hold();
        let came = match self.let_in(&namespace, id, grant, back).await {
            Ok(newcomer) => self.come_in(namespace, newcomer).await,
            Err(no) => self.turn_away(name, no),
        };
        if let Err(reason) = came {
            // A client that is never told that it is in keeps that for when it is.
            hold.discard();
            return Err(reason);
        }
        drop(hold);
        // It may have been revoked before anybody could know that it is here.
        self.recheck().await;
        Ok(())
    }

    fn turn_away(&self, name: Cow<'static, str>, no: No) -> Result<(), CloseReason> {
        match no {
            No::Never(why) => self.refuse(name, &why, None),
            No::Application(error) => self.refuse(name, error.message(), Some(error.code())),
            No::NotNow(code) => return Err(code.into()),
        }
        Ok(())
    }

    /// Who may come in, and whether it is somebody who comes back.
    async fn let_in(
        &mut self,
        namespace: &Arc<SocketIoNamespace>,
        id: Uuid,
        grant: ConnectionGrant,
        back: Option<Back>,
    ) -> Result<Newcomer, No> {
        let shared = Arc::clone(&self.shared);
        let user: Arc<str> = grant.user.as_str().into();
        // Before anything is taken from whoever has the session.
        shared.services.spend_connect(&user, id)?;
        let restored = match back {
            Some(back) => shared.come_back(&self.outbox, namespace, &user, back).await.map_err(No::NotNow)?,
            None => None,
        };
        let id = restored.as_ref().map_or(id, |restored| restored.entry.id());
        let place = match shared.services.take_place(&user, id, &self.outbox).await.map_err(No::from) {
            Ok(place) => place,
            Err(no) => {
                if let Some(restored) = restored {
                    shared.send_back(namespace, restored, matches!(no, No::NotNow(_))).await;
                }
                return Err(no);
            }
        };
        Ok(Newcomer { id, grant, user, place, restored })
    }

    /// Somebody is in: in its rooms, and told so.
    async fn come_in(&mut self, namespace: Arc<SocketIoNamespace>, newcomer: Newcomer) -> Result<(), CloseReason> {
        let Newcomer { id, grant, user, place, restored } = newcomer;
        let shared = Arc::clone(&self.shared);
        let services = &shared.services;
        let token = Token::new(grant.token_id.as_deref(), grant.issued_at);
        let connected_at = unix_millis();
        let profile = Profile { name: "socket.io".into(), connected_at, ..Profile::default() };
        let known = services.connections.know(Arc::clone(&user), id, &self.outbox, profile);
        let (entry, rooms, session, missed) = match restored {
            Some(Restored { entry, rooms, session, missed, .. }) => (entry, rooms, Some(session), missed),
            None => {
                let entry = shared.sockets.enter(&namespace.name, id, &user, &self.outbox);
                (entry.ok_or(DisconnectCode::ForceReconnect)?, Vec::new(), None, Vec::new())
            }
        };
        let is_back = session.is_some();
        let (rooms, firsts): (Vec<_>, Vec<_>) = rooms.into_iter().unzip();
        self.sockets.reserve_exact(1);
        self.sockets.push(Socket {
            namespace: Arc::clone(&namespace),
            id,
            entry,
            user,
            meta: grant.meta,
            expires_at: grant.expires_at.map(moment),
            issued_at: if grant.issued_at.is_some() || grant.token_id.is_some() { token.issued_at } else { u32::MAX },
            borne: token.id.map(|id| services.revocations.bear(id, &self.outbox)),
            connected_at,
            rooms,
            session,
            known,
            place,
        });
        let Some(socket) = self.sockets.last() else { return Ok(()) };
        shared.tell_connect(socket).await;
        for (room, first) in socket.rooms.iter().zip(firsts) {
            shared.tell_join(socket, room.channel(), first).await;
        }
        if !is_back {
            self.hear_events().await?;
        }
        self.join_first(grant.subs.into_iter().map(|sub| sub.channel).collect()).await?;
        if let Some(socket) = self.sockets.last_mut().filter(|_| !is_back) {
            shared.begin_session(socket).await;
        }
        let pid = self.sockets.last().and_then(Socket::pid);
        let json = match pid {
            Some(pid) => format!("{{\"sid\":\"{id}\",\"pid\":\"{}\"}}", pid.expose_secret()),
            None => format!("{{\"sid\":\"{id}\"}}"),
        };
        let namespace = namespace.name.to_string().into();
        self.send(&Packet { namespace, body: Body::Connect(Some(json.into())) });
        // A client that has not heard that it is in yet keeps what comes, and would get it twice if it never heard.
        missed.into_iter().for_each(|frames| self.outbox.reply(frames));
        Ok(())
    }

    /// Has the newest socket listen to the events that are not for one room, where its client may come back to them.
    async fn hear_events(&mut self) -> Result<(), CloseReason> {
        let relay = Arc::clone(&self.shared.services.relay);
        let Some(socket) = self.sockets.last_mut().filter(|socket| socket.namespace.recovery.is_some()) else {
            return Ok(());
        };
        let Some(rooms) = &socket.namespace.rooms else { return Ok(()) };
        let wish = Wish { positioned: true, ..Wish::default() };
        let joined = relay.join(&Channel::of_events(&rooms.name), rooms, &wish, &self.outbox).await;
        let joined = joined.map_err(|error| {
            debug!(socket = %socket.id, "closing: could not join: {error}");
            CloseReason::from(DisconnectCode::ForceReconnect)
        })?;
        let membership = joined.membership;
        socket.session = joined.position.map(|position| Box::new(Session::unwritten(membership, position)));
        Ok(())
    }

    fn refuse(&self, namespace: Cow<'static, str>, message: &str, code: Option<u32>) {
        let json = match code {
            None => serde_json::json!({ "message": message }),
            Some(code) => serde_json::json!({ "message": message, "data": { "code": code } }),
        };
        self.send(&Packet { namespace, body: Body::ConnectError(json.to_string().into()) });
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
            Some(self.identify_by_hook(namespace, id, &payload).await?)
        } else if token.is_empty() {
            None
        } else {
            Some(self.identify_by_token(&token).await?)
        };
        let grant = match grant {
            Some(grant) => grant,
            None if services.client.allow_anonymous_connect_without_token => return Ok(ConnectionGrant::default()),
            None => {
                services.strangers.tell(&Stranger::NoToken);
                return Err(self.rejected("a token is needed"));
            }
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
            services.strangers.tell(&Stranger::NoKey);
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

    async fn identify_by_hook(&mut self, namespace: &str, id: Uuid, payload: &[u8]) -> Result<ConnectionGrant, No> {
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
                if expired { Err(self.rejected("expired")) } else { Ok(connected.grant) }
            }
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
