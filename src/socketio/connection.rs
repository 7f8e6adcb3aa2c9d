//! One connection and its sockets.

use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use secrecy::SecretString;
use tokio::time::Instant;
use uuid::Uuid;

use super::SocketIo;
use super::events::{ANSWERS, Answers};
use super::gone::Gone;
use super::moving::Coming;
use super::relaying::Relaying;
use super::sessions::Session;
use super::sockets::{Entry, Room};
use crate::census::Place;
use crate::engineio::{CloseReason, Handler, Handover};
use crate::hub::{Borne, Errand, Known, Order, Outbox};
use crate::protocol::Channel;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::socketio::{Body, Decoder, Message, Packet};
use crate::session::{Bucket, Peer};
use crate::settings::{Rate, SocketIoNamespace};
use crate::telemetry::HookEvent;

/// Connects to namespaces at once, or two for each namespace where that is more; then one a second. Each may ask the application.
const CONNECTS: u32 = 16;

/// One connection and its sockets.
pub struct Connection {
    pub(super) shared: Arc<SocketIo>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) decoder: Decoder,
    /// Exactly as many as there are.
    pub(super) sockets: Vec<Socket>,
    /// What services have not answered yet. Most connections wait for nothing.
    pub(super) answers: Option<Box<Answers>>,
    /// Events on their way into rooms. Most connections have none.
    pub(super) relaying: Option<Box<Relaying>>,
    /// Of its handshake, those that the connect hook wants.
    pub(super) headers: Vec<(String, String)>,
    /// When a connection without a socket, or with half a packet, is given up.
    idle_until: Option<Instant>,
    pub(super) event_rate: Option<Bucket>,
    pub(super) connect_rate: Bucket,
    /// The rooms of sockets that come from another node, until those are here.
    pub(super) coming: Box<[Coming]>,
}

/// A client in a namespace.
pub(super) struct Socket {
    pub(super) namespace: Arc<SocketIoNamespace>,
    /// Public, unlike the session's.
    pub(super) id: Uuid,
    /// `""` for an anonymous user.
    pub(super) user: Arc<str>,
    /// JSON of its token, for services.
    pub(super) meta: Option<bytes::Bytes>,
    pub(super) expires_at: Option<Instant>,
    /// Unix seconds; `u32::MAX` where no token was needed, so that it is never too old.
    pub(super) issued_at: u32,
    pub(super) borne: Option<Borne>,
    /// Milliseconds since the Unix epoch.
    pub(super) connected_at: i64,
    pub(super) rooms: Vec<Room>,
    /// What its client may come back to, where clients may.
    pub(super) session: Option<Box<Session>>,
    #[expect(dead_code, reason = "backends find the client as long as it lives")]
    pub(super) known: Known,
    #[expect(dead_code, reason = "its user has one connection more as long as it lives")]
    pub(super) place: Option<Place>,
    /// Dropped last: whoever waits until the socket is gone may be the same one again.
    pub(super) entry: Arc<Entry>,
}

impl Socket {
    /// By what its client may come back.
    pub(super) fn pid(&self) -> Option<&SecretString> {
        self.session.as_ref()?.written.as_ref().map(|written| &written.pid)
    }
}

impl Connection {
    pub(super) fn new(shared: Arc<SocketIo>, outbox: Arc<Outbox>, peer: Peer) -> Self {
        let asks = shared.services.hooks.asks(HookEvent::Connect);
        let headers = if asks { peer.headers } else { Vec::new() };
        Self::with(shared, outbox, headers)
    }

    /// One that has no sockets yet.
    pub(super) fn with(shared: Arc<SocketIo>, outbox: Arc<Outbox>, headers: Vec<(String, String)>) -> Self {
        let now = Instant::now();
        let event_rate = shared.services.client.publish_rate.map(|rate| Bucket::new(rate, now));
        let burst = u32::try_from(2 * shared.namespaces.len()).unwrap_or(u32::MAX).max(CONNECTS);
        let connect_rate = Bucket::new(Rate { per_second: 1.0, burst }, now);
        Self {
            decoder: Decoder::new(shared.max_payload),
            idle_until: Some(now + shared.connect_timeout),
            shared,
            outbox,
            sockets: Vec::new(),
            answers: None,
            relaying: None,
            headers,
            event_rate,
            connect_rate,
            coming: Box::default(),
        }
    }

    pub(super) fn socket(&self, namespace: &str) -> Option<usize> {
        self.sockets.iter().position(|socket| &*socket.namespace.name == namespace)
    }

    pub(super) fn send(&self, packet: &Packet) {
        self.outbox.reply(packet.frames());
    }

    async fn packet(&mut self, packet: Packet) -> Result<(), CloseReason> {
        let Packet { namespace, body } = packet;
        match (body, self.socket(&namespace)) {
            (Body::Connect(payload), None) => self.connect(namespace, payload).await,
            (Body::Event { id, arguments }, Some(socket)) => self.event(socket, id, arguments).await,
            (Body::Disconnect, Some(socket)) => {
                let gone = self.sockets.remove(socket);
                self.sockets.shrink_to_fit();
                Arc::clone(&self.shared).depart(gone, &Gone::ByClient).await;
                Ok(())
            }
            (Body::Ack { id, arguments }, Some(socket)) => {
                self.acknowledged(socket, id, &arguments).await;
                Ok(())
            }
            (Body::Connect(_), Some(_)) => Err(misuse("a second connect to a namespace")),
            (Body::ConnectError(_), _) => Err(misuse("an error of connecting, from a client")),
            (Body::Event { .. } | Body::Ack { .. } | Body::Disconnect, None) => {
                Err(misuse("a packet for a namespace that it is not in"))
            }
        }
    }

    /// A connection is given up that is of no use to its client, or holds half a packet for too long.
    pub(super) fn rest(&mut self) {
        let idle = self.sockets.is_empty() || self.decoder.is_waiting();
        self.idle_until = match (idle, self.idle_until) {
            (false, _) => None,
            (true, Some(until)) => Some(until),
            (true, None) => Some(Instant::now() + self.shared.connect_timeout),
        };
    }
}

pub(super) fn misuse(why: &str) -> CloseReason {
    CloseReason::ParseError { why: why.to_owned(), code: 1008 }
}

impl Handler for Connection {
    async fn take(&mut self, message: Message) -> Result<(), CloseReason> {
        if let Some(packet) = self.decoder.take(message)? {
            self.packet(packet).await?;
        }
        self.rest();
        Ok(())
    }

    fn is_full(&self) -> bool {
        let asked = self.answers.as_ref().is_some_and(|answers| answers.len() > ANSWERS);
        asked || self.relaying.as_ref().is_some_and(|relaying| relaying.is_full())
    }

    async fn progress(&mut self) -> Result<(), CloseReason> {
        let Self { answers, relaying, .. } = self;
        let answered = async {
            match answers {
                Some(answers) => answers.next().await,
                None => pending().await,
            }
        };
        let relayed = async {
            match relaying {
                Some(relaying) => relaying.next().await,
                None => pending().await,
            }
        };
        let packet = tokio::select! {
            packet = relayed => packet,
            answered = answered => {
                if answered.is_none() {
                    self.answers = None;
                }
                answered.flatten()
            }
        };
        self.acknowledge(packet);
        Ok(())
    }

    async fn obey(&mut self, order: Arc<Order>) -> Result<(), CloseReason> {
        let done = self.order(&order).await;
        // It may have no socket any more.
        self.rest();
        done
    }

    fn lost(&mut self, _: Channel) -> Result<(), CloseReason> {
        // Clients do not know what a hole is: whoever comes again asks the application anew.
        Err(DisconnectCode::InsufficientState.into())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let expiries = self.sockets.iter().filter_map(|socket| socket.expires_at);
        let rooms = self.sockets.iter().flat_map(|socket| &socket.rooms).filter_map(Room::expires_at);
        expiries.chain(rooms).chain(self.idle_until).min()
    }

    fn on_deadline(&mut self, now: Instant) -> Result<(), CloseReason> {
        if self.idle_until.is_some_and(|until| now >= until) {
            return Err(DisconnectCode::Stale.into());
        }
        if self.sockets.iter().filter_map(|socket| socket.expires_at).any(|at| now >= at) {
            return Err(DisconnectCode::Expired.into());
        }
        for socket in &self.sockets {
            for room in socket.rooms.iter().filter(|room| room.expires_at().is_some_and(|at| now >= at)) {
                // It is left as where a backend wants that: others have to be told first.
                let leave = Errand::Unsubscribe(Some(room.channel().clone()));
                self.outbox.request_of(socket.id, leave);
            }
        }
        Ok(())
    }

    fn may_move(&self) -> bool {
        self.may_leave_node()
    }

    fn pack(&self) -> Vec<u8> {
        self.packed()
    }

    async fn depart(self) -> (Vec<u8>, BoxStream<'static, Bytes>) {
        self.leave_node().await
    }

    async fn settle(&mut self, handover: Handover) -> Result<(), CloseReason> {
        self.go_on(handover).await
    }

    async fn closed(mut self, reason: &CloseReason) {
        self.say_goodbye(reason);
        self.relay_last().await;
        for socket in std::mem::take(&mut self.sockets) {
            for room in self.left_behind(&socket) {
                self.shared.tell_left(&socket, &room).await;
            }
            Arc::clone(&self.shared).depart(socket, &Gone::Closed(reason)).await;
        }
    }
}
