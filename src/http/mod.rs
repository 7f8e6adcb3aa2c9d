//! The HTTP edge: the server, its limits, the handshake that leads to a session, probes. What other rooms serve over
//! HTTP is merged in by the composition root. No other room but `socket` sees an HTTP type of a connection.

pub mod api;
pub mod cluster;
pub mod connection;
pub mod console;
pub mod demo;
pub mod emulation;
pub mod engineio;
mod files;
mod gzip;
pub mod health;
mod json;
pub mod keeper;
pub mod limits;
mod observe;
mod places;
pub mod refusal;
pub mod server;
pub mod streams;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

pub use connection::Edge;
pub use health::Probes;
pub use keeper::Keeper;
pub use refusal::Refusal;
pub use server::{Bounds, Server};

use crate::telemetry::Telemetry;
use observe::Observed;

/// Everything that is served, with what every answer has in common.
pub fn compose(routes: impl IntoIterator<Item = Router>, telemetry: &Arc<Telemetry>) -> Router {
    routes
        .into_iter()
        .fold(Router::new(), Router::merge)
        .fallback(|| async { Refusal::NotFound })
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed })
        .layer(from_fn_with_state(Arc::clone(telemetry), around))
}

/// Around every request. One layer for all of it: each costs every handshake an allocation or two.
async fn around(State(telemetry): State<Arc<Telemetry>>, request: Request, next: Next) -> Response {
    let observed = Observed::of(&request);
    let mut response = next.run(request).await;
    secure(&mut response);
    observed.count(&telemetry.http, &response);
    response
}

/// Adds the security headers that a route has not set itself.
fn secure(response: &mut Response) {
    const HEADERS: [(HeaderName, HeaderValue); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    // Nobody would heed them on a socket.
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        for (name, value) in HEADERS {
            response.headers_mut().entry(name).or_insert(value);
        }
    }
}
