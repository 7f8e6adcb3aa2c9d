//! What operators ask over HTTP: how the cluster is, for everybody who reaches the port, unless the key is asked for there too;
//! what changes it, for who has the API key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::json::{read, refused};
use super::keeper::Keeper;
use super::limits::body;
use crate::operate::{DrainError, Operate, Scale, ScaleError};
use crate::settings::HttpApi;

/// How large a body may be.
const BODY_LIMIT: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Drain {
    server_id: String,
    #[serde(default)]
    force: bool,
}

/// The routes; those that change something only where the server API is switched on.
pub fn routes(operate: &Arc<Operate>, api: &HttpApi, keeper: &Keeper) -> Router {
    let told = Router::new()
        .route("/cluster/status", get(async |State(operate): State<Arc<Operate>>| Json(operate.status())))
        .route("/cluster/metrics", get(async |State(operate): State<Arc<Operate>>| Json(operate.cluster_metrics())))
        .route("/cluster/nodes", get(nodes))
        .route("/api/stats", get(async |State(operate): State<Arc<Operate>>| Json(operate.stats())))
        .with_state(Arc::clone(operate));
    let told = if api.guard_cluster { keeper.guard(told) } else { told };
    if !api.enabled {
        return told;
    }
    let done = Router::new()
        .route("/cluster/scale", post(scale))
        .route("/cluster/drain", post(drain))
        .with_state(Arc::clone(operate));
    told.merge(keeper.guard(body::whole(done, BODY_LIMIT, body::TIMEOUT)))
}

async fn nodes(State(operate): State<Arc<Operate>>) -> Response {
    Json(json!({ "nodes": operate.nodes() })).into_response()
}

async fn scale(State(operate): State<Arc<Operate>>, body: Bytes) -> Response {
    let scale: Scale = match read(&body) {
        Ok(scale) => scale,
        Err(refused) => return *refused,
    };
    // To its end, whether or not somebody still waits for the answer.
    let scaling = tokio::spawn(async move { operate.scale(scale).await });
    let scaled = scaling.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    match scaled {
        Ok(scaled) => (StatusCode::ACCEPTED, Json(scaled)).into_response(),
        Err(error) => {
            let status = match error {
                ScaleError::Contradiction(_) | ScaleError::OutOfBounds { .. } => StatusCode::BAD_REQUEST,
                ScaleError::Registry(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            refused(status, error.to_string())
        }
    }
}

async fn drain(State(operate): State<Arc<Operate>>, body: Bytes) -> Response {
    let Drain { server_id, force } = match read(&body) {
        Ok(drain) => drain,
        Err(refused) => return *refused,
    };
    match operate.drain(&server_id, force).await {
        Ok(()) => (StatusCode::ACCEPTED, Json(json!({ "serverId": server_id, "status": "draining" }))).into_response(),
        Err(error) => {
            let status = match error {
                DrainError::Unknown(_) => StatusCode::NOT_FOUND,
                DrainError::Last(_) | DrainError::AllLeave { .. } => StatusCode::CONFLICT,
                DrainError::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
                DrainError::Unrecorded(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            refused(status, error.to_string())
        }
    }
}
