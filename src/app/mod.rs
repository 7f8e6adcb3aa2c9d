//! The composition root: builds every room, connects them, and stops them in order. The only room that names a concrete
//! backplane.

mod base;
mod bridge;
mod check;
mod doors;
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

pub use self::check::check;
pub use self::stop::Ending;

use self::base::Base;
use self::bridge::Bridging;
use self::drain::Drain;
use self::limits::limits;
use self::member::Traces;
use self::routes::{Operated, Served, clients, served};
use self::watching::{heed, heed_backplane};
use crate::api::{self, Api};
use crate::auth::Verifier;
use crate::backplane::{Health, Watch};
use crate::canary::Canary;
use crate::cluster::patiently;
use crate::emulation::Emulation;
use crate::engineio::{self, Engine};
use crate::hooks::Hooks;
use crate::http::{Edge, Keeper, Server};
use crate::operate::Operate;
use crate::presence::Presence;
use crate::revocation::Revocations;
use crate::session::{NodeInfo, Services, Strangers};
use crate::settings::{Settings, TokenKeys};
use crate::socketio::SocketIo;
use crate::watch::{self, Lookout};

/// What stands in the way of being ready while the backplane is away.
const BACKPLANE: &str = "backplane";

/// What a node that starts gets to learn which tokens are revoked.
const LOAD_WITHIN: Duration = Duration::from_secs(30);

/// What background tasks that ended stand in the way with.
const TASK_LOST: &str = "this background task has ended, and the node has to be started again";

/// One node, built and bound, not serving yet.
pub struct App {
    base: Base,
    rooms: Rooms,
}

/// What clients and backends meet.
struct Rooms {
    served: Served,
    calls: Option<api::requests::Serving>,
    presence: Arc<Presence>,
    watch: Arc<Lookout>,
    drain: Drain,
    bridge: Bridging,
}

impl App {
    /// Builds a node and binds its address. One that cannot be built has left the cluster when this returns.
    ///
    /// # Errors
    /// When the backplane refuses, a key cannot be used, or the address cannot be had.
    pub fn build(settings: Settings) -> impl Future<Output = anyhow::Result<Self>> {
        // Boxed before the first await: settings are large, and whoever builds a node would carry them twice.
        let laying = Box::pin(Base::lay(settings));
        async move {
            let base = laying.await?;
            match Box::pin(Rooms::build(&base)).await {
                Ok(rooms) => Ok(Self { base, rooms }),
                Err(error) => {
                    base.abandon().await;
                    Err(error)
                }
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.base.doors.public.address()
    }

    /// Where it listens for operators and backends, if not there.
    #[must_use]
    pub fn internal_address(&self) -> Option<SocketAddr> {
        self.base.doors.internal.as_ref().map(Server::address)
    }
}

impl Rooms {
    async fn build(base: &Base) -> anyhow::Result<Self> {
        let Base { settings, doors, waiting, backplane, cluster, connections, relay, telemetry, tasks, .. } = base;
        let presence = Presence::new(Arc::clone(backplane), cluster.incarnation(), Arc::clone(telemetry));
        presence.start(tasks);
        let hooks = Arc::new(Hooks::new(&settings.hooks, Arc::clone(backplane), Arc::clone(telemetry))?);
        let health = backplane.health();
        let knowing = know_revoked(base);
        let (revocations, changes) = doors.serve_while(waiting, knowing).await?;
        let limits = limits(settings, &presence, backplane, telemetry, tasks).await?;
        let edge = Edge::new(settings, Arc::clone(&limits.connects));
        let watch = watched(base).await?;
        let services = Arc::new(Services {
            node: node_info(settings),
            client: settings.client.clone(),
            channel: settings.channel.clone(),
            connection_tokens: verifier(settings.client.token.as_ref(), "client.token")?,
            subscription_tokens: verifier(settings.client.subscription_token.as_ref(), "client.subscription_token")?,
            hooks: Arc::clone(&hooks),
            relay: Arc::clone(relay),
            presence: Arc::clone(&presence),
            connections: Arc::clone(connections),
            limits,
            revocations: Arc::clone(&revocations),
            pulse: Arc::clone(&base.pulse),
            watch: Arc::clone(&watch),
            telemetry: Arc::clone(telemetry),
            strangers: Strangers::default(),
        });
        let sockets = socketio(base, &services).await?;
        let api = Arc::new(Api {
            relay: Arc::clone(relay),
            presence: Arc::clone(&presence),
            backplane: Arc::clone(backplane),
            connections: Arc::clone(connections),
            channels: settings.channel.clone(),
            hooks,
            cluster: cluster.clone(),
            revocations: Arc::clone(&revocations),
            socketio: sockets.clone(),
        });
        let traces = Traces { presence: Arc::clone(&presence), sockets: sockets.clone() };
        cluster.start(Arc::new(traces), Arc::clone(&api) as _, tasks).await?;
        let calls =
            patiently(async || api::requests::serve(&api, tasks).await).await.context("server API over NATS")?;
        obey(base, &api).await?;
        let emulation = emulation(base).await?;
        let readiness = &base.readiness;
        let sockets = match sockets {
            Some(sockets) => Some((sockets, engine(base, &services).await?)),
            None => None,
        };
        let bridge = Bridging::begin(base, &api)?;
        let clients = clients(settings, &edge, &emulation, services, sockets);
        let keeper = keeper(base, &revocations)?;
        let operated = Operated { api, operate: operate(base).await?, watch: Arc::clone(&watch), keeper };
        canary(base);
        let served = served(base, &edge, clients, operated);
        // Revocations were listed since: whoever comes as soon as the address is told is let in.
        if !health.has_changed().unwrap_or(true) && *health.borrow() == Health::Ready {
            readiness.clear(BACKPLANE);
        }
        let watching = readiness.watch(heed(Arc::clone(&edge.admission), cluster.clone(), Arc::clone(telemetry)));
        tasks.run("readiness", watching);
        let following = revocations.follow(changes, health, heed_backplane(Arc::clone(readiness)));
        tasks.run("health of the backplane", following);
        let drain = Drain {
            connections: Arc::clone(connections),
            cluster: cluster.clone(),
            relay: Arc::clone(relay),
            feed: base.feed.clone(),
            admission: Arc::clone(&edge.admission),
            readiness: Arc::clone(readiness),
            telemetry: Arc::clone(telemetry),
            rate: settings.node.drain_rate as f64,
        };
        Ok(Self { served, calls, presence, watch, drain, bridge })
    }
}

/// Begins to do what calls to other nodes ask of this one.
async fn obey(base: &Base, api: &Arc<Api>) -> anyhow::Result<()> {
    let told = patiently(async || base.backplane.broadcast().hear(api::CONTROL).await).await;
    let told = told.context("word from other nodes")?;
    base.tasks.run("word from other nodes", Arc::clone(api).obey(told, Arc::clone(&base.telemetry)));
    Ok(())
}

/// Learns which tokens are revoked; what is revoked from now on can be watched.
async fn know_revoked(base: &Base) -> anyhow::Result<(Arc<Revocations>, Watch)> {
    let Base { settings, backplane, connections, telemetry, .. } = base;
    let keys = [&settings.client.token, &settings.client.subscription_token].map(Option::as_ref).into_iter().flatten();
    let leeway = keys.chain(settings.console.token.as_deref()).map(|keys| keys.leeway).max().unwrap_or_default();
    let (backplane, connections) = (Arc::clone(backplane), Arc::clone(connections));
    let revocations = Revocations::new(backplane, connections, leeway, Arc::clone(telemetry));
    let changes = patiently(async || revocations.watch().await).await.context("revocations of tokens")?;
    let listing = tokio::time::timeout(LOAD_WITHIN, revocations.load_surely(|_| {}));
    listing.await.context("revocations of tokens cannot be listed")?;
    Ok((revocations, changes))
}

/// What sockets share, where Socket.IO has namespaces; begins to hear what other nodes tell them.
async fn socketio(base: &Base, services: &Arc<Services>) -> anyhow::Result<Option<Arc<SocketIo>>> {
    let Base { settings, backplane, cluster, tasks, .. } = base;
    if settings.socketio.namespaces.is_empty() {
        return Ok(None);
    }
    let sockets = SocketIo::new(&settings.socketio, Arc::clone(services), Arc::clone(backplane), cluster.incarnation());
    let wanted = patiently(async || sockets.listen().await).await.context("sessions that other nodes want")?;
    if let Some(wanted) = wanted {
        tasks.run("sessions that other nodes want", Arc::clone(&sockets).give_up_all(wanted));
    }
    tasks.run("sessions of sockets", Arc::clone(&sockets).tend_sessions());
    let told = patiently(async || SocketIo::hear(&**backplane, cluster.name()).await).await;
    tasks.run("word for sockets", Arc::clone(&sockets).obey(told.context("word for sockets")?));
    Ok(Some(sockets))
}

/// The sessions under sockets; begins to answer what other nodes ask about them.
async fn engine(base: &Base, services: &Services) -> anyhow::Result<Arc<Engine>> {
    let Base { settings, backplane, telemetry, tasks, .. } = base;
    let options = engineio::Options {
        ping_interval: settings.socketio.ping_interval,
        ping_timeout: settings.socketio.ping_timeout,
        upgrade_timeout: settings.socketio.upgrade_timeout,
        max_payload: settings.socketio.max_payload,
        bytes_rate: settings.client.bytes_rate,
        queue_max_size: settings.client.queue_max_size,
    };
    let (connections, pulse) = (Arc::clone(&services.connections), Arc::clone(&services.pulse));
    let engine = Engine::new(options, Arc::clone(backplane), connections, pulse, Arc::clone(telemetry));
    let asked = patiently(async || engine.listen().await).await.context("sessions that other nodes ask for")?;
    if let Some(asked) = asked {
        tasks.run("sessions that other nodes ask for", Arc::clone(&engine).answer(asked));
        tasks.run("what is given up of other nodes' sessions", Arc::clone(&engine).tell_given_up());
    }
    Ok(engine)
}

/// Begins to see what operators watch.
async fn watched(base: &Base) -> anyhow::Result<Arc<Lookout>> {
    let Base { settings, backplane, relay, telemetry, tasks, .. } = base;
    let (node, channels) = (settings.node.name.clone(), settings.channel.clone());
    let (watch, seen) = Lookout::new(node, Arc::clone(backplane), Arc::clone(relay), channels, Arc::clone(telemetry));
    let heard = patiently(async || backplane.broadcast().hear(watch::WATCH).await).await.context("what is watched")?;
    tasks.run("what is watched", Arc::clone(&watch).run(heard, seen));
    Ok(watch)
}

/// Begins to look whether what is published is delivered.
fn canary(base: &Base) {
    let Base { settings, backplane, cluster, relay, readiness, telemetry, tasks, .. } = base;
    if !settings.canary.enabled {
        return;
    }
    let (backplane, readiness, telemetry) = (Arc::clone(backplane), Arc::clone(readiness), Arc::clone(telemetry));
    let canary = Canary::new(backplane, cluster.clone(), readiness, settings.canary.clone(), telemetry);
    let ear = Arc::clone(&canary);
    relay.probe(Box::new(move |message| ear.hear(message)));
    tasks.run("delivery canary", canary.run());
}

/// Begins to weigh how large the cluster should be, and to obey those who operate it.
async fn operate(base: &Base) -> anyhow::Result<Arc<Operate>> {
    let Base { settings, backplane, cluster, readiness, telemetry, tasks, .. } = base;
    let (readiness, scaling) = (Arc::clone(readiness), settings.scaling.clone());
    let operate = Operate::new(cluster.clone(), Arc::clone(backplane), readiness, scaling, Arc::clone(telemetry));
    let wishes = patiently(async || operate.watch().await).await.context("the wished size of the cluster")?;
    let orders = patiently(async || operate.watch().await).await.context("orders to drain")?;
    tasks.run("wished size of the cluster", Arc::clone(&operate).follow(wishes));
    tasks.run("orders to drain", Arc::clone(&operate).obey(orders));
    tasks.run("advice on scaling", Arc::clone(&operate).advise());
    Ok(operate)
}

/// Who lets in operators and backends.
fn keeper(base: &Base, revocations: &Arc<Revocations>) -> anyhow::Result<Keeper> {
    let keeper = base.keeper.clone();
    Ok(match verifier(base.settings.console.token.as_deref(), "console.token")? {
        Some(tokens) => keeper.with_operators(tokens, Arc::clone(revocations)),
        None => keeper,
    })
}

fn node_info(settings: &Settings) -> NodeInfo {
    let version = concat!("midplane ", env!("CARGO_PKG_VERSION")).to_owned();
    NodeInfo { name: settings.node.name.clone(), version }
}

fn verifier(keys: Option<&TokenKeys>, section: &'static str) -> anyhow::Result<Option<Verifier>> {
    keys.map(Verifier::new).transpose().context(section)
}

/// In a session's inbox the posts of a few may wait.
async fn emulation(base: &Base) -> anyhow::Result<Arc<Emulation>> {
    let Base { settings, backplane, telemetry, tasks, .. } = base;
    let limit = settings.transports.emulation_body_limit.saturating_mul(4);
    let emulation = Emulation::new(limit, Arc::clone(backplane), Arc::clone(telemetry));
    if let Some(passed_on) =
        patiently(async || emulation.listen().await).await.context("what clients post elsewhere")?
    {
        tasks.run("what clients post elsewhere", Arc::clone(&emulation).take(passed_on));
    }
    Ok(emulation)
}
