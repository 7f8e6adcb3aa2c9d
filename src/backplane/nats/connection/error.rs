//! Why there is no connection, or no answer.

use std::time::Duration;

use async_nats::ConnectErrorKind;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("nats.servers: {0}")]
    Address(std::io::Error),
    #[error("nats credentials: {0}")]
    Credentials(std::io::Error),
    #[error("connect to NATS: {}{}", .0, hint(.0))]
    Connect(#[from] async_nats::ConnectError),
}

impl LinkError {
    /// Whether another attempt can end otherwise without anybody changing a setting.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Address(_) | Self::Credentials(_) => false,
            Self::Connect(error) => !matches!(
                error.kind(),
                ConnectErrorKind::ServerParse
                    | ConnectErrorKind::Authentication
                    | ConnectErrorKind::AuthorizationViolation
                    | ConnectErrorKind::Tls
            ),
        }
    }
}

/// What to look at, where the server says no and not why.
fn hint(error: &async_nats::ConnectError) -> &'static str {
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            " (nats.user and password, token, nkey or credentials are not what the server knows)"
        }
        _ => "",
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Nobody serves the subject: certainly nothing was done.
    #[error("no responders")]
    NoResponders,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke, or was not there; what was sent may have arrived.
    #[error("not connected to NATS")]
    Disconnected,
    #[error("no permission to publish to {0}")]
    Denied(String),
    #[error("{size} bytes, the server takes at most {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("{0}")]
    Broken(String),
}

/// Why JetStream's API did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("an answer that is not JetStream's: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("stream {by} acknowledges what is published to {subject}, in place of stream {stream}")]
    Foreign { subject: String, stream: String, by: String },
}

/// An error as JetStream states it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{description} (code {code}, {err_code})")]
pub struct Refusal {
    pub code: u16,
    #[serde(default)]
    pub err_code: u32,
    #[serde(default)]
    pub description: String,
}

impl Refusal {
    pub const STREAM_NOT_FOUND: u32 = 10_059;
    pub const STREAM_EXISTS: u32 = 10_058;
    pub const NO_MESSAGE: u32 = 10_037;
    pub const WRONG_LAST: u32 = 10_071;
    /// The same while a competing write is under way.
    pub const WRONG_LAST_IN_FLIGHT: u32 = 10_164;
    pub const DUPLICATE_IN_PROCESS: u32 = 10_158;
    pub const MESSAGE_TOO_LARGE: u32 = 10_054;
    pub const HEADERS_TOO_LARGE: u32 = 10_097;
    /// Not enough servers are there to hold a stream: a cluster that starts, or a wish for more than it has.
    pub const NO_PEERS: u32 = 10_005;
    pub const JETSTREAM_NOT_ENABLED: u32 = 10_076;
    pub const JETSTREAM_NOT_ENABLED_FOR_ACCOUNT: u32 = 10_039;
}

impl Refusal {
    /// Whether the same question may be answered otherwise later.
    pub fn is_transient(&self) -> bool {
        matches!(self.code, 408 | 429 | 503) || self.err_code == Self::NO_PEERS
    }
}

impl ApiError {
    /// JetStream's error code, 0 if it was not JetStream that refused.
    pub fn code(&self) -> u32 {
        if let Self::Refused(refusal) = self { refusal.err_code } else { 0 }
    }

    /// Whether one message is more than the server or the stream takes: it stays so, and says nothing of others.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Unanswered(Unanswered::TooLarge { .. }))
            || matches!(self.code(), Refusal::MESSAGE_TOO_LARGE | Refusal::HEADERS_TOO_LARGE)
    }
}

#[derive(Deserialize)]
struct MaybeError {
    error: Option<Refusal>,
}

/// Takes an answer of JetStream apart.
pub fn parse_answer<T: DeserializeOwned>(answer: &[u8]) -> Result<T, ApiError> {
    match serde_json::from_slice::<MaybeError>(answer)?.error {
        Some(refusal) => Err(refusal.into()),
        None => Ok(serde_json::from_slice(answer)?),
    }
}
