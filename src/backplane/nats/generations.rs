//! The bucket in which each stream's generation stands, the same for all nodes: written under the revision that was read,
//! and made again where somebody deleted it.

use std::sync::Arc;

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;

use super::connection::{API_TIMEOUT, ApiError, Link, Refusal};
use super::get::leader_get;
use super::shared::SharedStream;
use super::streams::{Plan, StreamError, epochs_bucket};
use crate::settings;
use crate::telemetry::{SharedState, Telemetry};

/// The bucket, as this node knows it.
pub struct Generations {
    pub stream: SharedStream,
    /// Where its keys are stored.
    stored: String,
    link: Link,
}

/// What the bucket says of a stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// `None` where it says nothing: each is written before anybody is told an epoch, so it was lost, or the stream is new.
    pub generation: Option<u64>,
    revision: u64,
}

impl Generations {
    pub fn new(options: &settings::Nats, link: Link, telemetry: Arc<Telemetry>) -> Self {
        let stored = format!("$KV.{}.", epochs_bucket(&options.prefix));
        let stream = SharedStream::new(Plan::of_epochs(options), link.clone(), SharedState::Generations, telemetry);
        Self { stream, stored, link }
    }

    /// What stands of a stream now, by the bucket's leader.
    pub async fn read(&self, stream: &str) -> Result<Standing, StreamError> {
        let question = serde_json::json!({ "last_by_subj": format!("{}{stream}", self.stored) });
        match leader_get(&self.link, &self.stream.plan.name, &question).await {
            Ok(found) => Ok(found.map_or_else(Standing::default, |entry| Standing {
                generation: std::str::from_utf8(&entry.stored.data).ok().and_then(|text| text.parse().ok()),
                revision: entry.stored.offset.0,
            })),
            Err(error) if self.stream.restored_after(&error).await.is_some() => Ok(Standing::default()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Writes a stream's generation over what was read; false where that is no longer what stands.
    pub async fn write(&self, stream: &str, generation: u64, over: Standing) -> Result<bool, StreamError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", HeaderValue::from(over.revision));
        let (subject, body) = (format!("{}{stream}", self.stored), Bytes::from(generation.to_string()));
        match self.link.store(&self.stream.plan.name, &subject, Some(headers), body, API_TIMEOUT).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.code(), Refusal::WRONG_LAST | Refusal::WRONG_LAST_IN_FLIGHT) => Ok(false),
            Err(error) if self.stream.restored_after(&error).await.is_some() => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, source: ApiError) -> StreamError {
        StreamError::Api { stream: self.stream.plan.name.clone(), source }
    }
}
