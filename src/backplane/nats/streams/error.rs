//! Why a stream cannot be used.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::backplane::nats::connection::{ApiError, Refusal};

/// One field that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub field: String,
    pub has: Value,
    pub wants: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, should be {}", self.field, self.shown(&self.has), self.shown(&self.wants))
    }
}

impl Difference {
    /// A value for people: what NATS counts in nanoseconds is a duration.
    fn shown(&self, value: &Value) -> String {
        let is_duration = matches!(&*self.field, "max_age" | "duplicate_window" | "subject_delete_marker_ttl");
        match value.as_u64().filter(|_| is_duration) {
            Some(nanos) => humantime::format_duration(Duration::from_nanos(nanos)).to_string(),
            None => value.to_string(),
        }
    }
}

/// Why a stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("stream {stream} does not fit: {}; {why}", list(differences))]
    Different { stream: String, differences: Vec<Difference>, why: String },
    #[error("stream {stream} does not exist ({why}); provision it with\n  {command}")]
    Missing { stream: String, why: String, command: String },
    #[error(
        "no permission to use {subject}, which stream {stream} needs; allow it, or provision the stream with\n  {command}"
    )]
    Denied { stream: String, subject: String, command: String },
    #[error("JetStream is not enabled on the NATS server, and a cluster needs it (nats-server --jetstream)")]
    NoJetStream,
    #[error("stream {stream}: {source}")]
    Api { stream: String, source: ApiError },
}

impl StreamError {
    /// Whether waiting may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Different { .. } | Self::Missing { .. } | Self::Denied { .. } | Self::NoJetStream => false,
            Self::Api { source, .. } => match source {
                ApiError::Unanswered(_) => true,
                // A server of a cluster may not have heard yet of a stream that was made through another.
                ApiError::Refused(refusal) => refusal.is_transient() || refusal.err_code == Refusal::STREAM_NOT_FOUND,
                ApiError::Malformed(_) | ApiError::Foreign { .. } => false,
            },
        }
    }
}

/// Several of them on one line.
pub fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_told_in_units_that_people_read() {
        let difference = |field: &str, has, wants| Difference { field: field.to_owned(), has, wants }.to_string();
        let hour = 3_600_000_000_000_u64;
        assert_eq!(difference("max_age", json!(hour), json!(720 * hour)), "max_age is 1h, should be 30days");
        assert_eq!(difference("num_replicas", json!(1), json!(3)), "num_replicas is 1, should be 3");
        assert_eq!(difference("max_age", Value::Null, json!(0)), "max_age is null, should be 0s");
    }
}
