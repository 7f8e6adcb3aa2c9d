//! What HTTP answers when it does not do what was asked: a status and a small JSON error.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::http::limits::{AddressLimit, Turned};
use crate::socket::Refused;

/// A request that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The origin is not among those allowed.
    Origin,
    /// This address asks too often.
    RateLimited {
        limit: AddressLimit,
        seconds: u64,
    },
    /// No place for another connection, here or now.
    Turned(Turned),
    /// No request for a WebSocket.
    Handshake(Refused),
    /// A body of more than `limit` bytes.
    TooLarge {
        limit: usize,
    },
    NotFound,
    /// What is there once this option says so.
    Off(&'static str),
    MethodNotAllowed,
    Plain(StatusCode, &'static str),
}

impl Refusal {
    /// Seconds after which trying again makes sense.
    fn retry_after(self) -> Option<u64> {
        match self {
            Self::RateLimited { seconds, .. } => Some(seconds),
            Self::Turned(Turned::Full) => Some(5),
            Self::Turned(Turned::Busy) => Some(2),
            // Behind a proxy the next node takes it at once.
            Self::Turned(Turned::NotReady | Turned::Draining) => Some(1),
            _ => None,
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Origin => StatusCode::FORBIDDEN,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Turned(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Handshake(refused) => refused.status(),
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotFound | Self::Off(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Plain(status, _) => status,
        }
    }

    fn message(self) -> Cow<'static, str> {
        let message = match self {
            Self::Handshake(refused) => return refused.to_string().into(),
            Self::Off(option) => return format!("not served here (see {option})").into(),
            Self::Origin => "this origin may not connect (see client.allowed_origins)",
            Self::RateLimited { limit, .. } => limit.message(),
            Self::Turned(Turned::Full) => "no place for another connection",
            Self::Turned(Turned::Busy) => "too many clients connect at this time",
            Self::Turned(Turned::NotReady) => "not ready",
            Self::Turned(Turned::Draining) => "draining",
            Self::TooLarge { .. } => "body too large",
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "method not allowed",
            Self::Plain(_, message) => message,
        };
        message.into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut error = json!({ "code": status.as_u16(), "message": self.message() });
        if let Self::TooLarge { limit } = self {
            error["limit"] = limit.into();
        }
        let mut response = (status, Json(json!({ "error": error }))).into_response();
        response.extensions_mut().insert(self);
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Self::Handshake(_) = self {
            // Belongs into a 426 (RFC 6455, 4.4) and harms in none of the others.
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}
