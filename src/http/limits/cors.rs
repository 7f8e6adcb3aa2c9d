//! Lets pages of the allowed origins read what they are answered (the Fetch standard, "CORS protocol").

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::origins::Origins;

/// How long browsers remember what a preflight said, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("300");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, OPTIONS");

/// Answers preflights to the routes of `router`, and marks their answers for pages of `origins`.
pub fn shared(router: Router, origins: Arc<Origins>) -> Router {
    router.layer(from_fn_with_state(origins, around))
}

async fn around(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).filter(|_| origins.allow(request.headers())).cloned();
    let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        preflight(wanted.filter(|_| origin.is_some()))
    } else {
        next.run(request).await
    };
    // Caches must not give one page the answer that another may read.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        allow(response.headers_mut(), origin);
    }
    response
}

fn preflight(wanted: Option<HeaderValue>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if let Some(wanted) = wanted {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    }
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
}
