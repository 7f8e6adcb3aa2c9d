//! How deep a stream was since when, recorded beside its generation for all nodes.
//!
//! What a stream keeps of a channel changes with `history_size`, by nodes and by hand. A node that finds less than is
//! recorded records less at once; more only from the sequence on at which it found it. Whoever lowers it records first.
//! Whoever proves something also looks at what the stream keeps at that moment.

use std::time::Duration;

use async_nats::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::debug;

use super::connection::{API_TIMEOUT, ApiError, Link, Refusal};
use super::get::leader_get;
use super::streams::{Info, StreamError};
use crate::backplane::Depths;
use crate::protocol::{Epoch, Offset};

/// A change reaches a stream's copies one by one. So long all of them must have been in touch since it was seen before it
/// counts as made by all.
const SETTLED: Duration = Duration::from_secs(8);

/// What is recorded of one stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Record {
    /// Of another epoch it says nothing.
    epoch: String,
    depths: Depths,
}

impl Record {
    /// What is known of the stream in this life of it.
    pub fn of(self, epoch: &Epoch) -> Depths {
        if self.epoch == epoch.as_str() { self.depths } else { Depths::default() }
    }
}

/// Where the depths of one stream are recorded.
pub struct Ledger {
    bucket: String,
    subject: String,
    /// A depth beyond the recorded one, and since when all copies were in touch that may have it.
    raised: Mutex<Option<(usize, Instant)>>,
}

impl Ledger {
    pub fn new(bucket: &str, stream: &str) -> Self {
        let subject = format!("$KV.{bucket}.{stream}.depth");
        Self { bucket: format!("KV_{bucket}"), subject, raised: Mutex::default() }
    }

    /// What is recorded.
    pub async fn read(&self, link: &Link) -> Result<Record, StreamError> {
        Ok(self.recorded(link).await?.0)
    }

    /// Records that the stream keeps no more than `depth`, before it does so. Of whichever life.
    pub async fn lower(&self, link: &Link, depth: usize) -> Result<(), StreamError> {
        loop {
            let (mut record, revision) = self.recorded(link).await?;
            if record.depths.now() <= depth {
                return Ok(());
            }
            record.depths.lower(depth);
            if self.write(link, &record, revision).await? {
                return Ok(());
            }
        }
    }

    /// Records what the stream's leader says that it keeps. Another node may be faster.
    pub async fn note(&self, link: &Link, epoch: &Epoch, info: &Info) -> Result<(), StreamError> {
        let (record, revision) = self.recorded(link).await?;
        let mut depths = record.of(epoch);
        let (had, keeps) = (depths.now(), info.depth());
        if keeps < had {
            depths.lower(keeps);
        } else if keeps > had && self.is_settled(keeps, info) {
            depths.raise(keeps, Offset(info.state.last_seq));
        } else {
            return Ok(());
        }
        let record = Record { epoch: epoch.as_str().to_owned(), depths };
        let written = self.write(link, &record, revision).await?;
        debug!(self.subject, had, keeps, written, "what the stream keeps of a channel");
        Ok(())
    }

    /// Whether every copy keeps as many.
    fn is_settled(&self, depth: usize, info: &Info) -> bool {
        let mut raised = self.raised.lock();
        if info.state.last_seq == 0 || info.cluster.replicas.is_empty() {
            return true;
        }
        if !info.cluster.lagging().is_empty() {
            *raised = None;
            return false;
        }
        match *raised {
            Some((seen, since)) if seen == depth => since.elapsed() >= SETTLED,
            _ => {
                *raised = Some((depth, Instant::now()));
                false
            }
        }
    }

    /// The record, with the revision under which it stands in the bucket.
    async fn recorded(&self, link: &Link) -> Result<(Record, u64), StreamError> {
        let question = serde_json::json!({ "last_by_subj": self.subject });
        let found = leader_get(link, &self.bucket, &question).await.map_err(|error| self.failed(error))?;
        Ok(found.map_or_else(Default::default, |entry| {
            (serde_json::from_slice(&entry.stored.data).unwrap_or_default(), entry.stored.offset.0)
        }))
    }

    /// Whether nobody else wrote since that revision.
    async fn write(&self, link: &Link, record: &Record, revision: u64) -> Result<bool, StreamError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", HeaderValue::from(revision));
        let body = serde_json::to_vec(record).map_err(|error| self.failed(error.into()))?;
        match link.store(&self.bucket, &self.subject, Some(headers), body.into(), API_TIMEOUT).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.code(), Refusal::WRONG_LAST | Refusal::WRONG_LAST_IN_FLIGHT) => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, source: ApiError) -> StreamError {
        StreamError::Api { stream: self.bucket.clone(), source }
    }
}
