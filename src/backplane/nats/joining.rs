//! How a node joins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Nats;
use super::connection::{Link, LinkError};
use super::deliveries::{Interests, Pump, Target};
use super::generations::Generations;
use super::get::{Reader, ReaderError};
use super::keep::Keep;
use super::live::{self, Live, LiveEvent, LiveOptions, LiveSubscribeError};
use super::patience::Patience;
use super::presences::Records;
use super::publish::Publisher;
use super::refusals::keep_subscribed;
use super::registry::Shelf;
use super::requests::Inboxes;
use super::signals::Signals;
use super::streams::StreamError;
use super::subjects::{Purpose, Subjects};
use super::turns::Turns;
use super::vigil::Vigil;
use crate::backplane::{Bucket, FeedSender, Health};
use crate::settings::{self, Namespaces};
use crate::tasks::Tasks;
use crate::telemetry::{Pace, Telemetry};

/// How often a node says that it is still without NATS.
const REMIND_EVERY: Duration = Duration::from_secs(30);
/// Events of the live connection that wait for the pump; beyond it the socket waits.
const EVENTS: usize = 512;

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
    Subscribe { subject: String, why: LiveSubscribeError },
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
        let linked = async |purpose: &'static str| {
            patience.with(LinkError::is_transient, async || Link::establish(options, purpose).await).await
        };
        let (link, services) = (linked("publishing").await?, linked("services").await?);
        let (sender, events) = mpsc::channel(EVENTS);
        let start = async || Live::start(LiveOptions::new(options, "live"), sender.clone()).await;
        let live = patience.with(|_| true, start).await?;
        drop(sender);
        let answers = LiveOptions::new(options, "answers");
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
        let pump = Pump { interests, subjects, feed, signals, shelves, complaints: Pace::default() };
        nats.begin(pump, events, &tasks, &patience).await?;
        info!(prefix = options.prefix, streams = nats.keeps.len(), "joined the cluster");
        Ok(nats)
    }

    async fn begin(
        &self,
        pump: Pump,
        events: mpsc::Receiver<LiveEvent>,
        tasks: &Tasks,
        patience: &Patience,
    ) -> Result<(), ConnectError> {
        let pump = tasks.run("deliveries of NATS", pump.run(events));
        for keep in self.keeps.values() {
            self.listen(keep, patience).await?;
        }
        for shelf in self.shelves.iter().filter(|shelf| shelf.bucket.is_watched()) {
            self.listen_to_registry(shelf, patience).await?;
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
    async fn listen_to_registry(&self, shelf: &Arc<Shelf>, patience: &Patience) -> Result<(), ConnectError> {
        self.hear(shelf.changes(), &Target::Registry(Arc::clone(shelf)), patience).await?;
        let advisory = format!("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{}", shelf.stream.plan.name);
        let heard = self.interests.subscribe(&self.live, &advisory, Target::RegistryLeader(Arc::clone(shelf))).await;
        if let Err(error) = heard {
            warn!(subject = advisory, %error, "advisory not heard: changes of nodes may be seen late");
        }
        Ok(())
    }

    /// Subscribes to what concerns a whole namespace.
    async fn listen(&self, keep: &Arc<Keep>, patience: &Patience) -> Result<(), ConnectError> {
        let nudges = self.subjects.all(Purpose::Nudge, &keep.namespace);
        self.hear(nudges, &Target::Nudges(Arc::clone(keep)), patience).await?;
        self.hear(self.subjects.epoch(&keep.namespace), &Target::Epoch(Arc::clone(keep)), patience).await?;
        for (advisory, target) in [
            ("LEADER_ELECTED", Target::Leader(Arc::clone(keep))),
            ("QUORUM_LOST", Target::QuorumLost(Arc::clone(keep))),
        ] {
            let subject = format!("$JS.EVENT.ADVISORY.STREAM.{advisory}.{}", keep.plan.name);
            if let Err(error) = self.interests.subscribe(&self.live, &subject, target).await {
                warn!(subject, %error, "advisory not heard: losses at elections are found by audits only");
            }
        }
        Ok(())
    }

    /// Subscribes to what no node can do without. The connection may break off meanwhile, and come back.
    async fn hear(&self, subject: String, target: &Target, patience: &Patience) -> Result<(), ConnectError> {
        let transient = |why: &LiveSubscribeError| matches!(why, LiveSubscribeError::Unavailable { .. });
        let subscribe = async || self.interests.subscribe(&self.live, &subject, target.clone()).await;
        let heard = patience.with(transient, subscribe).await;
        heard.map(|_| ()).map_err(|why| ConnectError::Subscribe { subject, why })
    }
}

/// One for each namespace with history.
fn keeps(options: &settings::Nats, namespaces: &Namespaces) -> HashMap<Arc<str>, Arc<Keep>> {
    let stored = namespaces.iter().filter_map(|namespace| Some((&namespace.name, namespace.history.as_ref()?)));
    stored.map(|(name, history)| (Arc::clone(name), Arc::new(Keep::new(options, name, history)))).collect()
}
