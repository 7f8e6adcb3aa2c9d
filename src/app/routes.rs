//! What is served over HTTP.

use std::sync::Arc;
use std::time::Instant;

use axum::routing::any;

use crate::api::Api;
use crate::emulation::Emulation;
use crate::http::limits::{AddressLimit, Turned, cors, rate};
use crate::http::{self, Edge, Probes, Refusal};
use crate::lifecycle::Readiness;
use crate::operate::Operate;
use crate::session::{self, Services};
use crate::settings::Settings;
use crate::telemetry::Telemetry;

/// Whoever asks before the backplane is there hears that the node lives, and does not serve yet.
pub(super) fn waiting(settings: &Settings, readiness: &Arc<Readiness>, telemetry: &Arc<Telemetry>) -> axum::Router {
    let refused = || any(|| async { Refusal::Turned(Turned::NotReady) });
    http::compose([http::health::routes(probes(settings, readiness, telemetry))], telemetry)
        .route("/connection/{transport}", refused())
        .route("/emulation", refused())
}

/// The routes of clients, each transport's.
pub(super) fn clients(
    settings: &Settings,
    edge: &Arc<Edge>,
    emulation: &Arc<Emulation>,
    services: Arc<Services>,
) -> axum::Router {
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
    websockets.merge(cors::shared(streams, Arc::clone(&edge.origins)))
}

pub(super) fn router(
    settings: &Settings,
    edge: &Edge,
    clients: axum::Router,
    (api, operate): (Arc<Api>, &Arc<Operate>),
    readiness: &Arc<Readiness>,
    telemetry: &Arc<Telemetry>,
) -> axum::Router {
    let api = http::api::routes(api, &settings.http_api, settings.http.body_limit);
    let operating = http::cluster::routes(operate, &settings.http_api);
    let console = http::console::routes(settings);
    let called = rate::limited([api, operating, console], AddressLimit::Calls, settings.http_api.rate, &edge.proxies);
    let mut routes = vec![http::health::routes(probes(settings, readiness, telemetry)), clients];
    routes.extend(called);
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
