//! What a node stands on: its listener, its backplane, its place among the others.

use std::sync::Arc;

use anyhow::Context;
use tokio::time::Instant;

use super::doors::Doors;
use super::limits::turnstile;
use super::member::{join, work};
use super::routes::{Served, waiting};
use super::stop::{CLOSE_AT_LEAST, LEAVE_WITHIN, close};
use super::watching::measure;
use super::{BACKPLANE, TASK_LOST};
use crate::backplane::embedded::Embedded;
use crate::backplane::nats::Nats;
use crate::backplane::{Backplane, FeedSender, feed};
use crate::canary;
use crate::cluster::Cluster;
use crate::http::Keeper;
use crate::hub::{Connections, Pulse};
use crate::lifecycle::Readiness;
use crate::relay::Relay;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;

/// A member of the cluster that serves nothing yet.
pub(super) struct Base {
    pub(super) settings: Settings,
    pub(super) doors: Doors,
    /// Takes the API key: who else may come in is not known before revocations are.
    pub(super) keeper: Keeper,
    /// What is served until the node is built.
    pub(super) waiting: Served,
    pub(super) backplane: Arc<dyn Backplane>,
    pub(super) cluster: Cluster,
    pub(super) connections: Arc<Connections>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) relay: Arc<Relay>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) feed: FeedSender,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) tasks: Tasks,
}

impl Base {
    /// Binds the address, opens the backplane, and joins.
    pub(super) async fn lay(settings: Settings) -> anyhow::Result<Self> {
        let namespaces = &settings.channel.namespaces;
        let telemetry = Telemetry::new(namespaces);
        let doors = Doors::bind(&settings.http, &telemetry)?;
        let partitions = std::thread::available_parallelism().map_or(1, usize::from);
        let (sender, feeds) = feed::open(partitions);
        let sender = sender.ordering(namespaces.ordered());
        let readiness = Arc::new(Readiness::default());
        readiness.hold(BACKPLANE, "not connected yet");
        let tasks = supervised(&readiness, &telemetry);
        let keeper = Keeper::new(&settings.http_api);
        let waiting = waiting(&settings, &keeper, &readiness, &telemetry);
        let joining = Box::pin(open_backplane(&settings, sender.clone(), &telemetry, &tasks));
        let backplane = doors.serve_while(&waiting, joining).await?;
        let recoveries = turnstile(settings.client.recoveries);
        let relay = Relay::bounded(Arc::clone(&backplane), namespaces, recoveries, Arc::clone(&telemetry));
        relay.start(feeds, &tasks);
        let pulse = Pulse::new();
        tasks.run("deadlines of connections", Arc::clone(&pulse).run());
        tasks.run("telemetry", Arc::clone(&telemetry).run());
        let connections = Connections::new();
        telemetry.http.connections_limit.set(settings.http.max_connections.unwrap_or(0) as f64);
        tasks.run("what waits", measure(&connections, sender.clone(), &readiness, &telemetry));
        let joined = {
            let work = work(&connections, &relay, sender.clone());
            doors.serve_while(&waiting, join(&settings, doors.public.address(), &backplane, work, &telemetry)).await
        };
        let cluster = match joined {
            Ok(cluster) => cluster,
            Err(error) => {
                close(&tasks, &*backplane, Instant::now() + CLOSE_AT_LEAST).await;
                return Err(error);
            }
        };
        Ok(Self {
            settings,
            doors,
            keeper,
            waiting,
            backplane,
            cluster,
            connections,
            readiness,
            relay,
            pulse,
            feed: sender,
            telemetry,
            tasks,
        })
    }

    /// Nothing comes of this node: says so to the others, who would take it for dead.
    pub(super) async fn abandon(self) {
        self.cluster.leave(Instant::now() + LEAVE_WITHIN).await;
        close(&self.tasks, &*self.backplane, Instant::now() + CLOSE_AT_LEAST).await;
    }
}

/// Tasks without which the node is not ready.
fn supervised(readiness: &Arc<Readiness>, telemetry: &Arc<Telemetry>) -> Tasks {
    let (readiness, telemetry) = (Arc::clone(readiness), Arc::clone(telemetry));
    Tasks::new(move |task| {
        telemetry.node.tasks_lost.increment(1);
        readiness.hold(task, TASK_LOST);
    })
}

/// The cluster's backplane where NATS is configured, else this process's own.
async fn open_backplane(
    settings: &Settings,
    sender: FeedSender,
    telemetry: &Arc<Telemetry>,
    tasks: &Tasks,
) -> anyhow::Result<Arc<dyn Backplane>> {
    let mut namespaces = settings.channel.namespaces.clone();
    if settings.canary.enabled {
        namespaces.0.insert(canary::NAMESPACE.to_owned(), Arc::new(canary::namespace()));
    }
    let namespaces = &namespaces;
    match &settings.nats {
        None => Ok(Embedded::new(namespaces, settings.embedded.max_bytes, sender)),
        Some(options) => {
            let nats = Nats::connect(options, namespaces, sender, telemetry, tasks).await;
            Ok(nats.with_context(|| format!("NATS at {} cannot be joined", options.server_names()))?)
        }
    }
}
