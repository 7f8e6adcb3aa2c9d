//! What can go wrong with a call: Centrifugo's numbers and texts, and behind those what is wrong.
//!
//! Source: `internal/apiproto/errors.go` of `centrifugal/centrifugo`. Texts differ from those of the client protocol.

use serde::Serialize;

use super::command::Malformed;
use crate::cluster::SurveyError;
use crate::protocol::centrifuge::codes::ClientError;

/// Why a call brought no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The backplane could not do it; trying again may help.
    #[error("internal server error")]
    Internal,
    /// The backplane is away: nothing was published. Centrifugo's number for what a server cannot do, and our words.
    #[error("backplane unavailable: {0}")]
    Unavailable(String),
    /// The publication may or may not be stored.
    #[error("outcome unknown, retry with the same idempotency_key")]
    OutcomeUnknown,
    /// The channel's namespace is not configured.
    #[error("unknown channel: no namespace {0:?}")]
    UnknownChannel(String),
    /// No such method, in this API or among the services.
    #[error("not found")]
    NotFound,
    /// A field is missing or makes no sense: which, and why.
    #[error("bad request: {0}")]
    Invalid(String),
    /// Over NATS. Asking for less may help, or asking over HTTP.
    #[error("the answer of {size} bytes is larger than NATS carries ({limit})")]
    AnswerTooLarge { size: usize, limit: usize },
    /// There is no room for more of it.
    #[error("{0}")]
    TooMany(String),
    /// Switched off, by this option, or not here at all.
    #[error("not available: {0}")]
    NotAvailable(String),
    /// The position is of another epoch.
    #[error("unrecoverable position")]
    UnrecoverablePosition,
    /// Not all nodes have answered.
    #[error("{0}")]
    Survey(SurveyError),
    /// What a service answered an `rpc` with.
    #[error("{}", .0.message())]
    Service(ClientError),
}

impl ApiError {
    /// The number that callers see.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Internal | Self::Unavailable(_) | Self::OutcomeUnknown => 100,
            Self::UnknownChannel(_) => 102,
            Self::NotFound => 104,
            Self::AnswerTooLarge { .. } | Self::TooMany(_) | Self::Survey(SurveyError::TooLarge) => 106,
            Self::Invalid(_) => 107,
            Self::NotAvailable(_) => 108,
            Self::UnrecoverablePosition => 112,
            Self::Survey(_) => 100,
            Self::Service(error) => error.code(),
        }
    }

    /// The HTTP status in transport error mode.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Internal | Self::Unavailable(_) | Self::OutcomeUnknown | Self::Service(_) => 500,
            Self::UnknownChannel(_) | Self::NotFound => 404,
            Self::Survey(SurveyError::TooLarge) => 400,
            Self::Survey(_) => 500,
            Self::Invalid(_) | Self::AnswerTooLarge { .. } | Self::TooMany(_) | Self::NotAvailable(_) => 400,
            Self::UnrecoverablePosition => 416,
        }
    }

    pub(super) fn body(&self) -> ErrorBody {
        ErrorBody { code: self.code(), message: self.to_string() }
    }
}

impl From<Malformed> for ApiError {
    fn from(Malformed(why): Malformed) -> Self {
        Self::Invalid(why)
    }
}

/// An error as it is written.
#[derive(Debug, Serialize)]
pub(super) struct ErrorBody {
    code: u32,
    message: String,
}
