//! Probes: is the process alive, does it serve, what does it measure.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::telemetry::Telemetry;

/// What the probes ask.
pub struct Probes {
    /// This node's name.
    pub node: String,
    pub started: Instant,
    /// Why this node does not serve; empty when it does.
    pub obstacles: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    pub telemetry: Arc<Telemetry>,
}

/// `/health`, `/ready` and `/metrics`.
pub fn routes(probes: Probes) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(probes))
}

/// Alive, whatever the backplane does: an outage of NATS must not restart every node.
async fn health(State(probes): State<Arc<Probes>>) -> Response {
    let uptime = probes.started.elapsed().as_secs();
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({ "status": "ok", "node": probes.node, "version": version, "uptime": uptime })).into_response()
}

async fn ready(State(probes): State<Arc<Probes>>) -> Response {
    let obstacles = (probes.obstacles)();
    let ready = obstacles.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "node": probes.node, "reasons": obstacles }))).into_response()
}

async fn metrics(State(probes): State<Arc<Probes>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], probes.telemetry.render()).into_response()
}
