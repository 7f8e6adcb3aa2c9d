//! Engine.IO sessions: one client's connection, whatever carries it at the moment.
//!
//! A session begins on long-polling or on a WebSocket and may move from the first to the second. One task owns it from its
//! handshake to its end ([`run`]); requests of the client reach it through its [`Door`], everybody else through its outbox,
//! whose frames are those of a WebSocket on either transport. What the messages mean is the [`Handler`]'s business.
//!
//! A session's id names the node that owns it, by a name that is new at every start. What a client sends to another node is
//! passed on to that one ([`Remote`]), as requests over the backplane. A WebSocket that comes to another node takes the
//! session there with it (`departure`, `arrival`).
//!
//! In: packets of WebSocket frames, and of bodies that `http` has read. Out: what waits in the outbox, and one answer to
//! each request.

mod arrival;
mod close;
mod counted;
mod departure;
mod door;
mod farewell;
mod given_up;
mod handler;
mod handover;
mod heartbeat;
mod owner;
mod polling;
mod probe;
mod remote;
mod run;
mod sessions;
#[cfg(test)]
mod tests;
mod way;
mod words;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use self::close::CloseReason;
pub use self::door::{Candidate, Door, Refused};
pub use self::handler::{Handler, Layer};
pub use self::handover::Handover;
pub use self::remote::{Claim, Remote};
pub use self::way::{Post, Way};

use self::arrival::Arrivals;
use self::given_up::GivenUp;
use self::owner::Held;
use self::polling::Polling;
use self::run::{Link, Session};
use self::sessions::Sessions;
use crate::backplane::Backplane;
use crate::hub::{Connections, Outbox, Pulse};
use crate::protocol::centrifuge::Format;
use crate::protocol::socketio::{Handshake, Sid};
use crate::session::Peer;
use crate::settings::Rate;
use crate::socket::{RawTransport, RawWire};
use crate::telemetry::{Telemetry, Upgrade};

/// How sessions are held.
#[derive(Debug, Clone)]
pub struct Options {
    pub ping_interval: Duration,
    /// How long a pong may take.
    pub ping_timeout: Duration,
    /// How long a WebSocket may take to become a session's transport.
    pub upgrade_timeout: Duration,
    /// Bytes of one message or request of a client.
    pub max_payload: usize,
    /// Bytes per second that a client may send; `None` is without limit.
    pub bytes_rate: Option<Rate>,
    /// Bytes that may wait for one client.
    pub queue_max_size: usize,
}

/// The sessions of this node, and what they need.
pub struct Engine {
    options: Options,
    sessions: Arc<Sessions>,
    held: Held,
    arrivals: Arrivals,
    given_up: GivenUp,
    backplane: Arc<dyn Backplane>,
    connections: Arc<Connections>,
    pulse: Arc<Pulse>,
    telemetry: Arc<Telemetry>,
}

impl Engine {
    #[must_use]
    pub fn new(
        options: Options,
        backplane: Arc<dyn Backplane>,
        connections: Arc<Connections>,
        pulse: Arc<Pulse>,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        Arc::new(Self {
            options,
            sessions: Sessions::new(),
            held: Held::default(),
            arrivals: Arrivals::default(),
            given_up: GivenUp::default(),
            backplane,
            connections,
            pulse,
            telemetry,
        })
    }

    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The way to a session: to the node that its id names, this one or another. Only that one knows whether it lives.
    #[must_use]
    pub fn find(self: &Arc<Self>, sid: Sid) -> Option<Way> {
        if sid.node == self.sessions.node() {
            return self.sessions.find(sid).map(Way::Here);
        }
        let others = self.backplane.requests().is_some();
        others.then(|| Way::Elsewhere(Remote::new(Arc::clone(self), sid)))
    }

    /// Begins a session on long-polling, in a task that keeps `held` to its end; returns its id, and the body that
    /// tells the client.
    pub fn begin_polling<L: Layer>(self: &Arc<Self>, layer: &L, peer: Peer, held: impl Send + 'static) -> (Sid, Bytes) {
        let (entry, mailbox) = self.sessions.open();
        let sid = entry.sid();
        let greeting = self.handshake(sid, &["websocket"]).packet().frame();
        let mut body = Vec::with_capacity(greeting.len());
        crate::protocol::socketio::payload::append(&mut body, &greeting);
        let outbox = self.outbox();
        let polling = Polling::begin(&outbox, entry, mailbox);
        let session = Session::new(Arc::clone(self), &outbox, Link::Polling(Box::new(polling)));
        let handler = layer.open(&outbox, peer);
        tokio::spawn(async move {
            let _held = held;
            run::run(session, handler).await;
        });
        (sid, body.into())
    }

    /// Runs a session that begins on a WebSocket.
    pub async fn run_websocket<L: Layer>(
        self: Arc<Self>,
        layer: &L,
        transport: RawTransport,
        wire: RawWire,
        peer: Peer,
    ) {
        let outbox = self.outbox();
        outbox.attach(Box::new(wire));
        outbox.reply(self.handshake(self.sessions.sid(), &[]).packet().frame());
        outbox.flush();
        let handler = layer.open(&outbox, peer);
        let session = Session::new(self, &outbox, Link::WebSocket(transport));
        drop(outbox);
        run::run(session, handler).await;
    }

    /// Lets a WebSocket show that it can be `candidate`'s transport, and hands it over then. One that is no candidate is
    /// closed.
    pub async fn probe(self: Arc<Self>, transport: RawTransport, wire: RawWire, candidate: Option<Candidate>) {
        let outcome = match candidate {
            Some(candidate) => probe::run(transport, wire, candidate, self.options.upgrade_timeout).await,
            None => {
                probe::close(transport, wire);
                Upgrade::Surplus
            }
        };
        self.telemetry.clients.upgrades.of(outcome).increment(1);
    }

    fn outbox(&self) -> Arc<Outbox> {
        let backlog = Arc::clone(self.connections.backlog());
        Outbox::new(Format::SocketIo, self.options.queue_max_size, backlog)
    }

    fn handshake<'a>(&self, sid: Sid, upgrades: &'a [&'static str]) -> Handshake<'a> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Handshake {
            sid,
            upgrades,
            ping_interval: millis(self.options.ping_interval),
            ping_timeout: millis(self.options.ping_timeout),
            max_payload: self.options.max_payload,
        }
    }
}
