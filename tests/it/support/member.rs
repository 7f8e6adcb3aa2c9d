//! A member of a cluster that is nothing but a backplane: it remembers everything that was delivered to it.

use std::sync::Arc;
use std::time::Duration;

use midplane::backplane::{
    Backplane, Delivery, Feed, FeedSender, Gap, GapCause, Health, History, Incoming, Meta, Outgoing, Published, Scope,
    feed,
};
use midplane::protocol::Channel;
use parking_lot::Mutex;

use super::eventually;

/// Begins the data of messages that only prove that a subscription is known.
const PROBE: &str = "probe ";
const PROBE_PATIENCE: Duration = Duration::from_millis(200);

/// A backplane and what it delivered.
pub struct Member {
    pub backplane: Arc<dyn Backplane>,
    delivered: Arc<Mutex<Vec<Delivery>>>,
}

impl Member {
    /// Starts whatever `make` makes and listens to it.
    pub async fn start(make: impl AsyncFnOnce(FeedSender) -> Arc<dyn Backplane>) -> Self {
        let (sender, feeds) = feed::open(3);
        Self::around(make(sender).await, feeds)
    }

    /// Listens to the feeds of a backplane.
    pub fn around(backplane: Arc<dyn Backplane>, feeds: Vec<Feed>) -> Self {
        let delivered = Arc::new(Mutex::new(Vec::new()));
        for mut feed in feeds {
            let delivered = Arc::clone(&delivered);
            tokio::spawn(async move {
                while let Some(delivery) = feed.next().await {
                    delivered.lock().push(delivery);
                }
            });
        }
        Self { backplane, delivered }
    }

    pub fn history(&self) -> &dyn History {
        self.backplane.history().expect("a backplane with history")
    }

    /// Subscribes, and waits until the whole cluster knows it: that a server accepted a subscription does not mean that
    /// the others have heard of it.
    pub async fn subscribe(&self, channel: &Channel) {
        self.backplane.subscribe(channel).await.unwrap();
        eventually(&format!("deliveries of {channel} begin"), async || {
            let probe = format!("{PROBE}{}", rand::random::<u64>());
            let message = Outgoing { skip_history: true, ..outgoing(&probe) };
            self.backplane.publish(channel, message).await.unwrap();
            let arrived = eventually_within(PROBE_PATIENCE, || self.all(channel).iter().any(|got| got.data == probe));
            arrived.await.then_some(())
        })
        .await;
    }

    pub async fn publish(&self, channel: &Channel, data: &str) -> Published {
        self.backplane.publish(channel, outgoing(data)).await.unwrap()
    }

    /// The offset that a publication got.
    pub async fn store(&self, channel: &Channel, data: &str) -> u64 {
        self.publish(channel, data).await.position.expect("a namespace with history").offset.0
    }

    /// What was delivered of a channel so far.
    pub fn messages(&self, channel: &Channel) -> Vec<Incoming> {
        self.all(channel).into_iter().filter(|message| !message.data.starts_with(PROBE.as_bytes())).collect()
    }

    fn all(&self, channel: &Channel) -> Vec<Incoming> {
        let delivered = self.delivered.lock();
        let of_channel = delivered.iter().filter_map(|delivery| match delivery {
            Delivery::Message(message) if message.channel == *channel => Some(message.clone()),
            Delivery::Message(_) | Delivery::Gap(_) => None,
        });
        of_channel.collect()
    }

    /// Their data.
    pub fn texts(&self, channel: &Channel) -> Vec<String> {
        self.messages(channel).iter().map(|message| text(&message.data)).collect()
    }

    /// The first `count` messages of a channel, once they are there.
    pub async fn received(&self, channel: &Channel, count: usize) -> Vec<Incoming> {
        eventually(&format!("{count} messages of {channel} are delivered"), async || {
            Some(self.messages(channel)).filter(|messages| messages.len() >= count)
        })
        .await
    }

    pub fn gaps(&self) -> Vec<Gap> {
        let delivered = self.delivered.lock();
        let gaps = delivered.iter().filter_map(|delivery| match delivery {
            Delivery::Gap(gap) => Some(gap.clone()),
            Delivery::Message(_) => None,
        });
        gaps.collect()
    }

    /// A gap of this cause, once it is told.
    pub async fn gap(&self, cause: GapCause) -> Gap {
        eventually(&format!("a gap is told: {cause:?}"), async || {
            self.gaps().into_iter().find(|gap| gap.cause == cause)
        })
        .await
    }

    /// Waits until it says that it works.
    pub async fn ready(&self) {
        let mut health = self.backplane.health();
        let ready = tokio::time::timeout(super::PATIENCE, health.wait_for(|health| *health == Health::Ready)).await;
        ready.expect("it works again").unwrap();
    }

    /// Forgets what was delivered so far.
    pub fn forget(&self) {
        self.delivered.lock().clear();
    }
}

async fn eventually_within(patience: Duration, condition: impl Fn() -> bool) -> bool {
    let becomes = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(patience, becomes).await.is_ok()
}

/// Whether a gap concerns a namespace.
pub fn concerns(gap: &Gap, namespace: &str) -> bool {
    match &gap.scope {
        Scope::Everything => true,
        Scope::Namespace(name) => &**name == namespace,
        Scope::Channel { channel, .. } => channel.namespace() == namespace,
    }
}

pub fn channel(name: &str) -> Channel {
    Channel::parse(name, 255).unwrap()
}

pub fn outgoing(data: &str) -> Outgoing {
    Outgoing { data: data.to_owned().into(), meta: Meta::default(), ..Outgoing::default() }
}

pub fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).unwrap()
}
