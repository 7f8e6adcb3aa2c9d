//! How deep a stream was since when, recorded beside its generation for all nodes.
//!
//! What a stream keeps of a channel changes with `history_size`, by nodes and by hand. A node that finds less than is
//! recorded records less at once; more only from the sequence on at which it found it. Whoever lowers it records first.
//! Whoever proves something also looks at what the stream keeps at that moment.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::debug;

use super::generations::{Generations, Standing};
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

    fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts and numbers are JSON").into()
    }
}

/// Where the depths of one stream are recorded.
pub struct Ledger {
    /// In the bucket of epochs.
    key: String,
    /// A depth beyond the recorded one, and since when all copies were in touch that may have it.
    raised: Mutex<Option<(usize, Instant)>>,
}

impl Ledger {
    pub fn new(stream: &str) -> Self {
        Self { key: format!("{stream}.depth"), raised: Mutex::default() }
    }

    /// What is recorded.
    pub async fn read(&self, bucket: &Generations) -> Result<Record, StreamError> {
        Ok(self.standing(bucket).await?.value.unwrap_or_default())
    }

    /// Records that the stream keeps no more than `depth`, before it does so. Of whichever life.
    pub async fn lower(&self, bucket: &Generations, depth: usize) -> Result<(), StreamError> {
        loop {
            let mut standing = self.standing(bucket).await?;
            let mut record = standing.value.take().unwrap_or_default();
            if record.depths.now() <= depth {
                return Ok(());
            }
            record.depths.lower(depth);
            if bucket.write(&self.key, record.to_bytes(), &standing).await? {
                return Ok(());
            }
        }
    }

    /// Records what the stream's leader says that it keeps. Another node may be faster.
    pub async fn note(&self, bucket: &Generations, epoch: &Epoch, info: &Info) -> Result<(), StreamError> {
        let mut standing = self.standing(bucket).await?;
        let mut depths = standing.value.take().unwrap_or_default().of(epoch);
        let (had, keeps) = (depths.now(), info.depth());
        if keeps < had {
            depths.lower(keeps);
        } else if keeps > had && self.is_settled(keeps, info) {
            depths.raise(keeps, Offset(info.state.last_seq));
        } else {
            return Ok(());
        }
        let record = Record { epoch: epoch.as_str().to_owned(), depths };
        let written = bucket.write(&self.key, record.to_bytes(), &standing).await?;
        debug!(self.key, had, keeps, written, "what the stream keeps of a channel");
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

    async fn standing(&self, bucket: &Generations) -> Result<Standing<Record>, StreamError> {
        bucket.read(&self.key, |data| serde_json::from_slice(data).ok()).await
    }
}
