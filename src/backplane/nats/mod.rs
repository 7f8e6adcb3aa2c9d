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
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

pub use self::connection::LinkError;
#[doc(hidden)]
pub use self::headers::Described;
pub use self::streams::{Difference, StreamError};
pub use self::subjects::{Purpose, Subjects};

use self::connection::Link;
use self::deliveries::{Interests, Pump, Target};
use self::generations::Generations;
use self::get::{Reader, ReaderError};
use self::keep::Keep;
use self::live::{Live, LiveEvent, LiveOptions, LiveSubscribeError};
use self::overheard::Ear;
use self::patience::Patience;
use self::presences::Records;
use self::publish::Publisher;
use self::refusals::keep_subscribed;
use self::registry::Shelf;
use self::requests::Inboxes;
use self::signals::Signals;
use self::turns::Turns;
use self::vigil::Vigil;
use super::{
    Backplane, Broadcast, Bucket, Delivery, FeedSender, Health, History, Outgoing, Presences, PublishError, Published,
    Registry, Requests, SubscribeError,
};
use crate::protocol::Channel;
use crate::settings::{self, Namespaces};
use crate::tasks::Tasks;
use crate::telemetry::{Pace, Telemetry};

/// How often a node says that it is still without NATS.
const REMIND_EVERY: Duration = Duration::from_secs(30);
/// Events of the live connection that wait for the pump; beyond it the socket waits.
const EVENTS: usize = 512;
/// How long closing may take after everything was acknowledged.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a node could not join.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("live connection to NATS: {0}")]
    Live(#[from] live::ConnectError),
    #[error("connection to NATS for what is read: {0}")]
    Reader(#[from] ReaderError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("subscribe to {subject}: {why}")]
    Subscribe { subject: String, why: String },
}

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

impl Nats {
    /// Joins: connects, makes the streams exist, listens to what concerns every node. Deliveries go into `feed`.
    ///
    /// # Errors
    /// When NATS cannot be reached in half a minute, refuses, or has streams that do not fit.
    pub async fn connect(
        options: &settings::Nats,
        namespaces: &Namespaces,
        feed: FeedSender,
        telemetry: &Arc<Telemetry>,
        tasks: &Tasks,
    ) -> Result<Arc<Self>, ConnectError> {
        let stop = CancellationToken::new();
        let tasks = tasks.until(&stop);
        let patience = Patience::new(options);
        let link = patience.with(LinkError::is_transient, async || Link::establish(options).await).await?;
        let services = patience.with(LinkError::is_transient, async || Link::establish(options).await).await?;
        let (sender, events) = mpsc::channel(EVENTS);
        let start = async || Live::start(LiveOptions::new(options, "midplane live"), sender.clone()).await;
        let live = patience.with(|_| true, start).await?;
        drop(sender);
        let answers = LiveOptions::new(options, "midplane answers");
        let start = async || Reader::start(link.clone(), answers.clone(), options.read_timeout, &tasks).await;
        let reader = Arc::new(patience.with(|_| true, start).await?);
        // Dropped before what the tasks wait for: where joining fails they end because they were asked to.
        let _stop = stop.clone().drop_guard();
        let subjects = Subjects::new(&options.prefix);
        let keeps = keeps(options, namespaces);
        let shelf = |bucket| Shelf::new(options, bucket, link.clone(), Arc::clone(&reader), Arc::clone(telemetry));
        let shelves: Arc<[_]> = Bucket::wanted(namespaces).map(|bucket| Arc::new(shelf(bucket))).collect();
        let records = (namespaces.record_presence() || options.record_users)
            .then(|| Records::new(options, &subjects, link.clone(), Arc::clone(telemetry)));
        let generations = Arc::new(Generations::new(options, link.clone(), Arc::clone(telemetry)));
        let (signals, interests) = (Arc::<Signals>::default(), Arc::new(Interests::new(Arc::clone(telemetry))));
        let (health_sender, health) = watch::channel(Health::Ready);
        let [of_link, of_services] = [&link, &services].map(|link| link.refusals.standing());
        let taken_back = [live.taken_back(), reader.taken_back(), of_link, of_services];
        let vigil = Arc::new(Vigil {
            link: link.clone(),
            subjects: subjects.clone(),
            generations: Arc::clone(&generations),
            shelves: Arc::clone(&shelves),
            keeps: keeps.clone(),
            records: records.clone(),
            answers: reader.state(),
            taken_back,
            services: services.clone(),
            feed: feed.clone(),
            signals: Arc::clone(&signals),
            health: health_sender,
            telemetry: Arc::clone(telemetry),
            servers: patience.servers.clone(),
            outage: Pace::every(REMIND_EVERY),
            unchecked: Pace::default(),
            stop,
        });
        patience.with(StreamError::is_transient, async || vigil.ensure_all().await).await?;
        let nats = Arc::new(Self {
            _stop,
            publisher: Publisher::new(
                link.clone(),
                subjects.clone(),
                Arc::clone(&reader),
                options.publish_timeout,
                Arc::clone(telemetry),
            ),
            generations,
            namespaces: namespaces.iter().map(|namespace| Arc::clone(&namespace.name)).collect(),
            ordered: namespaces.ordered().collect(),
            interests: Arc::clone(&interests),
            subscribing: Turns::default(),
            tasks: parking_lot::Mutex::default(),
            subjects: subjects.clone(),
            inboxes: Arc::new(Inboxes::new(options, telemetry)),
            vigil: Arc::clone(&vigil),
            link,
            services,
            live,
            keeps,
            records,
            reader,
            shelves: Arc::clone(&shelves),
            health,
        });
        nats.begin(Pump { interests, subjects, feed, signals, shelves, complaints: Pace::default() }, events, &tasks)
            .await?;
        info!(prefix = options.prefix, streams = nats.keeps.len(), "joined the cluster");
        Ok(nats)
    }

    async fn begin(&self, pump: Pump, events: mpsc::Receiver<LiveEvent>, tasks: &Tasks) -> Result<(), ConnectError> {
        let pump = tasks.run("deliveries of NATS", pump.run(events));
        for keep in self.keeps.values() {
            self.listen(keep).await?;
        }
        for shelf in self.shelves.iter().filter(|shelf| shelf.bucket.is_watched()) {
            self.listen_to_registry(shelf).await?;
        }
        if let Some(records) = &self.records {
            let subject = format!("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{}", records.stream.plan.name);
            let target = Target::RecordsLeader(Arc::clone(records));
            if let Err(error) = self.interests.subscribe(&self.live, &subject, target).await {
                warn!(subject, %error, "advisory not heard: joins and leaves lost at elections are found late");
            }
        }
        let vigil = tasks.run("health of NATS", Arc::clone(&self.vigil).run());
        for (name, link) in [("subscriptions of NATS", &self.link), ("subscriptions of services", &self.services)] {
            tasks.run(name, keep_subscribed(link.clone(), self.subjects.below("barrier")));
        }
        self.tasks.lock().extend([pump, vigil]);
        Ok(())
    }

    /// Subscribes to what a registry's bucket tells.
    async fn listen_to_registry(&self, shelf: &Arc<Shelf>) -> Result<(), ConnectError> {
        let subject = shelf.changes();
        let heard = self.interests.subscribe(&self.live, &subject, Target::Registry(Arc::clone(shelf))).await;
        heard.map_err(|error| ConnectError::Subscribe { subject, why: error.to_string() })?;
        let advisory = format!("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{}", shelf.stream.plan.name);
        let heard = self.interests.subscribe(&self.live, &advisory, Target::RegistryLeader(Arc::clone(shelf))).await;
        if let Err(error) = heard {
            warn!(subject = advisory, %error, "advisory not heard: changes of nodes may be seen late");
        }
        Ok(())
    }

    /// Subscribes to what concerns a whole namespace.
    async fn listen(&self, keep: &Arc<Keep>) -> Result<(), ConnectError> {
        let stream = &keep.plan.name;
        let nudges = self.subjects.all(Purpose::Nudge, &keep.namespace);
        for (subject, target, needed) in [
            (nudges, Target::Nudges(Arc::clone(keep)), true),
            (self.subjects.epoch(&keep.namespace), Target::Epoch(Arc::clone(keep)), true),
            (format!("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{stream}"), Target::Leader(Arc::clone(keep)), false),
            (format!("$JS.EVENT.ADVISORY.STREAM.QUORUM_LOST.{stream}"), Target::QuorumLost(Arc::clone(keep)), false),
        ] {
            match self.interests.subscribe(&self.live, &subject, target).await {
                Ok(_) => {}
                Err(error) if needed => return Err(ConnectError::Subscribe { subject, why: error.to_string() }),
                Err(error) => {
                    warn!(subject, %error, "advisory not heard: losses at elections are found by audits only")
                }
            }
        }
        Ok(())
    }
}

/// One for each namespace with history.
fn keeps(options: &settings::Nats, namespaces: &Namespaces) -> HashMap<Arc<str>, Arc<Keep>> {
    let stored = namespaces.iter().filter_map(|namespace| Some((&namespace.name, namespace.history.as_ref()?)));
    stored.map(|(name, history)| (Arc::clone(name), Arc::new(Keep::new(options, name, history)))).collect()
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
