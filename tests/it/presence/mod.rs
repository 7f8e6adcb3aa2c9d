//! Presence on several nodes: what each sees, and what those who listen are told, whatever becomes of nodes and servers.

mod losses;
mod many;
mod seen;

use std::sync::Arc;
use std::time::Duration;

use midplane::backplane::{Backplane, Feed, feed};
use midplane::presence::{Listening, Presence, Stay};
use midplane::protocol::Channel;
use midplane::protocol::centrifuge::ClientInfo;
use midplane::settings::{Namespaces, Nats};
use midplane::tasks::Tasks;
use midplane::telemetry::Telemetry;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::support::listener::Ear;
use crate::support::nats_settings::connect;
use crate::support::{PATIENCE, eventually, namespaces};

fn registry() -> Namespaces {
    namespaces::registry([namespaces::open("", None)])
}

/// The part of a node that knows who is where. What it recorded outlives it, as if it had been killed.
struct Node {
    presence: Arc<Presence>,
    telemetry: Arc<Telemetry>,
    /// Publications are of no concern here.
    _feeds: Vec<Feed>,
    life: watch::Sender<Arc<str>>,
    _stop: DropGuard,
}

impl Node {
    async fn join(settings: &Nats, life: &str) -> Self {
        let (sender, feeds) = feed::open(1);
        Self::on(connect(settings, &registry(), sender).await.unwrap(), feeds, life)
    }

    /// The first two nodes of a cluster.
    async fn pair(settings: &Nats) -> (Self, Self) {
        (Self::join(settings, "a~1").await, Self::join(settings, "b~1").await)
    }

    fn on(backplane: Arc<dyn Backplane>, feeds: Vec<Feed>, life: &str) -> Self {
        let telemetry = Telemetry::new(&registry());
        let (life, lived) = watch::channel(Arc::from(life));
        let presence = Presence::new(backplane, lived, Arc::clone(&telemetry));
        let stop = CancellationToken::new();
        presence.start(&Tasks::new(|_| {}).until(&stop));
        Self { presence, telemetry, _feeds: feeds, life, _stop: stop.drop_guard() }
    }

    fn enter(&self, channel: &Channel, client: u128, user: &str) -> Stay {
        let client = Uuid::from_u128(client);
        let info = ClientInfo { user: user.to_owned(), client: client.to_string(), ..ClientInfo::default() };
        self.presence.enter(channel, client, &info)
    }

    async fn listen(&self, channel: &Channel) -> Listener {
        self.listen_to_users(channel, Duration::ZERO).await
    }

    /// As a connect does, which does not wait until it is known who is there.
    async fn listen_at_once(&self, channel: &Channel) -> Listener {
        let ear = Ear::new();
        let listening = self.presence.listen(channel, Duration::ZERO, &ear.outbox, Duration::ZERO).await;
        Listener { ear, _listening: listening }
    }

    async fn listen_to_users(&self, channel: &Channel, delay: Duration) -> Listener {
        let ear = Ear::new();
        let listening = self.presence.listen(channel, delay, &ear.outbox, PATIENCE).await;
        Listener { ear, _listening: listening }
    }

    /// Waits until this node sees so many clients in the channel.
    async fn sees(&self, channel: &Channel, clients: usize) {
        self.sees_users(channel, clients, clients).await;
    }

    /// Waits until it sees so many clients of so many users.
    async fn sees_users(&self, channel: &Channel, clients: usize, users: usize) {
        eventually(&format!("{clients} clients of {users} users are seen in {channel}"), async || {
            let present = self.presence.list(channel).await.ok()?;
            (present.counts() == (clients, users)).then_some(())
        })
        .await;
    }
}

/// Somebody who is told of joins and leaves.
struct Listener {
    ear: Ear,
    _listening: Listening,
}

impl Listener {
    /// What was told so far: `+ann`, `-ann`.
    fn told(&self) -> Vec<String> {
        self.ear.pushes().iter().map(word).collect()
    }

    /// Waits until so much was told.
    async fn is_told(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} joins and leaves are told"), async || {
            Some(self.told()).filter(|told| told.len() >= count)
        })
        .await
    }
}

fn word(push: &Value) -> String {
    let name = |kind: &str| push[kind]["info"]["user"].as_str().map(str::to_owned);
    let join = name("join").map(|user| format!("+{user}"));
    join.or_else(|| name("leave").map(|user| format!("-{user}"))).expect("a join or a leave")
}
