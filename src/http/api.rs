//! The server API over HTTP: `POST /api/<method>`, and `POST /api` in the form of older libraries.
//!
//! Answers have status 200, errors too, as Centrifugo's do; only transport error mode turns errors into statuses.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;

use super::keeper::Keeper;
use super::limits::body;
use crate::api::{Api, ApiError, Reply};
use crate::settings::HttpApi;
use crate::telemetry::Source;

/// `transport` asks for errors as HTTP statuses.
const ERROR_MODE: &str = "x-centrifugo-error-mode";

/// What the handlers know.
#[derive(Clone)]
struct Edge {
    api: Arc<Api>,
    transport_errors: bool,
}

/// The routes of the server API, none where it is switched off. Bodies may have `body_limit` bytes.
pub fn routes(api: Arc<Api>, settings: &HttpApi, keeper: &Keeper, body_limit: usize) -> Router {
    if !settings.enabled {
        return Router::new();
    }
    let edge = Edge { api, transport_errors: settings.transport_errors };
    let routes = Router::new().route("/api", post(call_legacy)).route("/api/{method}", post(call)).with_state(edge);
    keeper.guard(body::whole(routes, body_limit, body::TIMEOUT))
}

async fn call(State(edge): State<Edge>, Path(method): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let reply = edge.api.call(&method, &body, Source::Http).await;
    let as_status = edge.transport_errors || headers.get(ERROR_MODE).is_some_and(|mode| mode == "transport");
    match reply {
        Reply::Malformed(why) if as_status => json(StatusCode::BAD_REQUEST, ApiError::Invalid(why).to_json()),
        Reply::Malformed(_) => json(StatusCode::BAD_REQUEST, reply.into_json()),
        Reply::Error(error) if as_status => {
            let status = StatusCode::from_u16(error.status()).expect("the table holds statuses");
            json(status, error.to_json())
        }
        // Nobody would look for a misspelt method in the body of a 200.
        Reply::Error(ApiError::NotFound) if crate::api::Method::parse(&method).is_none() => {
            json(StatusCode::NOT_FOUND, Reply::Error(ApiError::NotFound).into_json())
        }
        reply => json(StatusCode::OK, reply.into_json()),
    }
}

async fn call_legacy(State(edge): State<Edge>, body: Bytes) -> Response {
    match edge.api.call_legacy(&body, Source::Http).await {
        Ok(replies) => json(StatusCode::OK, replies),
        Err(error) => json(StatusCode::BAD_REQUEST, Reply::Error(error).into_json()),
    }
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
