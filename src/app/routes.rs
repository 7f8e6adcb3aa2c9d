//! What is served over HTTP.

use std::sync::Arc;
use std::time::Instant;

use axum::routing::any;

use super::base::Base;
use crate::api::Api;
use crate::emulation::Emulation;
use crate::engineio::Engine;
use crate::http::health::Whose;
use crate::http::limits::{AddressLimit, Turned, cors, rate};
use crate::http::{self, Edge, Keeper, Probes, Refusal};
use crate::lifecycle::Readiness;
use crate::operate::Operate;
use crate::session::{self, Services};
use crate::settings::Settings;
use crate::socketio::{SocketIo, SocketIoLayer};
use crate::telemetry::Telemetry;
use crate::watch::Lookout;

/// Where clients of Socket.IO look for their server.
const SOCKETIO: &str = "/socket.io/";

/// Whoever asks before the backplane is there hears that the node lives, and does not serve yet.
pub(super) fn waiting(
    settings: &Settings,
    keeper: &Keeper,
    readiness: &Arc<Readiness>,
    telemetry: &Arc<Telemetry>,
) -> Served {
    let later = |paths: &[&str]| {
        let refused = || any(|| async { Refusal::Turned(Turned::NotReady) });
        paths.iter().fold(axum::Router::new(), |router, path| router.route(path, refused()))
    };
    let mut clients = vec!["/connection/{transport}", "/emulation"];
    if !settings.socketio.namespaces.is_empty() {
        clients.push(SOCKETIO);
    }
    let mut operators = vec!["/api", "/api/{method}", "/cluster/{what}"];
    if settings.console.enabled {
        operators.extend(["/console", "/console/{*what}"]);
    }
    let probed = || http::health::routes(probes(settings, keeper, readiness));
    let measured = http::health::metrics(telemetry, settings.http.metrics_token.as_ref());
    Served::by(settings, telemetry, probed, vec![later(&clients)], vec![measured, later(&operators)])
}

/// The routes of clients, each transport's.
pub(super) fn clients(
    settings: &Settings,
    edge: &Arc<Edge>,
    emulation: &Arc<Emulation>,
    services: Arc<Services>,
    sockets: Option<(Arc<SocketIo>, Arc<Engine>)>,
) -> axum::Router {
    let socketio = socketio(settings, edge, sockets);
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
        let posts = http::emulation::routes(edge, emulation, transports.emulation_body_limit);
        let [posts] = rate::limited([posts], AddressLimit::Posts, transports.emulation_rate, &edge.proxies);
        streams = streams.merge(posts);
    }
    websockets.merge(cors::shared(streams.merge(socketio).merge(absent(settings)), Arc::clone(&edge.origins)))
}

/// Where transports would be that are switched off: whoever follows a manual there hears which option it is.
fn absent(settings: &Settings) -> axum::Router {
    let transports = &settings.transports;
    let socketio = !settings.socketio.namespaces.is_empty();
    let paths = [
        ("/connection/http_stream", transports.http_stream.enabled, "http_stream.enabled"),
        ("/connection/sse", transports.sse.enabled, "sse.enabled"),
        ("/connection/uni_http_stream", transports.uni_http_stream.enabled, "uni_http_stream.enabled"),
        ("/connection/uni_sse", transports.uni_sse.enabled, "uni_sse.enabled"),
        ("/connection/uni_websocket", transports.uni_websocket.enabled, "uni_websocket.enabled"),
        (SOCKETIO, socketio, "socketio.namespaces"),
        ("/socket.io/{file}", socketio, "socketio.namespaces"),
    ];
    let off = paths.into_iter().filter(|(_, served, _)| !served);
    off.fold(axum::Router::new(), |router, (path, _, option)| router.route(path, any(async || Refusal::Off(option))))
}

/// The route of Socket.IO, where it has namespaces.
fn socketio(settings: &Settings, edge: &Arc<Edge>, sockets: Option<(Arc<SocketIo>, Arc<Engine>)>) -> axum::Router {
    let Some((sockets, engine)) = sockets else { return axum::Router::new() };
    let layer = SocketIoLayer::new(sockets);
    let answers = http::engineio::Answers {
        compress_from: settings.socketio.http_compression_threshold,
        cookie: settings.socketio.cookie.clone(),
    };
    let posts = settings.transports.emulation_rate;
    let routes = http::engineio::routes(SOCKETIO, edge, &engine, &layer, posts, &answers);
    if settings.socketio.serve_client { routes.merge(http::engineio::client::routes(SOCKETIO)) } else { routes }
}

/// What is served to clients, and what to operators and backends where they have a listener of their own.
pub(super) struct Served {
    pub(super) public: axum::Router,
    pub(super) internal: Option<axum::Router>,
}

impl Served {
    /// What is for `operators` stands beside the routes of `clients` only where there is no listener for it. Probes are on
    /// both.
    fn by(
        settings: &Settings,
        telemetry: &Arc<Telemetry>,
        probed: impl Fn() -> axum::Router,
        clients: Vec<axum::Router>,
        operators: Vec<axum::Router>,
    ) -> Self {
        let public = [vec![probed()], clients].concat();
        match settings.http.internal_bind {
            None => Self { public: http::compose([public, operators].concat(), telemetry), internal: None },
            Some(_) => {
                let internal = [vec![probed()], operators].concat();
                let internal = Some(http::compose(internal, telemetry));
                Self { public: http::compose(public, telemetry), internal }
            }
        }
    }
}

/// What operators and backends use.
pub(super) struct Operated {
    pub(super) api: Arc<Api>,
    pub(super) operate: Arc<Operate>,
    pub(super) watch: Arc<Lookout>,
    pub(super) keeper: Keeper,
}

pub(super) fn served(base: &Base, edge: &Edge, clients: axum::Router, operated: Operated) -> Served {
    let Base { settings, readiness, telemetry, .. } = base;
    let Operated { api, operate, watch, keeper } = operated;
    let api = http::api::routes(api, &settings.http_api, &keeper, settings.http.body_limit);
    let operating = http::cluster::routes(&operate, &settings.http_api, &keeper);
    let console = http::console::routes(settings, &keeper, &watch);
    let called = rate::limited([api, operating, console], AddressLimit::Calls, settings.http_api.rate, &edge.proxies);
    let probed = || http::health::routes(probes(settings, &keeper, readiness));
    let mut operators = vec![http::health::metrics(telemetry, settings.http.metrics_token.as_ref())];
    operators.extend(called);
    let mut public = vec![clients];
    if settings.http.demo {
        public.push(http::demo::routes());
    }
    Served::by(settings, telemetry, probed, public, operators)
}

fn probes(settings: &Settings, keeper: &Keeper, readiness: &Arc<Readiness>) -> Probes {
    let readiness = Arc::clone(readiness);
    Probes {
        node: settings.node.name.clone(),
        settings: settings.fingerprint.clone(),
        started: Instant::now(),
        obstacles: Box::new(move || readiness.obstacles()),
        whose: Whose::new(keeper, settings.http.trusted_proxies.clone()),
    }
}
