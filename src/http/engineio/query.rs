//! What a request's query says.

use axum::http::Uri;
use url::form_urlencoded;

/// What a client wants to be carried by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Polling,
    WebSocket,
}

/// The protocol's own part of a query. What the application adds, and what only makes a request unlike the last, is left.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) transport: Option<Carrier>,
    pub(super) sid: Option<String>,
    pub(super) version_is_4: bool,
}

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "transport" => {
                    query.transport = match &*value {
                        "polling" => Some(Carrier::Polling),
                        "websocket" => Some(Carrier::WebSocket),
                        _ => None,
                    };
                }
                "sid" if !value.is_empty() => query.sid = Some(value.into_owned()),
                "EIO" => query.version_is_4 = value == "4",
                _ => {}
            }
        }
        query
    }
}
