//! The backplane of a cluster: NATS, with JetStream where a namespace has history.
//!
//! Publications go out over one connection (`connection`, `publish`, `ack`) and come back over another (`live`), whose events
//! `deliveries` turns into the feed. A namespace with history is a stream (`streams`) that republishes what it stored,
//! with a sequence and the one before it; `get` and `history` read it back; `epoch` and `keep` notice when it is no longer
//! the same, `depth` remembers how much of a channel it kept since when. `vigil` restores everything after a loss and says whether the backplane works.
//!
//! Nothing here is per client: no consumer, no watcher, no task for a channel.

mod ack;
mod broadcast;
mod connection;
mod deliveries;
mod depth;
mod epoch;
pub mod examine;
mod generations;
mod get;
mod headers;
mod history;
mod joining;
mod keep;
pub mod live;
mod overheard;
mod patience;
mod presences;
mod publish;
mod refusals;
mod registry;
mod requests;
mod shared;
mod signals;
mod streams;
mod subjects;
mod turns;
mod vigil;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;
use tracing::warn;

pub use self::connection::LinkError;
#[doc(hidden)]
pub use self::headers::Described;
pub use self::joining::ConnectError;
pub use self::streams::{Difference, StreamError};
pub use self::subjects::{Purpose, Subjects};

use self::connection::Link;
use self::deliveries::{Interests, Target};
use self::generations::Generations;
use self::get::Reader;
use self::keep::Keep;
use self::live::{Live, LiveSubscribeError};
use self::overheard::Ear;
use self::presences::Records;
use self::publish::Publisher;
use self::registry::Shelf;
use self::requests::Inboxes;
use self::turns::Turns;
use self::vigil::Vigil;
use super::{
    Backplane, Broadcast, Bucket, Delivery, Health, History, Outgoing, Presences, PublishError, Published, Registry,
    Requests, SubscribeError,
};
use crate::protocol::Channel;

/// How long closing may take after everything was acknowledged.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A node's part in a cluster.
pub struct Nats {
    /// Its tasks end with it. Dropped before what they wait for.
    _stop: DropGuard,
    link: Link,
    /// What services and backends write into headers must not end the connection that publishes.
    services: Link,
    live: Live,
    subjects: Subjects,
    inboxes: Arc<Inboxes>,
    generations: Arc<Generations>,
    namespaces: HashSet<Arc<str>>,
    /// Of these everything is delivered once one of their channels is: their channels have one order.
    ordered: HashSet<Arc<str>>,
    keeps: HashMap<Arc<str>, Arc<Keep>>,
    records: Option<Arc<Records>>,
    reader: Arc<Reader>,
    /// As [`Bucket::wanted`] has them.
    shelves: Arc<[Arc<Shelf>]>,
    publisher: Publisher,
    interests: Arc<Interests>,
    subscribing: Turns,
    vigil: Arc<Vigil>,
    health: watch::Receiver<Health>,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

impl From<LiveSubscribeError> for SubscribeError {
    fn from(error: LiveSubscribeError) -> Self {
        match error {
            LiveSubscribeError::Refused { subject, why } => Self::Refused { subject, why },
            LiveSubscribeError::Unavailable { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

#[async_trait]
impl Backplane for Nats {
    async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Published, PublishError> {
        match self.keeps.get(channel.namespace()) {
            Some(_) if message.skip_history => self.publisher.send(channel, message, Purpose::Live).await,
            Some(keep) => self.publisher.store(keep, channel, message).await,
            None if self.namespaces.contains(channel.namespace()) => {
                self.publisher.send(channel, message, Purpose::Publish).await
            }
            None => Err(PublishError::Refused(format!("unknown namespace {:?}", channel.namespace()))),
        }
    }

    async fn subscribe(&self, channel: &Channel) -> Result<(), SubscribeError> {
        let keep = self.keeps.get(channel.namespace()).cloned();
        let purpose = if keep.is_some() { Purpose::Live } else { Purpose::Publish };
        let subject = self.subjects.of(purpose, channel);
        if !self.namespaces.contains(channel.namespace()) {
            let why = format!("unknown namespace {:?}", channel.namespace());
            return Err(SubscribeError::Refused { subject, why });
        }
        let ordered = self.ordered.contains(channel.namespace()).then(|| Channel::of_events(channel.namespace()));
        let channel = ordered.as_ref().unwrap_or(channel);
        let turn = self.subscribing.take(channel).await;
        let _turn = turn.map_err(|_| SubscribeError::Unavailable("too many subscribe at once".to_owned()))?;
        if let Some(why) = self.interests.refusal(channel) {
            return Err(SubscribeError::Refused { subject, why });
        }
        if self.interests.contains(channel) {
            return Ok(());
        }
        let (subject, target) = match (&ordered, keep) {
            (Some(_), Some(keep)) => {
                let all = self.subjects.all(Purpose::Live, channel.namespace());
                (all, Target::Namespace(channel.clone(), keep))
            }
            (_, keep) => (subject, Target::Channel(channel.clone(), keep)),
        };
        let subscribed = self.interests.subscribe(&self.live, &subject, target).await;
        subscribed.map(|_| ()).map_err(SubscribeError::from)
    }

    fn unsubscribe(&self, channel: &Channel) {
        if self.ordered.contains(channel.namespace()) {
            return;
        }
        if let Some(sid) = self.interests.remove(channel) {
            self.live.unsubscribe(sid);
        }
    }

    async fn overhear(&self, namespace: &str) -> Result<mpsc::Receiver<Delivery>, SubscribeError> {
        let keep = self.keeps.get(namespace).cloned();
        let purpose = if keep.is_some() { Purpose::Live } else { Purpose::Publish };
        let subject = self.subjects.all(purpose, namespace);
        let (ear, heard) = Ear::new(purpose, keep, Arc::clone(&self.vigil.telemetry));
        let sid = self.interests.subscribe(&self.live, &subject, Target::Overheard(ear.clone())).await?;
        let (live, interests) = (self.live.clone(), Arc::clone(&self.interests));
        tokio::spawn(async move {
            ear.closed().await;
            interests.forget(sid);
            live.unsubscribe(sid);
        });
        Ok(heard)
    }

    fn history(&self) -> Option<&dyn History> {
        (!self.keeps.is_empty()).then_some(self)
    }

    fn requests(&self) -> Option<&dyn Requests> {
        Some(self)
    }

    fn broadcast(&self) -> &dyn Broadcast {
        self
    }

    fn registry(&self, bucket: Bucket) -> &dyn Registry {
        let shelf = self.shelves.iter().find(|shelf| shelf.bucket == bucket);
        &**shelf.expect("nobody asks for a bucket that no namespace wants")
    }

    fn presences(&self) -> Option<&dyn Presences> {
        self.records.is_some().then_some(self)
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    async fn close(&self) {
        join_all(self.keeps.values().map(|keep| self.publisher.finish(keep))).await;
        self.vigil.stop.cancel();
        self.shelves.iter().for_each(|shelf| shelf.close());
        self.live.close().await;
        self.reader.close().await;
        for link in [&self.services, &self.link] {
            if let Err(error) = link.client.drain().await {
                warn!(%error, "connection to NATS not drained");
            }
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            let abort = task.abort_handle();
            if timeout(CLOSE_TIMEOUT, task).await.is_err() {
                abort.abort();
            }
        }
    }
}
