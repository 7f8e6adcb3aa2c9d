//! Probes: is the process alive, does it serve, what does it measure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::keeper::{Keeper, authorization, digest, is_key};
use super::limits::TrustedProxies;
use super::refusal::Refusal;
use crate::settings::IpNet;
use crate::telemetry::Telemetry;

/// Who may see the metrics.
struct Reader(Option<[u8; 32]>);

impl Reader {
    fn new(token: Option<&SecretString>) -> Self {
        Self(token.map(|token| digest(token.expose_secret())))
    }

    /// `Authorization: Bearer <token>`, where one is asked for.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(expected) = &self.0 else { return true };
        authorization(headers, "bearer").is_some_and(|token| is_key(expected, token))
    }
}

/// What the probes ask.
pub struct Probes {
    /// This node's name.
    pub node: String,
    /// The fingerprint of the settings that it was started with.
    pub settings: String,
    pub started: Instant,
    /// Why this node does not serve; empty when it does.
    pub obstacles: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    pub whose: Whose,
}

/// What the metrics are made of.
struct Metrics {
    telemetry: Arc<Telemetry>,
    reader: Reader,
}

/// Tells who shows the API key which address it is taken for, and with which settings the node was started.
pub struct Whose {
    keeper: Keeper,
    proxies: TrustedProxies,
}

impl Whose {
    #[must_use]
    pub fn new(keeper: &Keeper, proxies: Vec<IpNet>) -> Self {
        Self { keeper: keeper.clone(), proxies: TrustedProxies::new(proxies) }
    }
}

/// `/health` and `/ready`.
pub fn routes(probes: Probes) -> Router {
    Router::new().route("/health", get(health)).route("/ready", get(ready)).with_state(Arc::new(probes))
}

/// `/metrics`, for whoever shows `token` where there is one.
pub fn metrics(telemetry: &Arc<Telemetry>, token: Option<&SecretString>) -> Router {
    let metrics = Metrics { telemetry: Arc::clone(telemetry), reader: Reader::new(token) };
    Router::new().route("/metrics", get(measured)).with_state(Arc::new(metrics))
}

/// Alive, whatever the backplane does: an outage of NATS must not restart every node.
async fn health(
    State(probes): State<Arc<Probes>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let uptime = probes.started.elapsed().as_secs();
    let version = env!("CARGO_PKG_VERSION");
    let mut health = json!({ "status": "ok", "node": probes.node, "version": version, "uptime": uptime });
    if probes.whose.keeper.is_shown_by(&headers) {
        health["client"] = probes.whose.proxies.client(peer.ip(), &headers).to_string().into();
        health["settings"] = probes.settings.as_str().into();
    }
    Json(health).into_response()
}

async fn ready(State(probes): State<Arc<Probes>>) -> Response {
    let obstacles = (probes.obstacles)();
    let ready = obstacles.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "node": probes.node, "reasons": obstacles }))).into_response()
}

async fn measured(State(metrics): State<Arc<Metrics>>, headers: HeaderMap) -> Response {
    if !metrics.reader.admits(&headers) {
        return (
            [(header::WWW_AUTHENTICATE, "Bearer")],
            Refusal::Plain(StatusCode::UNAUTHORIZED, "a token is asked for"),
        )
            .into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.telemetry.render()).into_response()
}
