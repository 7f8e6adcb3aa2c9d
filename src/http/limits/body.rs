//! How large a request's body may be, and how long it may take.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::LengthLimitError;

use crate::http::refusal::Refusal;

/// How long a body may take to come, whoever sends it.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads every request's body before the routes of `router` see it: at most `limit` bytes within `timeout`.
pub fn whole(router: Router, limit: usize, timeout: Duration) -> Router {
    // axum's own limit of 2 MiB would hold whatever `limit` says.
    router.layer(DefaultBodyLimit::disable()).layer(from_fn(move |request, next| read(request, next, limit, timeout)))
}

async fn read(request: Request, next: Next, limit: usize, timeout: Duration) -> Response {
    let (head, body) = request.into_parts();
    match take(&head, body, limit, timeout).await {
        Ok(whole) => next.run(Request::from_parts(head, Body::from(whole))).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Reads a body: at most `limit` bytes within `timeout`.
///
/// # Errors
/// When it has more, takes longer, or breaks off.
pub async fn take(head: &Parts, body: Body, limit: usize, timeout: Duration) -> Result<Bytes, Refusal> {
    let announced = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    // Who announces too much is not listened to.
    if announced.is_some_and(|length: u64| length > limit as u64) {
        return Err(Refusal::TooLarge { limit });
    }
    match tokio::time::timeout(timeout, to_bytes(body, limit)).await {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(error)) if is_length_limit(&error) => Err(Refusal::TooLarge { limit }),
        Ok(Err(_)) => Err(Refusal::Plain(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => Err(Refusal::Plain(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

fn is_length_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_length_limit)
}
