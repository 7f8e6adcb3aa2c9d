//! Removing what a life has left behind. Who wrote the verdict does it; a debt in the entry says so until it is done, so
//! that another can take it on.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::{Duration, sleep, timeout};
use tracing::{debug, info, warn};

use super::Shared;
use super::entry::{Entry, incarnation_id};
use crate::backplane::{Guard, RegistryError};
use crate::telemetry::Reaping;

/// Between two attempts at a debt.
const RETRY: Duration = Duration::from_secs(1);

/// Removes the traces of lives that ended.
#[async_trait]
pub trait Reap: Send + Sync {
    /// Removes what the life `incarnation` (`<name>~<number>`) left behind. It may be called again for the same life, after
    /// a failure and by another node.
    ///
    /// # Errors
    /// When something may be left; it is tried again.
    async fn reap(&self, incarnation: &str) -> Result<(), ReapError>;
}

/// Why something may be left.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReapError(pub String);

impl Shared {
    /// Pays the debts that this node has taken on, one after the other.
    pub(super) async fn reap_all(self: Arc<Self>) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let id = Arc::clone(&*self.incarnation.borrow());
            let debts = self.view.lock().debts_of(&id);
            let mut failed = false;
            for (name, incarnation) in debts {
                failed |= !self.reap_one(&name, incarnation, &id).await;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep(RETRY), if failed => {}
            }
        }
    }

    /// Whether the debt is paid.
    async fn reap_one(&self, name: &str, incarnation: u64, id: &str) -> bool {
        let Some(reap) = self.reap.get() else { return false };
        let over = incarnation_id(name, incarnation);
        let outcome = timeout(self.timing.reaping, reap.reap(&over)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(ReapError("it takes too long".to_owned())));
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
            self.changed(|view| view.apply(entry, found.revision, tokio::time::Instant::now()));
            return Ok(());
        }
        self.write(&entry, Guard::Revision(found.revision)).await?;
        Ok(())
    }
}
