//! What a client is told that gets no session, or asks for one wrongly.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{HTML, bare};
use crate::engineio::Refused;
use crate::http::refusal::Refusal;

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    UnknownTransport,
    UnknownSession,
    HandshakeMethod,
    BadRequest,
    Forbidden,
    UnsupportedVersion,
    /// There is no place, or it is no WebSocket.
    Turned(Refusal),
    /// Its body is too large, or did not come.
    Body(Refusal),
    /// The session did not take it.
    Session(Refused),
}

impl Fault {
    /// The number and text that the protocol has for it, and the status.
    const fn told(self) -> Option<(u8, &'static str, StatusCode)> {
        match self {
            Self::UnknownTransport => Some((0, "Transport unknown", StatusCode::BAD_REQUEST)),
            Self::UnknownSession => Some((1, "Session ID unknown", StatusCode::BAD_REQUEST)),
            Self::HandshakeMethod => Some((2, "Bad handshake method", StatusCode::BAD_REQUEST)),
            Self::BadRequest => Some((3, "Bad request", StatusCode::BAD_REQUEST)),
            Self::Forbidden => Some((4, "Forbidden", StatusCode::FORBIDDEN)),
            Self::UnsupportedVersion => Some((5, "Unsupported protocol version", StatusCode::BAD_REQUEST)),
            Self::Turned(_) | Self::Body(_) | Self::Session(_) => None,
        }
    }

    /// Whether there is no session that would take such a request.
    pub(super) const fn is_miss(&self) -> bool {
        matches!(self, Self::UnknownSession | Self::BadRequest | Self::Session(Refused::Closed))
    }

    pub(super) fn answer(self, websocket: bool) -> Response {
        let mut response = match (self, self.told()) {
            (_, Some((_, message, _))) if websocket => {
                (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, HTML)], message).into_response()
            }
            (_, Some((code, message, status))) => {
                let told = json!({ "code": code, "message": message }).to_string();
                (status, [(header::CONTENT_TYPE, "application/json")], told).into_response()
            }
            (Self::Turned(refusal), None) => refusal.into_response(),
            (Self::Body(Refusal::TooLarge { .. }), None) => bare(StatusCode::PAYLOAD_TOO_LARGE),
            (_, None) => bare(StatusCode::BAD_REQUEST),
        };
        if self == Self::Forbidden {
            // Counted as what it is.
            response.extensions_mut().insert(Refusal::Origin);
        }
        response
    }
}
