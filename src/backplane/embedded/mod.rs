//! The backplane of a single node, in this process: the same semantics as a cluster's, nothing to install.
//!
//! History lives in memory and ends with the process; the epoch says so to clients. There is nobody outside to answer
//! requests, so that capability is absent.

mod presences;
mod registry;
mod stream;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use self::presences::Records;
use self::registry::Shelf;
use self::stream::Stream;
use super::recent::Recent;
use super::{
    Backplane, Bounds, Broadcast, Bucket, Delivery, FeedSender, Health, History, HistoryError, Incoming, Meta, Newer,
    Outgoing, Page, Presences, PublishError, Published, Registry, Requests, SubscribeError, Top,
};
use crate::protocol::{Channel, Epoch, Offset};
use crate::settings::Namespaces;

/// Publishers of different channels rarely wait for one another.
const TURNS: usize = 64;
/// Signals that wait for whoever hears them; beyond it the teller waits.
const SIGNALS: usize = 256;
/// Publications that wait for whoever overhears a namespace; beyond it publishers wait.
const OVERHEARD: usize = 1024;
/// How often what has aged is let go of where nothing happens.
const SWEEP: Duration = Duration::from_secs(1);

/// One process as a whole cluster.
pub struct Embedded {
    feed: FeedSender,
    subscribed: Mutex<HashSet<Channel>>,
    streams: HashMap<Arc<str>, Mutex<Stream>>,
    recent: Mutex<Recent>,
    /// Held from the offset to the feed, so that deliveries leave in the order of their offsets.
    turns: Vec<tokio::sync::Mutex<()>>,
    health: watch::Sender<Health>,
    ears: Mutex<Vec<(String, mpsc::Sender<Bytes>)>>,
    /// Who overhears a namespace.
    overhearers: Mutex<Vec<(String, mpsc::Sender<Delivery>)>>,
    shelves: [Shelf; Bucket::ALL.len()],
    records: Records,
}

impl Embedded {
    /// A backplane with a stream for each of `namespaces` that has history, of at most `max_bytes` each. Needs a runtime:
    /// it sweeps in the background.
    #[must_use]
    pub fn new(namespaces: &Namespaces, max_bytes: usize, feed: FeedSender) -> Arc<Self> {
        let epoch = Epoch::new(&Uuid::new_v4().simple().to_string()[..8]);
        let streams = namespaces
            .iter()
            .filter_map(|namespace| {
                let history = namespace.history.as_ref()?;
                Some((Arc::clone(&namespace.name), Mutex::new(Stream::new(history, max_bytes, epoch.clone()))))
            })
            .collect();
        let embedded = Arc::new(Self {
            feed,
            subscribed: Mutex::default(),
            streams,
            recent: Mutex::default(),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
            health: watch::channel(Health::Ready).0,
            ears: Mutex::default(),
            overhearers: Mutex::default(),
            shelves: Default::default(),
            records: Records::default(),
        });
        tokio::spawn(sweep(Arc::downgrade(&embedded)));
        embedded
    }

    fn stream(&self, namespace: &str) -> Result<&Mutex<Stream>, HistoryError> {
        self.streams.get(namespace).ok_or_else(|| HistoryError::Absent(namespace.to_owned()))
    }

    /// A place with each of those who overhear the namespace.
    async fn places_of_overhearers(&self, namespace: &str) -> Vec<mpsc::OwnedPermit<Delivery>> {
        let senders: Vec<_> = {
            let mut overhearers = self.overhearers.lock();
            overhearers.retain(|(_, sender)| !sender.is_closed());
            overhearers.iter().filter(|(name, _)| name == namespace).map(|(_, sender)| sender.clone()).collect()
        };
        let mut places = Vec::with_capacity(senders.len());
        for sender in senders {
            // Whoever has gone needs none.
            places.extend(sender.reserve_owned().await);
        }
        places
    }

    /// Stores where there is history, and says what to deliver; `None` when the publication is suppressed.
    fn store(&self, channel: &Channel, message: &Outgoing) -> (Published, Option<Incoming>) {
        let incoming =
            |link| Incoming { channel: channel.clone(), data: message.data.clone(), meta: message.meta.clone(), link };
        match self.streams.get(channel.namespace()) {
            Some(stream) if !message.skip_history => match stream.lock().append(channel, message) {
                (position, Some(link)) => {
                    (Published { position: Some(position), suppressed: false }, Some(incoming(Some(link))))
                }
                (position, None) => (Published { position: Some(position), suppressed: true }, None),
            },
            _ => (Published::default(), Some(incoming(None))),
        }
    }
}

async fn sweep(embedded: std::sync::Weak<Embedded>) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        let Some(embedded) = embedded.upgrade() else { return };
        for stream in embedded.streams.values() {
            stream.lock().expire();
        }
        embedded.recent.lock().expire();
        embedded.records.expire();
        embedded.shelves.iter().for_each(Shelf::expire);
    }
}

#[async_trait]
impl Backplane for Embedded {
    async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Published, PublishError> {
        let _turn = self.turns[self.feed.partition(channel, TURNS)].lock().await;
        let key = message.idempotency_key.as_deref().map(|key| (channel.clone(), key.to_owned()));
        if let Some(first) = key.as_ref().and_then(|key| self.recent.lock().get(key)) {
            return Ok(Published { position: first, suppressed: true });
        }
        // A caller may give up while it waits for room: nothing must be stored then that is not delivered.
        let place = self.feed.reserve(channel, message.data.len()).await;
        let place = place.map_err(|closed| PublishError::Unavailable(closed.to_string()))?;
        let overheard = self.places_of_overhearers(channel.namespace()).await;
        let (published, incoming) = self.store(channel, &message);
        if let Some(key) = key {
            self.recent.lock().insert(key, published.position.clone());
        }
        if let Some(incoming) = incoming {
            overheard.into_iter().for_each(|place| drop(place.send(Delivery::Message(incoming.clone()))));
            // Of what has one order everything is delivered: what is left out would look lost.
            if self.feed.orders(channel.namespace()) || self.subscribed.lock().contains(channel) {
                place.send(incoming);
            }
        }
        Ok(published)
    }

    async fn subscribe(&self, channel: &Channel) -> Result<(), SubscribeError> {
        self.subscribed.lock().insert(channel.clone());
        Ok(())
    }

    fn unsubscribe(&self, channel: &Channel) {
        self.subscribed.lock().remove(channel);
    }

    async fn overhear(&self, namespace: &str) -> Result<mpsc::Receiver<Delivery>, SubscribeError> {
        let (sender, receiver) = mpsc::channel(OVERHEARD);
        self.overhearers.lock().push((namespace.to_owned(), sender));
        Ok(receiver)
    }

    fn history(&self) -> Option<&dyn History> {
        Some(self)
    }

    fn requests(&self) -> Option<&dyn Requests> {
        None
    }

    fn broadcast(&self) -> &dyn Broadcast {
        self
    }

    fn registry(&self, bucket: Bucket) -> &dyn Registry {
        &self.shelves[bucket as usize]
    }

    fn presences(&self) -> Option<&dyn Presences> {
        Some(self)
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    async fn close(&self) {}
}

#[async_trait]
impl Broadcast for Embedded {
    async fn tell(&self, topic: &str, message: Bytes) -> Result<(), PublishError> {
        let mut ears = Vec::new();
        self.ears.lock().retain(|(pattern, ear)| {
            if matches(pattern, topic) {
                ears.push(ear.clone());
            }
            !ear.is_closed()
        });
        for ear in ears {
            // Whoever listened is gone.
            let _ = ear.send(message.clone()).await;
        }
        Ok(())
    }

    async fn hear(&self, pattern: &str) -> Result<mpsc::Receiver<Bytes>, SubscribeError> {
        let (sender, receiver) = mpsc::channel(SIGNALS);
        self.ears.lock().push((pattern.to_owned(), sender));
        Ok(receiver)
    }
}

/// Whether `topic` is what `pattern` stands for.
fn matches(pattern: &str, topic: &str) -> bool {
    let (pattern, topic): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), topic.split('.').collect());
    pattern.len() == topic.len() && pattern.iter().zip(topic).all(|(wanted, token)| *wanted == "*" || *wanted == token)
}

#[async_trait]
impl History for Embedded {
    async fn top(&self, channel: &Channel) -> Result<Top, HistoryError> {
        Ok(self.stream(channel.namespace())?.lock().top(channel))
    }

    async fn page(&self, channel: &Channel, from: Offset, limit: usize) -> Result<Page, HistoryError> {
        Ok(self.stream(channel.namespace())?.lock().page(channel, from, limit))
    }

    async fn holds(&self, channel: &Channel, offset: Offset) -> Result<bool, HistoryError> {
        let page = self.stream(channel.namespace())?.lock().page(channel, offset, 1);
        Ok(page.messages.first().is_some_and(|message| message.offset == offset))
    }

    async fn bounds(&self, namespace: &str) -> Result<Bounds, HistoryError> {
        Ok(self.stream(namespace)?.lock().bounds())
    }

    async fn newer(&self, namespace: &str, channels: &[Channel], floor: Offset) -> Result<Newer, HistoryError> {
        let mut stream = self.stream(namespace)?.lock();
        let newest = |channel: &Channel| {
            stream.top(channel).newest.filter(|newest| *newest > floor).map(|newest| (channel.clone(), newest))
        };
        let tops = channels.iter().filter_map(newest).collect();
        Ok(Newer { tops, last: stream.bounds().last })
    }

    fn retention(&self, namespace: &str) -> Duration {
        self.streams.get(namespace).map_or(Duration::ZERO, |stream| stream.lock().retention())
    }

    fn now(&self, namespace: &str) -> i64 {
        self.streams.get(namespace).map_or(0, |stream| stream.lock().now())
    }

    async fn remove(&self, channel: &Channel) -> Result<(), HistoryError> {
        let tombstone = Outgoing { meta: Meta { tombstone: true, ..Meta::default() }, ..Outgoing::default() };
        let published = self.publish(channel, tombstone).await;
        let position = published.map_err(|error| HistoryError::Unavailable(error.to_string()))?.position;
        let position = position.ok_or_else(|| HistoryError::Absent(channel.namespace().to_owned()))?;
        self.stream(channel.namespace())?.lock().remove_before(channel, position.offset);
        Ok(())
    }
}
