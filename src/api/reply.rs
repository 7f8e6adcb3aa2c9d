//! What a call is answered.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::debug;

use super::error::ErrorBody;
use super::{Answer, ApiError, Method};

/// The answer to one call.
#[derive(Debug)]
pub enum Reply {
    /// The result of one method, as JSON.
    Result(Box<RawValue>),
    /// The whole answer as JSON: a batch's replies stand in no result.
    Whole(Box<RawValue>),
    Error(ApiError),
    /// The body is not the JSON that the method wants, for this reason.
    Malformed(String),
}

/// An answer as it is written: one of the two.
#[derive(Serialize, Default)]
pub(super) struct Envelope<T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<T>,
}

impl<T> From<Result<T, ApiError>> for Envelope<T> {
    fn from(answer: Result<T, ApiError>) -> Self {
        match answer {
            Ok(result) => Self { error: None, result: Some(result) },
            Err(error) => Self { error: Some(error.body()), result: None },
        }
    }
}

impl Reply {
    /// The JSON that says it all: `{"result":…}`, `{"error":…}`, or a batch's `{"replies":[…]}`.
    #[must_use]
    pub fn into_json(self) -> Bytes {
        match self {
            Self::Result(result) => json(&Envelope::from(Ok(result))),
            Self::Whole(whole) => Box::<str>::from(whole).into_boxed_bytes().into_vec().into(),
            Self::Error(error) => json(&Envelope::<()>::from(Err(error))),
            Self::Malformed(why) => json(&Envelope::<()>::from(Err(ApiError::Invalid(why)))),
        }
    }

    /// Notes what callers did wrong, for whoever looks for it.
    pub(super) fn noted(self, method: Method) -> Self {
        match &self {
            Self::Error(error) => debug!(method = method.name(), code = error.code(), %error, "API call refused"),
            Self::Malformed(why) => debug!(method = method.name(), why, "API call with a malformed body"),
            Self::Result(_) | Self::Whole(_) => {}
        }
        self
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        answer.map_or_else(Self::Error, Self::Result)
    }
}

impl ApiError {
    /// The error alone, as transport error mode writes it: `{"code":…,"message":…}`.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        json(&self.body())
    }
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("an envelope of strings, numbers and JSON can be written").into()
}
