//! The bucket of epochs: each stream's generation, and how deep it was (`depth`), the same for all nodes. Both are written
//! under the revision that was read, and the bucket is made again where somebody deleted it.

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;

use super::connection::{API_TIMEOUT, ApiError, Link};
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
#[derive(Debug)]
pub struct Standing<T> {
    /// `None` where it says nothing: each is written before anybody is told an epoch, so it was lost, or the stream is new.
    pub value: Option<T>,
    revision: u64,
}

impl<T> Standing<T> {
    const NOTHING: Self = Self { value: None, revision: 0 };
}

impl Generations {
    pub fn new(options: &settings::Nats, link: Link, telemetry: Arc<Telemetry>) -> Self {
        let stored = format!("$KV.{}.", epochs_bucket(&options.prefix));
        let stream = SharedStream::new(Plan::of_epochs(options), link.clone(), SharedState::Generations, telemetry);
        Self { stream, stored, link }
    }

    /// What stands under `key` now, by the bucket's leader.
    pub async fn read<T>(&self, key: &str, parse: fn(&[u8]) -> Option<T>) -> Result<Standing<T>, StreamError> {
        let question = serde_json::json!({ "last_by_subj": format!("{}{key}", self.stored) });
        match leader_get(&self.link, &self.stream.plan.name, &question).await {
            Ok(found) => Ok(found.map_or(Standing::NOTHING, |entry| Standing {
                value: parse(&entry.stored.data),
                revision: entry.stored.offset.0,
            })),
            Err(error) if self.stream.restored_after(&error).await.is_some() => Ok(Standing::NOTHING),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Writes over what was read; false where that is no longer what stands.
    pub async fn write<T>(&self, key: &str, body: Bytes, over: &Standing<T>) -> Result<bool, StreamError> {
        let (stream, subject) = (&self.stream.plan.name, format!("{}{key}", self.stored));
        match self.link.store_over(stream, &subject, over.revision, HeaderMap::new(), body, API_TIMEOUT).await {
            Ok(written) => Ok(written.is_some()),
            Err(error) if self.stream.restored_after(&error).await.is_some() => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, source: ApiError) -> StreamError {
        StreamError::Api { stream: self.stream.plan.name.clone(), source }
    }
}
