//! Removing what a life has left behind. Who wrote the verdict does it; a debt in the entry says so until it is done, so
//! that another can take it on.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::Shared;
use super::entry::{Entry, incarnation_id};
use crate::backplane::{Guard, RegistryError};
use crate::telemetry::Reaping;

/// Between two attempts at a debt.
const RETRY: Duration = Duration::from_secs(1);
/// What this node wrote under a life of its own that is over is applied by then: only after it is there all to be removed.
const IN_FLIGHT: Duration = Duration::from_secs(5);

/// Removes the traces of lives that ended.
#[async_trait]
pub trait Reap: Send + Sync {
    /// Removes what the life `incarnation` (`<name>~<number>`) left behind; returns how much that was. It may be called
    /// again for the same life, after a failure and by another node.
    ///
    /// # Errors
    /// When something may be left; it is tried again.
    async fn reap(&self, incarnation: &str) -> Result<usize, ReapError>;

    /// The lives that may have left something, those that go on among them. Asked now and then by one node.
    ///
    /// # Errors
    /// When they cannot be listed now.
    async fn lives(&self) -> Result<BTreeSet<String>, ReapError>;
}

/// Why something may be left.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReapError(pub String);

impl ReapError {
    pub(super) fn slow() -> Self {
        Self("it takes too long".to_owned())
    }
}

impl Shared {
    /// Pays the debts that this node has taken on, one after the other.
    pub(super) async fn reap_all(self: Arc<Self>) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let id = Arc::clone(&*self.incarnation.borrow());
            let debts = self.view.lock().debts_of(&id);
            let mut again: Option<Instant> = None;
            for (name, incarnation) in debts {
                let due = self.not_before(&name).filter(|due| Instant::now() < *due);
                if due.is_none() && self.reap_one(&name, incarnation, &id).await {
                    continue;
                }
                let later = due.unwrap_or_else(|| Instant::now() + RETRY);
                again = Some(again.map_or(later, |again| again.min(later)));
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
            }
        }
    }

    /// From when on the traces of a node's lives may be removed: this one's own may still be on their way.
    fn not_before(&self, name: &str) -> Option<Instant> {
        let reborn = self.life.lock().reborn_at.filter(|_| name == self.name);
        reborn.map(|reborn| reborn + IN_FLIGHT)
    }

    /// Whether the debt is paid.
    async fn reap_one(&self, name: &str, incarnation: u64, id: &str) -> bool {
        let Some(reap) = self.reap.get() else { return false };
        let over = incarnation_id(name, incarnation);
        let outcome = timeout(self.timing.reaping, reap.reap(&over)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(ReapError::slow()));
        if let Err(error) = outcome {
            warn!(node = %over, %error, "traces of a node not removed yet");
            self.telemetry.cluster.reaps.of(Reaping::Failed).increment(1);
            return false;
        }
        match self.settle(name, incarnation, id).await {
            Ok(()) => {
                info!(node = %over, "traces of a node removed");
                self.telemetry.cluster.reaps.of(Reaping::Done).increment(1);
                true
            }
            Err(error) => {
                debug!(node = %over, %error, "a debt is paid but not settled");
                false
            }
        }
    }

    /// Strikes out a debt that is paid.
    async fn settle(&self, name: &str, incarnation: u64, id: &str) -> Result<(), RegistryError> {
        let Some(found) = self.registry().get(name).await? else { return Ok(()) };
        let Some(mut entry) = Entry::from_bytes(&found.value) else { return Ok(()) };
        let before = entry.debts.len();
        entry.debts.retain(|debt| debt.incarnation != incarnation || debt.reaper.as_deref() != Some(id));
        if entry.debts.len() == before {
            self.changed(|view| view.apply(entry, found.revision, Instant::now()));
            return Ok(());
        }
        self.write(&entry, Guard::Revision(found.revision)).await?;
        Ok(())
    }
}
