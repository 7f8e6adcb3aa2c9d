//! A stream in which nodes keep what they share. Somebody may delete it under them: it is made again then, and each node
//! learns that what it held is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing::warn;

use super::connection::{ApiError, Link};
use super::streams::{Info, Plan, StreamError};
use crate::telemetry::{SharedState, Telemetry};

/// One of them, as this node knows it.
pub struct SharedStream {
    pub plan: Plan,
    link: Link,
    holds: SharedState,
    /// When the one that this node knows was created. Another time says that everything in it was lost.
    created: Mutex<Option<String>>,
    /// The last sequence that its leader spoke of.
    last: AtomicU64,
    /// One at a time makes it again.
    restoring: tokio::sync::Mutex<()>,
    telemetry: Arc<Telemetry>,
}

/// Whether a stream is the one that was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Same,
    /// It is the same, and was altered: what it should have told meanwhile may not have come.
    PutRight,
    /// It was lost, and begun anew.
    Anew,
}

impl SharedStream {
    pub fn new(plan: Plan, link: Link, holds: SharedState, telemetry: Arc<Telemetry>) -> Self {
        let (created, last, restoring) = Default::default();
        Self { plan, link, holds, created, last, restoring, telemetry }
    }

    /// The last sequence that its leader spoke of.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Makes it exist as planned.
    pub async fn ensure(&self) -> Result<Found, StreamError> {
        Ok(self.compare(&self.plan.ensure(&self.link).await?))
    }

    /// Looks whether it is there and the same, and makes it again where it is gone.
    pub async fn look(&self) -> Result<Found, ApiError> {
        match self.plan.info(&self.link).await {
            Ok(info) => {
                let found = self.compare(&info);
                let put_right = self.plan.put_right(&self.link, &info, &self.telemetry).await;
                Ok(if put_right && found == Found::Same { Found::PutRight } else { found })
            }
            Err(error) => self.restored_after(&error).await.ok_or(error),
        }
    }

    /// What it is now, where `error` came of its being gone and it could be made again.
    pub async fn restored_after(&self, error: &ApiError) -> Option<Found> {
        let _alone = self.restoring.lock().await;
        Some(self.compare(&self.plan.restore_if_gone(&self.link, error).await?))
    }

    fn compare(&self, info: &Info) -> Found {
        self.plan.compare(info, &self.telemetry);
        self.last.store(info.state.last_seq, Ordering::Relaxed);
        let before = self.created.lock().replace(info.created.clone());
        if before.is_none_or(|before| before == info.created) {
            return Found::Same;
        }
        warn!(
            stream = self.plan.name,
            "the stream is another one: what it held is lost, and nodes write again what they know"
        );
        self.telemetry.backplane.losses.of(self.holds).increment(1);
        Found::Anew
    }
}
