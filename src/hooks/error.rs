//! Why a hook gave no verdict, and why hooks cannot be set up.

use std::time::Duration;

use crate::auth::options::{Unfit, UserTooLong};
use crate::backplane::RequestError;
use crate::protocol::centrifuge::codes::{ClientError, CodeRefused, ErrorCode};
use crate::telemetry::HookResult;

/// Why there is no verdict. For the client it is error 100, temporary: whoever was to decide may be back soon.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// Nobody is to be asked: [`asks`](super::Hooks::asks) says so beforehand.
    #[error("no such hook is configured")]
    NotConfigured,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("nobody serves {0}")]
    NoResponder(String),
    #[error("nobody can be reached: {0}")]
    Unreachable(String),
    /// Only 200 is an answer.
    #[error("answered with status {0}")]
    Status(u16),
    /// The service framework's own way to say that a service failed.
    #[error("the service failed: {0}")]
    Service(String),
    #[error("answered more than {0} bytes")]
    TooLarge(usize),
    #[error("{0} is no JSON object")]
    NoObject(&'static str),
    #[error("the answer has neither result nor error nor disconnect")]
    Undecided,
    #[error("the answer is not what it should be")]
    Answer(#[source] serde_json::Error),
    #[error("the answer is not what it should be")]
    Unfit(#[from] Unfit),
    #[error("the answer is not what it should be")]
    User(#[from] UserTooLong),
    #[error("the answer asks for a code that is not its to give")]
    Code(#[source] CodeRefused),
}

impl HookError {
    pub(super) fn label(&self) -> HookResult {
        match self {
            Self::Timeout(_) => HookResult::Timeout,
            Self::NoResponder(_) => HookResult::NoResponder,
            Self::Unreachable(_) => HookResult::Unreachable,
            Self::NotConfigured
            | Self::Status(_)
            | Self::Service(_)
            | Self::TooLarge(_)
            | Self::NoObject(_)
            | Self::Undecided
            | Self::Answer(_)
            | Self::Unfit(_)
            | Self::User(_)
            | Self::Code(_) => HookResult::BadAnswer,
        }
    }

    /// What the client is told.
    #[must_use]
    pub fn client_error(&self) -> ClientError {
        ErrorCode::Internal.into()
    }
}

impl From<RequestError> for HookError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NoResponder(subject) => Self::NoResponder(subject),
            RequestError::Timeout(within) => Self::Timeout(within),
            RequestError::TooLarge { .. } => Self::Unreachable(error.to_string()),
            RequestError::Unavailable(why) => Self::Unreachable(why),
        }
    }
}

/// Why hooks cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("client for hooks cannot be built")]
    Client(#[source] reqwest::Error),
}
