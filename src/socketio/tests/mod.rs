//! The sockets of a node for tests: no server before them, and nobody connects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::SocketIo;
use super::record::Record;
use super::sockets::Entry;
use crate::backplane::embedded::Embedded;
use crate::backplane::faults::{Faults, Faulty};
use crate::backplane::{Backplane, Bucket, Guard, feed};
use crate::hooks::Hooks;
use crate::hub::{Connections, Outbox, Pulse, Turnstile};
use crate::presence::Presence;
use crate::protocol::Offset;
use crate::protocol::centrifuge::Format;
use crate::relay::Relay;
use crate::revocation::Revocations;
use crate::session::{Limits, NodeInfo, Services, Strangers};
use crate::settings::Settings;
use crate::telemetry::Telemetry;
use crate::watch::Lookout;

const SETTINGS: &str = r#"
    [[channel.namespaces]]
    name = "chat"
    history_size = 10
    history_ttl = "5m"

    [[socketio.namespaces]]
    name = "/"
    rooms = "chat"
    recovery = "1m"
"#;

/// What all nodes of a test share.
pub(super) struct Shared(Arc<Embedded>);

/// A node's sockets.
pub(super) struct Stage {
    pub(super) sockets: Arc<SocketIo>,
    pub(super) faults: Arc<Faults>,
    pub(super) life: watch::Sender<Arc<str>>,
    pub(super) telemetry: Arc<Telemetry>,
}

impl Shared {
    pub(super) fn new() -> Self {
        let settings = Settings::from_toml(SETTINGS).expect("settings of a test");
        Self(Embedded::new(&settings.channel.namespaces, 1 << 20, feed::open(1).0))
    }

    /// A node that has this life.
    pub(super) fn node(&self, life: &str) -> Stage {
        let settings = Settings::from_toml(SETTINGS).expect("settings of a test");
        let faults = Arc::new(Faults::default());
        let shared = Arc::clone(&self.0) as Arc<dyn Backplane>;
        let (backplane, _) = Faulty::around(shared, Vec::new(), Arc::clone(&faults));
        let life = watch::Sender::new(life.into());
        let telemetry = Telemetry::new(&settings.channel.namespaces);
        let services = services(&settings, backplane.clone(), &life, &telemetry);
        let sockets = SocketIo::new(&settings.socketio, Arc::new(services), backplane, life.subscribe());
        Stage { sockets, faults, life, telemetry }
    }

    /// Writes a session.
    pub(super) async fn write(&self, key: &str, record: &Record) {
        let sessions = self.0.registry(Bucket::Sessions);
        sessions.put(key, record.to_bytes(), Guard::Absent, None).await.expect("it is written");
    }

    /// What is written of a session.
    pub(super) async fn read(&self, key: &str) -> Option<Record> {
        let found = self.0.registry(Bucket::Sessions).get(key).await.expect("it is read");
        found.and_then(|entry| Record::from_bytes(&entry.value))
    }
}

impl Stage {
    /// The session of a socket of this node, under the life that it has now.
    pub(super) fn record(&self, sid: u128) -> Record {
        Record {
            sid: Uuid::from_u128(sid),
            namespace: "/".to_owned(),
            user: String::new(),
            life: self.sockets.life(),
            process: self.sockets.process,
            holder: Uuid::from_u128(sid),
            epoch: "e".to_owned(),
            events: Offset::NONE,
            rooms: Vec::new(),
            until: BTreeMap::new(),
            left: Offset::NONE,
            tries: 0,
            ended: false,
        }
    }

    /// Enters a socket.
    pub(super) fn enter(&self, sid: u128) -> Arc<Entry> {
        let outbox = Outbox::new(Format::SocketIo, 1 << 20, Arc::default());
        let entry = self.sockets.sockets.enter(&"/".into(), Uuid::from_u128(sid), &"".into(), &outbox);
        entry.expect("it is not there yet")
    }
}

fn services(
    settings: &Settings,
    backplane: Arc<dyn Backplane>,
    life: &watch::Sender<Arc<str>>,
    telemetry: &Arc<Telemetry>,
) -> Services {
    let connections = Connections::new();
    let relay = Relay::new(Arc::clone(&backplane), &settings.channel.namespaces, Arc::clone(telemetry));
    let hooks = Hooks::new(&settings.hooks, Arc::clone(&backplane), Arc::clone(telemetry)).expect("no hooks");
    let (watch, _) = Lookout::new(
        settings.node.name.clone(),
        Arc::clone(&backplane),
        Arc::clone(&relay),
        settings.channel.clone(),
        Arc::clone(telemetry),
    );
    Services {
        node: NodeInfo { name: settings.node.name.clone(), version: String::new() },
        client: settings.client.clone(),
        channel: settings.channel.clone(),
        connection_tokens: None,
        subscription_tokens: None,
        hooks: Arc::new(hooks),
        relay,
        presence: Presence::new(Arc::clone(&backplane), life.subscribe(), Arc::clone(telemetry)),
        connections: Arc::clone(&connections),
        limits: Limits {
            connects: Arc::new(Turnstile::new(1, 1, Duration::from_secs(1))),
            users: Arc::default(),
            census: None,
        },
        revocations: Revocations::new(backplane, connections, Duration::ZERO, Arc::clone(telemetry)),
        pulse: Pulse::new(),
        watch,
        telemetry: Arc::clone(telemetry),
        strangers: Strangers::default(),
    }
}
