//! The composition root: builds every room, connects them, and stops them in order. The only room that names a concrete
//! backplane.

mod drain;
mod limits;
mod member;
mod routes;
mod stop;
mod watching;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::stop::Ending;

use self::drain::Drain;
use self::limits::{limits, turnstile};
use self::member::{Traces, join, work};
use self::routes::{clients, router, waiting};
use self::watching::{follow_backplane, heed, measure};
use crate::api::{self, Api};
use crate::auth::Verifier;
use crate::backplane::embedded::Embedded;
use crate::backplane::nats::Nats;
use crate::backplane::{Backplane, FeedSender, feed};
use crate::cluster::Cluster;
use crate::emulation::Emulation;
use crate::hooks::Hooks;
use crate::http::{Edge, Server};
use crate::hub::{Connections, Pulse};
use crate::lifecycle::Readiness;
use crate::operate::{self, Operate};
use crate::presence::Presence;
use crate::relay::Relay;
use crate::revocation::Revocations;
use crate::session::{NodeInfo, Services};
use crate::settings::{Settings, TokenKeys};
use crate::telemetry::Telemetry;

/// What stands in the way of being ready while the backplane is away.
const BACKPLANE: &str = "backplane";

/// What a node that starts gets to learn which tokens are revoked.
const LOAD_WITHIN: Duration = Duration::from_secs(30);

/// One node, built and bound, not serving yet.
pub struct App {
    settings: Settings,
    server: Server,
    router: axum::Router,
    calls: Option<api::requests::Serving>,
    backplane: Arc<dyn Backplane>,
    cluster: Cluster,
    presence: Arc<Presence>,
    drain: Drain,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl App {
    /// Builds a node and binds its address.
    ///
    /// # Errors
    /// When the backplane refuses, a key cannot be used, or the address cannot be had.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let server = Server::bind(settings.http.bind, settings.http.header_timeout)
            .map_err(|error| unbound(&settings, error))?;
        let namespaces = &settings.channel.namespaces;
        let telemetry = Telemetry::new(namespaces);
        let partitions = std::thread::available_parallelism().map_or(1, usize::from);
        let (sender, feeds) = feed::open(partitions);
        let readiness = Arc::new(Readiness::default());
        readiness.hold(BACKPLANE, "not connected yet");
        let waiting = waiting(&settings, &readiness, &telemetry);
        let joining = Box::pin(open_backplane(&settings, sender.clone(), &telemetry));
        let backplane = server.serve_while(&waiting, joining).await?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let recoveries = turnstile(settings.client.recoveries);
        let relay = Relay::bounded(Arc::clone(&backplane), namespaces, recoveries, Arc::clone(&telemetry));
        relay.start(feeds, &tasks, &stop);
        let pulse = Pulse::new();
        tasks.spawn(Arc::clone(&pulse).run(stop.clone()));
        tasks.spawn(Arc::clone(&telemetry).run(stop.clone()));
        let connections = Connections::new();
        telemetry.http.connections_limit.set(settings.http.max_connections.unwrap_or(0) as f64);
        let measuring = measure(&connections, sender.clone(), &readiness, &telemetry);
        tasks.spawn(stop.clone().run_until_cancelled_owned(measuring));
        let joining =
            join(&settings, server.address(), &backplane, work(&connections, &relay, sender.clone()), &telemetry);
        let cluster = server.serve_while(&waiting, joining).await?;
        let presence = Presence::new(Arc::clone(&backplane), cluster.incarnation(), Arc::clone(&telemetry));
        presence.start(&tasks, &stop);
        let hooks = Arc::new(Hooks::new(&settings.hooks, Arc::clone(&backplane), Arc::clone(&telemetry))?);
        let health = backplane.health();
        let knowing = know_revoked(&backplane, &connections, &telemetry, (&tasks, &stop));
        let revocations = server.serve_while(&waiting, knowing).await?;
        let limits = limits(&settings, &presence, &backplane, &telemetry, (&tasks, &stop)).await?;
        let edge = Edge::new(&settings, Arc::clone(&limits.connects));
        let services = Arc::new(Services {
            node: node_info(&settings),
            client: settings.client.clone(),
            channel: settings.channel.clone(),
            connection_tokens: verifier(settings.client.token.as_ref(), "client.token")?,
            subscription_tokens: verifier(settings.client.subscription_token.as_ref(), "client.subscription_token")?,
            hooks: Arc::clone(&hooks),
            relay: Arc::clone(&relay),
            presence: Arc::clone(&presence),
            connections: Arc::clone(&connections),
            limits,
            revocations: Arc::clone(&revocations),
            pulse,
            telemetry: Arc::clone(&telemetry),
        });
        let rooms = (Arc::clone(&relay), Arc::clone(&presence), Arc::clone(&backplane), Arc::clone(&connections));
        let api = Api::new(rooms, hooks, cluster.clone(), Arc::clone(&revocations), &settings);
        cluster.start(Arc::new(Traces(Arc::clone(&presence))), Arc::clone(&api) as _, &tasks, &stop).await?;
        let calls = api::requests::serve(&api).await.context("server API over NATS")?;
        let told = backplane.broadcast().hear(api::CONTROL).await.context("word from other nodes")?;
        tasks.spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&api).obey(told)));
        let emulation = emulation(&settings, &backplane, &telemetry, (&tasks, &stop)).await?;
        let clients = clients(&settings, &edge, &emulation, services);
        let operate = operate(&settings, (&cluster, &backplane, &readiness), &telemetry, (&tasks, &stop)).await?;
        let router = router(&settings, &edge, clients, (api, &operate), &readiness, &telemetry);
        let watching = readiness.watch(heed(Arc::clone(&edge.admission), Arc::clone(&telemetry)));
        tasks.spawn(stop.clone().run_until_cancelled_owned(watching));
        tasks.spawn(follow_backplane(health, Arc::clone(&readiness), revocations, stop.clone()));
        let drain = Drain {
            connections,
            cluster: cluster.clone(),
            relay,
            feed: sender,
            admission: Arc::clone(&edge.admission),
            readiness,
            telemetry,
            rate: settings.node.drain_rate as f64,
        };
        Ok(Self { settings, server, router, calls, backplane, cluster, presence, drain, tasks, stop })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

/// Learns which tokens are revoked, and what is revoked from now on.
async fn know_revoked(
    backplane: &Arc<dyn Backplane>,
    connections: &Arc<Connections>,
    telemetry: &Arc<Telemetry>,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> anyhow::Result<Arc<Revocations>> {
    let revocations = Revocations::new(Arc::clone(backplane), Arc::clone(connections), Arc::clone(telemetry));
    let changes = revocations.watch().await.context("revocations of tokens")?;
    tasks.spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&revocations).follow(changes)));
    let listing = tokio::time::timeout(LOAD_WITHIN, revocations.load_surely(|_| {}));
    listing.await.context("revocations of tokens cannot be listed")?;
    Ok(revocations)
}

/// Begins to weigh how large the cluster should be, and to obey those who operate it.
async fn operate(
    settings: &Settings,
    (cluster, backplane, readiness): (&Cluster, &Arc<dyn Backplane>, &Arc<Readiness>),
    telemetry: &Arc<Telemetry>,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> anyhow::Result<Arc<Operate>> {
    let (readiness, scaling) = (Arc::clone(readiness), settings.scaling.clone());
    let operate = Operate::new(cluster.clone(), Arc::clone(backplane), readiness, scaling, Arc::clone(telemetry));
    let wishes = operate.watch().await.context("the wished size of the cluster")?;
    let orders = backplane.broadcast().hear(operate::DRAINS).await.context("orders to drain")?;
    tasks.spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&operate).follow(wishes)));
    tasks.spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&operate).obey(orders)));
    tasks.spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&operate).advise()));
    Ok(operate)
}

fn node_info(settings: &Settings) -> NodeInfo {
    let version = concat!("midplane ", env!("CARGO_PKG_VERSION")).to_owned();
    NodeInfo { name: settings.node.name.clone(), version }
}

/// Why there is no listener, and what helps where another process was faster.
fn unbound(settings: &Settings, error: std::io::Error) -> anyhow::Error {
    let bind = settings.http.bind;
    let taken = error.kind() == std::io::ErrorKind::AddrInUse;
    let hint = if taken {
        format!(", taken by another process (PORT={} takes another port)", bind.port().wrapping_add(1))
    } else {
        String::new()
    };
    anyhow::Error::new(error).context(format!("http.bind = {bind}{hint}"))
}

/// The cluster's backplane where NATS is configured, else this process's own.
async fn open_backplane(
    settings: &Settings,
    sender: FeedSender,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<Arc<dyn Backplane>> {
    let namespaces = &settings.channel.namespaces;
    match &settings.nats {
        None => Ok(Embedded::new(namespaces, settings.embedded.max_bytes, sender)),
        Some(options) => {
            let nats = Nats::connect(options, namespaces, sender, telemetry).await;
            Ok(nats.with_context(|| format!("NATS at {} cannot be joined", options.server_names()))?)
        }
    }
}

fn verifier(keys: Option<&TokenKeys>, section: &'static str) -> anyhow::Result<Option<Verifier>> {
    keys.map(Verifier::new).transpose().context(section)
}

/// In a session's inbox the posts of a few may wait.
async fn emulation(
    settings: &Settings,
    backplane: &Arc<dyn Backplane>,
    telemetry: &Arc<Telemetry>,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> anyhow::Result<Arc<Emulation>> {
    let limit = settings.transports.emulation_body_limit.saturating_mul(4);
    let emulation = Emulation::new(limit, Arc::clone(backplane), Arc::clone(telemetry));
    if let Some(passed_on) = emulation.listen().await.context("what clients post elsewhere")? {
        tasks.spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&emulation).take(passed_on)));
    }
    Ok(emulation)
}
