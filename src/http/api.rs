//! The server API over HTTP: `POST /api/<method>`, and `POST /api` in the form of older libraries.
//!
//! Answers have status 200, errors too, as Centrifugo's do; only transport error mode turns errors into statuses.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

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

/// Who may call.
#[derive(Clone)]
enum Keeper {
    Everybody,
    Nobody,
    /// Whoever knows the key with this digest. Digests are of one length, so comparing them tells nothing.
    Key([u8; 32]),
}

/// The routes of the server API, none where it is switched off. Bodies may have `body_limit` bytes.
pub fn routes(api: Arc<Api>, settings: &HttpApi, body_limit: usize) -> Router {
    if !settings.enabled {
        return Router::new();
    }
    let edge = Edge { api, transport_errors: settings.transport_errors };
    let routes = Router::new().route("/api", post(call_legacy)).route("/api/{method}", post(call)).with_state(edge);
    guarded(body::whole(routes, body_limit, body::TIMEOUT), settings)
}

/// Lets in whoever has the API key.
pub fn guarded(routes: Router, settings: &HttpApi) -> Router {
    routes.layer(from_fn_with_state(Keeper::new(settings), let_in))
}

impl Keeper {
    fn new(settings: &HttpApi) -> Self {
        match &settings.key {
            _ if settings.insecure => Self::Everybody,
            Some(key) if !key.expose_secret().is_empty() => Self::Key(digest(key.expose_secret())),
            _ => Self::Nobody,
        }
    }

    /// The header `X-API-Key` counts before `Authorization`, and the query before neither.
    fn admits(&self, request: &Request) -> bool {
        let Self::Key(key) = self else { return matches!(self, Self::Everybody) };
        let knows = |given: &str| bool::from(key.ct_eq(&digest(given)));
        in_headers(request.headers()).is_some_and(knows)
            || in_query(request.uri().query()).is_some_and(|key| knows(&key))
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn in_headers(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-api-key").filter(|key| !key.is_empty()) {
        return key.to_str().ok();
    }
    let mut words = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_ascii_whitespace();
    let (scheme, key) = (words.next()?, words.next()?);
    (scheme.eq_ignore_ascii_case("apikey") && words.next().is_none()).then_some(key)
}

fn in_query(query: Option<&str>) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(name, _)| name == "api_key").map(|(_, key)| key.into_owned())
}

async fn let_in(State(keeper): State<Keeper>, request: Request, next: Next) -> Response {
    if keeper.admits(&request) { next.run(request).await } else { StatusCode::UNAUTHORIZED.into_response() }
}

async fn call(State(edge): State<Edge>, Path(method): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let reply = edge.api.call(&method, &body, Source::Http).await;
    let as_status = edge.transport_errors || headers.get(ERROR_MODE).is_some_and(|mode| mode == "transport");
    match reply {
        Reply::Malformed if as_status => json(StatusCode::BAD_REQUEST, ApiError::BadRequest.to_json()),
        Reply::Malformed => malformed(),
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
        Some(replies) => json(StatusCode::OK, replies),
        None => malformed(),
    }
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn malformed() -> Response {
    json(StatusCode::BAD_REQUEST, Reply::Malformed.into_json())
}
