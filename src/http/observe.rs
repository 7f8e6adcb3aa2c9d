//! Counts every request by what it was for and how it ended.

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use tokio::time::Instant;

use crate::http::limits::Turned;
use crate::http::refusal::Refusal;
use crate::telemetry::{self, Rejection, Route, StatusClass};

/// A request under way.
pub(super) struct Observed {
    route: Route,
    method: telemetry::Method,
    begun: Instant,
}

impl Observed {
    pub(super) fn of(request: &Request) -> Self {
        let method = match *request.method() {
            Method::GET => telemetry::Method::Get,
            Method::POST => telemetry::Method::Post,
            _ => telemetry::Method::Other,
        };
        Self { route: route(request.uri().path()), method, begun: Instant::now() }
    }

    /// Counts how it ended.
    pub(super) fn count(self, http: &telemetry::Http, response: &Response) {
        let Self { route, method, begun } = self;
        http.requests.of((route, method, class(response.status()))).increment(1);
        // What became a connection has a duration of its own.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            http.request_duration.of(route).record(begun.elapsed());
        }
        if let Some(refusal) = response.extensions().get::<Refusal>() {
            count(http, route, *refusal);
        }
    }
}

fn count(http: &telemetry::Http, route: Route, refusal: Refusal) {
    let rejection = match refusal {
        Refusal::Origin => Rejection::Origin,
        Refusal::RateLimited { limit, .. } => {
            http.rate_limited.of(limit.scope()).increment(1);
            Rejection::RateLimit
        }
        Refusal::Turned(Turned::Full) => Rejection::Capacity,
        Refusal::Turned(Turned::Busy) => Rejection::Busy,
        Refusal::Turned(Turned::NotReady) => Rejection::NotReady,
        Refusal::Turned(Turned::Draining) => Rejection::Draining,
        Refusal::Handshake(_) => Rejection::BadRequest,
        Refusal::TooLarge { .. }
        | Refusal::NotFound
        | Refusal::Off(_)
        | Refusal::MethodNotAllowed
        | Refusal::Plain(..) => return,
    };
    if matches!(route, Route::Connection | Route::SocketIo) {
        http.handshakes_rejected.of(rejection).increment(1);
    }
}

fn route(path: &str) -> Route {
    match path.split('/').nth(1).unwrap_or_default() {
        "connection" => Route::Connection,
        "socket.io" => Route::SocketIo,
        "emulation" => Route::Emulation,
        "api" => Route::Api,
        "cluster" => Route::Cluster,
        "health" => Route::Health,
        "ready" => Route::Ready,
        "metrics" => Route::Metrics,
        "" | "demo" => Route::Demo,
        "console" => Route::Console,
        _ => Route::Other,
    }
}

fn class(status: StatusCode) -> StatusClass {
    match status.as_u16() {
        0..=199 => StatusClass::Informational,
        200..=299 => StatusClass::Success,
        300..=399 => StatusClass::Redirection,
        400..=499 => StatusClass::ClientError,
        500.. => StatusClass::ServerError,
    }
}
