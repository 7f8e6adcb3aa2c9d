//! The composition root: builds every room, connects them, and stops them in order. The only file that names a concrete
//! backplane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use anyhow::Context;
use async_trait::async_trait;
use axum::routing::any;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::api::{self, Api};
use crate::auth::Verifier;
use crate::backplane::embedded::Embedded;
use crate::backplane::nats::Nats;
use crate::backplane::{Backplane, FeedSender, Health, feed};
use crate::cluster::{Cluster, Introduction, Reap, ReapError, Work};
use crate::emulation::Emulation;
use crate::hooks::Hooks;
use crate::http::limits::{Admission, Gate, Turned, cors};
use crate::http::{self, Edge, Probes, Refusal, Server};
use crate::hub::{Connections, Pulse};
use crate::lifecycle::Readiness;
use crate::presence::Presence;
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode};
use crate::relay::Relay;
use crate::revocation::Revocations;
use crate::session::{self, NodeInfo, Services};
use crate::settings::{Settings, TokenKeys};
use crate::telemetry::{Queue, Telemetry};

/// What stands in the way of being ready while the backplane is away.
const BACKPLANE: &str = "backplane";

/// What the backplane gets to finish what was accepted.
const CLOSE_AT_LEAST: std::time::Duration = std::time::Duration::from_secs(2);

/// What publications under way get to reach this node's clients before those are sent away.
const SETTLE_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);
const SETTLE_PAUSE: std::time::Duration = std::time::Duration::from_millis(2);

/// What a node that starts gets to learn which tokens are revoked.
const LOAD_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// What a node that goes gets to say goodbye.
const LEAVE_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Why a node no longer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to stop.
    Asked,
    /// Another process has joined under its name.
    Fenced,
}

/// One node, built and bound, not serving yet.
pub struct App {
    settings: Settings,
    server: Server,
    router: axum::Router,
    calls: Option<api::requests::Serving>,
    backplane: Arc<dyn Backplane>,
    cluster: Cluster,
    connections: Arc<Connections>,
    admission: Arc<Admission>,
    readiness: Arc<Readiness>,
    relay: Arc<Relay>,
    presence: Arc<Presence>,
    feed: FeedSender,
    telemetry: Arc<Telemetry>,
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
        let relay = Relay::new(Arc::clone(&backplane), namespaces, Arc::clone(&telemetry));
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
        let emulation = emulation(&settings, &backplane, &telemetry);
        if let Some(passed_on) = emulation.listen().await.context("what clients post elsewhere")? {
            tasks.spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&emulation).take(passed_on)));
        }
        let edge = Edge::new(&settings);
        let clients = clients(&settings, &edge, &emulation, services);
        let router = router(&settings, clients, api, &readiness, &telemetry);
        let watching = readiness.watch(heed(Arc::clone(&edge.admission), Arc::clone(&telemetry)));
        tasks.spawn(stop.clone().run_until_cancelled_owned(watching));
        tasks.spawn(follow_backplane(health, Arc::clone(&readiness), revocations, stop.clone()));
        let admission = Arc::clone(&edge.admission);
        Ok(Self {
            settings,
            server,
            router,
            calls,
            backplane,
            cluster,
            connections,
            admission,
            readiness,
            relay,
            presence,
            feed: sender,
            telemetry,
            tasks,
            stop,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves until `signal`, or until another process takes this node's name; then lets clients and publications go,
    /// within the configured time.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Ending {
        let Self {
            settings,
            server,
            router,
            calls,
            backplane,
            cluster,
            connections,
            admission,
            readiness,
            relay,
            presence,
            feed,
            telemetry,
            tasks,
            stop,
        } = self;
        let serving = CancellationToken::new();
        let server = tokio::spawn(server.serve(router, serving.clone().cancelled_owned()));
        let ending = tokio::select! {
            () = signal => Ending::Asked,
            () = cluster.fenced().cancelled_owned() => Ending::Fenced,
        };
        let deadline = tokio::time::Instant::now() + settings.node.shutdown_timeout;
        let ends = SystemTime::now() + settings.node.shutdown_timeout;
        let ends = ends.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        telemetry.node.drain_deadline.set(ends.as_secs_f64());
        // Still listening: a proxy that comes here is told to go to another node.
        admission.set(Gate::Draining);
        readiness.drain();
        cluster.drain();
        // What was accepted reaches those who are still here; what comes now is refused, and can go to another node.
        let settled = async {
            relay.close_to_publishers().await;
            while feed.waiting() > 0 {
                tokio::time::sleep(SETTLE_PAUSE).await;
            }
        };
        if tokio::time::timeout_at(deadline.min(tokio::time::Instant::now() + SETTLE_WITHIN), settled).await.is_err() {
            warn!("publications under way did not settle in time");
        }
        let leaving = connections.close_all(&Disconnect::from(DisconnectCode::Shutdown));
        info!(connections = leaving, "stopping");
        let emptied = tokio::time::timeout_at(deadline, connections.wait_until_empty()).await;
        if emptied.is_err() {
            warn!(connections = connections.len(), "stopped before every client had answered");
        }
        serving.cancel();
        // A server that panicked is reported by the runtime; there is nothing left to stop then.
        let _ = tokio::time::timeout_at(deadline, server).await;
        if let Some(calls) = calls {
            let _ = tokio::time::timeout_at(deadline, calls.finish()).await;
        }
        let last = deadline.max(tokio::time::Instant::now() + LEAVE_WITHIN);
        // Whoever left is seen to have left before the node is.
        if tokio::time::timeout_at(last, presence.settled()).await.is_err() {
            warn!("stopped before all departures were recorded; another node records them");
        }
        cluster.leave(last).await;
        // What was accepted gets its time, however long the clients took.
        let deadline = deadline.max(tokio::time::Instant::now() + CLOSE_AT_LEAST);
        let _ = tokio::time::timeout_at(deadline, backplane.close()).await;
        stop.cancel();
        tasks.close();
        let _ = tokio::time::timeout_at(deadline, tasks.wait()).await;
        info!("stopped");
        ending
    }
}

/// Makes this node, which listens on `bound`, a member of the cluster.
async fn join(
    settings: &Settings,
    bound: SocketAddr,
    backplane: &Arc<dyn Backplane>,
    work: impl Fn() -> Work + Send + Sync + 'static,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<Cluster> {
    let introduction = Introduction {
        name: settings.node.name.clone(),
        address: settings.cluster.address.clone().unwrap_or_else(|| bound.to_string()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capacity: settings.http.max_connections.map(|most| most as u64),
    };
    let (backplane, telemetry) = (Arc::clone(backplane), Arc::clone(telemetry));
    Ok(Box::pin(Cluster::join(backplane, &settings.cluster, introduction, work, telemetry)).await?)
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

/// Counts what this node has to do.
fn work(
    connections: &Arc<Connections>,
    relay: &Arc<Relay>,
    feed: FeedSender,
) -> impl Fn() -> Work + Send + Sync + 'static {
    let (connections, relay) = (Arc::clone(connections), Arc::clone(relay));
    move || Work {
        clients: connections.len() as u64,
        users: connections.users() as u64,
        channels: relay.tally().channels() as u64,
        subscriptions: relay.tally().subscriptions() as u64,
        sent: relay.tally().sent(),
        queue_bytes: (connections.backlog().load(Ordering::Relaxed) + feed.waiting()) as u64,
    }
}

/// What nodes leave behind: their clients, in presence.
struct Traces(Arc<Presence>);

#[async_trait]
impl Reap for Traces {
    async fn reap(&self, life: &str) -> Result<(), ReapError> {
        self.0.reap(life).await.map(|_| ()).map_err(|error| ReapError(error.to_string()))
    }
}

/// Whoever asks before the backplane is there hears that the node lives, and does not serve yet.
fn waiting(settings: &Settings, readiness: &Arc<Readiness>, telemetry: &Arc<Telemetry>) -> axum::Router {
    let refused = || any(|| async { Refusal::Turned(Turned::NotReady) });
    http::compose([http::health::routes(probes(settings, readiness, telemetry))], telemetry)
        .route("/connection/{transport}", refused())
        .route("/emulation", refused())
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
fn emulation(settings: &Settings, backplane: &Arc<dyn Backplane>, telemetry: &Arc<Telemetry>) -> Arc<Emulation> {
    let limit = settings.transports.emulation_body_limit.saturating_mul(4);
    Emulation::new(limit, Arc::clone(backplane), Arc::clone(telemetry))
}

/// The routes of clients, each transport's.
fn clients(settings: &Settings, edge: &Arc<Edge>, emulation: &Arc<Emulation>, services: Arc<Services>) -> axum::Router {
    let transports = &settings.transports;
    let on_websocket = {
        let services = Arc::clone(&services);
        move |transport, wire, peer| session::run(transport, wire, peer, Arc::clone(&services))
    };
    let on_stream = move |transport, wire, peer| session::run(transport, wire, peer, Arc::clone(&services));
    let websockets = http::connection::routes(edge, on_websocket.clone());
    let listening = transports.uni_websocket;
    let unidirectional = http::connection::unidirectional(edge, listening, emulation.node(), on_websocket);
    let streams = http::streams::routes(edge, emulation, transports, on_stream);
    let [websockets, mut streams] = http::connection::limited(edge, [websockets.merge(unidirectional), streams]);
    if transports.http_stream.enabled || transports.sse.enabled {
        streams = streams.merge(http::emulation::routes(edge, emulation, transports.emulation_body_limit));
    }
    websockets.merge(cors::shared(streams, Arc::clone(&edge.origins)))
}

fn router(
    settings: &Settings,
    clients: axum::Router,
    api: Arc<Api>,
    readiness: &Arc<Readiness>,
    telemetry: &Arc<Telemetry>,
) -> axum::Router {
    let mut routes = vec![
        http::health::routes(probes(settings, readiness, telemetry)),
        clients,
        http::api::routes(api, &settings.http_api, settings.http.body_limit),
    ];
    if settings.http.demo {
        routes.push(http::demo::routes());
    }
    http::compose(routes, telemetry)
}

fn probes(settings: &Settings, readiness: &Arc<Readiness>, telemetry: &Arc<Telemetry>) -> Probes {
    let readiness = Arc::clone(readiness);
    Probes {
        node: settings.node.name.clone(),
        started: Instant::now(),
        obstacles: Box::new(move || readiness.obstacles()),
        telemetry: Arc::clone(telemetry),
    }
}

/// Measures what waits, every second.
fn measure(
    connections: &Arc<Connections>,
    feed: FeedSender,
    readiness: &Arc<Readiness>,
    telemetry: &Arc<Telemetry>,
) -> impl Future<Output = ()> + Send + 'static {
    let (connections, readiness, telemetry) = (Arc::clone(connections), Arc::clone(readiness), Arc::clone(telemetry));
    async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            tick.tick().await;
            telemetry.clients.outbox_bytes.set(connections.backlog().load(Ordering::Relaxed) as f64);
            let remaining = if readiness.is_draining() { connections.len() } else { 0 };
            telemetry.node.drain_remaining.set(remaining as f64);
            telemetry.queues.bytes.of(Queue::Feed).set(feed.waiting() as f64);
        }
    }
}

/// What follows from being ready or not. A draining node has closed its gate for good.
fn heed(admission: Arc<Admission>, telemetry: Arc<Telemetry>) -> impl FnMut(bool) {
    move |ready| {
        if admission.gate() != Gate::Draining {
            admission.set(if ready { Gate::Open } else { Gate::NotReady });
        }
        telemetry.node.ready.set(u8::from(ready));
    }
}

/// A clustered node without its backplane must not quietly become a single node: it takes no clients until it is back, and
/// until it knows which tokens were revoked meanwhile.
async fn follow_backplane(
    mut health: tokio::sync::watch::Receiver<Health>,
    readiness: Arc<Readiness>,
    revocations: Arc<Revocations>,
    stop: CancellationToken,
) {
    // They were listed before this began.
    let mut known = !health.has_changed().unwrap_or(true);
    loop {
        let lost = match &*health.borrow_and_update() {
            Health::Ready => None,
            Health::Lost { why } => Some(why.clone()),
        };
        let knows_all = async {
            match lost {
                None => {
                    if !std::mem::take(&mut known) {
                        let why = |error| format!("revocations of tokens are not known: {error}");
                        revocations.load_surely(|error| readiness.hold(BACKPLANE, why(error))).await;
                    }
                    readiness.clear(BACKPLANE);
                }
                Some(why) => {
                    known = false;
                    readiness.hold(BACKPLANE, why);
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = knows_all => {}
            changed = health.changed() => if changed.is_err() { return },
        }
    }
}
