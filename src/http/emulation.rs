//! `/emulation`: what clients on streams have to say, for sessions on any node.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tracing::debug;

use crate::emulation::{Emulation, PostError};
use crate::http::connection::Edge;
use crate::http::limits::body;
use crate::http::refusal::Refusal;
use crate::http::streams::is_protobuf;
use crate::protocol::centrifuge::{EmulationRequest, Encoding};

/// The route. Draining nodes keep it open: sessions elsewhere are none of their trouble, and their own still speak.
pub fn routes(edge: &Arc<Edge>, emulation: &Arc<Emulation>, limit: usize) -> Router {
    let (edge, emulation) = (Arc::clone(edge), Arc::clone(emulation));
    let handler = move |request: Request| {
        let (edge, emulation) = (Arc::clone(&edge), Arc::clone(&emulation));
        async move { post(&edge, &emulation, limit, request).await.unwrap_or_else(IntoResponse::into_response) }
    };
    Router::new().route("/emulation", any(handler))
}

async fn post(edge: &Edge, emulation: &Emulation, limit: usize, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Err(Refusal::MethodNotAllowed);
    }
    if !edge.origins.allow(&head.headers) {
        return Err(Refusal::Origin);
    }
    let encoding = if is_protobuf(&head) { Encoding::Protobuf } else { Encoding::Json };
    let body = body::take(&head, body, limit, body::TIMEOUT).await?;
    let request = EmulationRequest::decode(encoding, &body).map_err(|error| {
        debug!("a post that is none: {error}");
        Refusal::Plain(StatusCode::BAD_REQUEST, "not an emulation request")
    })?;
    match emulation.post(request).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => {
            debug!("a post did not reach its session: {error}");
            Err(refused(&error))
        }
    }
}

/// SDKs connect anew on 404 and on every 5xx.
const fn refused(error: &PostError) -> Refusal {
    let (status, message) = match error {
        PostError::UnknownNode => (StatusCode::NOT_FOUND, "no such node"),
        PostError::UnknownSession => (StatusCode::NOT_FOUND, "no such session"),
        PostError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "the session is busy"),
        PostError::Timeout => (StatusCode::GATEWAY_TIMEOUT, "no answer from the session's node"),
        PostError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "the session's node cannot be reached"),
    };
    Refusal::Plain(status, message)
}
