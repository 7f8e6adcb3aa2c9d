//! Socket.IO over Engine.IO sessions: namespaces, who may come into them, events and what becomes of them.
//!
//! A connection has a [`Connection`], the handler of its session, and in it a `Socket` for each namespace that its client
//! has come into. What a client says goes to **services**, as NATS requests or messages (`events`), or where a rule says so
//! into a **room**. A room is a channel: whoever is in it listens to the channel, and every publication there is an event
//! (`rooms`). So what is published is encoded once, and whoever else publishes or listens there takes part.
//!
//! Backends emit to sockets and move them (`call`, `emit`), wherever those are, and ask them for acknowledgements (`acks`).
//! A connection may move to another node (`moving`), and its client come back to the **session** of a socket whose connection
//! ended (`sessions`, `returning`, `restoring`). To servers of another cluster and from them goes what `abroad` says; the
//! `bridge` is who carries it.

mod abroad;
mod acks;
mod awaiting;
mod call;
mod choose;
mod connect;
mod connection;
mod emit;
mod events;
mod giving_up;
mod gone;
mod graves;
mod leave;
mod moving;
mod names;
mod notices;
mod owed;
mod record;
mod relaying;
mod restoring;
mod returning;
mod rooms;
mod seen;
mod sessions;
mod sockets;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub use abroad::{Abroad, OrderAbroad, Ordered};
pub use acks::{Acked, TooManyCalls};
pub use awaiting::Awaiting;
pub use call::{Call, LONGEST_ACK, MAX_ROOMS, Verb, WrittenCall, Wrong};
pub use connection::Connection;
pub use emit::{Asking, SocketInfo, Told};
pub use names::{Names, News, Risen};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use acks::Acks;
use owed::Owed;
use sockets::Sockets;

use crate::backplane::Backplane;
use crate::engineio::Layer;
use crate::hub::Outbox;
use crate::session::{Peer, Services};
use crate::settings::{SocketIo as Settings, SocketIoNamespace};
use crate::telemetry::Pace;

/// What all connections share.
pub struct SocketIo {
    namespaces: HashMap<Arc<str>, Arc<SocketIoNamespace>>,
    /// How long a client may be in no namespace, and attachments may take to come.
    connect_timeout: Duration,
    max_payload: usize,
    sockets: Arc<Sockets>,
    acks: Arc<Acks>,
    services: Arc<Services>,
    backplane: Arc<dyn Backplane>,
    /// Of lines about events that nobody serves.
    unserved: Pace,
    /// Of lines about services whose answers are none.
    misanswered: Pace,
    /// As whom this node has sessions.
    life: watch::Receiver<Arc<str>>,
    /// Where it is asked for them: another one at every start.
    process: Uuid,
    owed: Owed,
    /// When sessions were looked through for lives that are over, and whose there were.
    looked: Mutex<Option<(Instant, BTreeSet<String>)>>,
    /// Of lines about sessions that are not written.
    unwritten: Pace,
    /// Of lines about clients that cannot have their sessions back.
    refused: Pace,
}

/// The layer over this node's sessions.
pub struct SocketIoLayer(Arc<SocketIo>);

impl SocketIo {
    #[must_use]
    pub fn new(
        settings: &Settings,
        services: Arc<Services>,
        backplane: Arc<dyn Backplane>,
        life: watch::Receiver<Arc<str>>,
    ) -> Arc<Self> {
        let names = || settings.namespaces.iter().map(|namespace| Arc::clone(&namespace.name));
        let shared = Arc::new(Self {
            namespaces: names().zip(settings.namespaces.iter().cloned()).collect(),
            connect_timeout: settings.connect_timeout,
            max_payload: settings.max_payload,
            sockets: Sockets::new(names(), Arc::clone(&services.connections)),
            acks: Arc::default(),
            services,
            backplane,
            unserved: Pace::default(),
            misanswered: Pace::default(),
            life,
            process: Uuid::new_v4(),
            owed: Owed::default(),
            looked: Mutex::default(),
            unwritten: Pace::default(),
            refused: Pace::default(),
        });
        shared.read_events();
        shared
    }
}

impl SocketIoLayer {
    #[must_use]
    pub fn new(shared: Arc<SocketIo>) -> Arc<Self> {
        Arc::new(Self(shared))
    }
}

impl Layer for SocketIoLayer {
    type Handler = Connection;

    fn open(&self, outbox: &Arc<Outbox>, peer: Peer) -> Connection {
        Connection::new(Arc::clone(&self.0), Arc::clone(outbox), peer)
    }

    async fn arrive(&self, outbox: &Arc<Outbox>, packed: &[u8]) -> Option<Connection> {
        Connection::arrive(Arc::clone(&self.0), Arc::clone(outbox), packed).await
    }
}
