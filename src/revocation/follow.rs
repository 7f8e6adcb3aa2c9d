//! Keeps this node's revocations those of all.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use super::Revocations;
use super::record::Record;
use crate::backplane::{Change, RegistryError, SubscribeError, Watch};

/// How often what is over is forgotten.
const SWEEP: Duration = Duration::from_secs(60);
/// Before a list is tried again.
const PAUSE: Duration = Duration::from_millis(200);

impl Revocations {
    /// Asks for all changes from now on. Before [`load`](Self::load), so that none is missed in between.
    ///
    /// # Errors
    /// When the backplane does not accept it.
    pub async fn watch(&self) -> Result<Watch, SubscribeError> {
        self.registry().watch().await
    }

    /// Heeds everything that is recorded by now.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn load(&self) -> Result<(), RegistryError> {
        for entry in self.registry().list().await? {
            match Record::parse(&entry.value) {
                Some(record) => self.take(&entry.key, record, entry.revision),
                None => warn!(key = entry.key, "a revocation that this node does not understand"),
            }
        }
        Ok(())
    }

    /// Heeds changes as they come, for ever.
    pub async fn follow(self: Arc<Self>, mut watch: Watch) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                change = watch.next() => match change {
                    None => return,
                    Some(Change::Missed) => self.load_surely(|_| {}).await,
                    Some(Change::Entry { key, value: None, revision }) => self.bans.write().lift(&key, revision),
                    Some(Change::Entry { key, value: Some(value), revision }) => {
                        if let Some(record) = Record::parse(&value) {
                            self.take(&key, record, revision);
                        }
                    }
                },
                _ = sweep.tick() => self.sweep(),
            }
        }
    }

    /// Loads until it succeeds; `report` hears why it did not.
    pub async fn load_surely(&self, mut report: impl FnMut(RegistryError)) {
        while let Err(error) = self.load().await {
            debug!(%error, "revocations not listed yet");
            report(error);
            sleep(PAUSE).await;
        }
    }

    fn sweep(&self) {
        let mut bans = self.bans.write();
        bans.sweep();
        self.telemetry.clients.revocations.set(bans.len() as f64);
    }
}
