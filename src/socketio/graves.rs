//! Sessions of lives that are over. Their clients get their time to come back; unless they are here still, of a node that
//! others took for dead.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::SocketIo;
use super::record::Record;
use crate::backplane::{Entry, Guard, RegistryError};

/// How often sessions are looked through for lives that nobody cleaned up after: to read them all is not for nothing.
const LOOK_EVERY: Duration = Duration::from_secs(600);

impl SocketIo {
    /// Gives the clients of a life that is over their time to come back; returns how many there were.
    ///
    /// # Errors
    /// When the sessions cannot be listed, or one of them not be written.
    pub async fn bury(&self, life: &str) -> Result<usize, RegistryError> {
        let mut buried = 0;
        for (entry, record) in self.list_sessions().await? {
            if record.life != life || record.ended || self.is_here(&record) {
                continue;
            }
            let within = self.within(&record.namespace);
            let value = record.ended().to_bytes();
            match self.sessions().put(&entry.key, value, Guard::Revision(entry.revision), Some(within)).await {
                Ok(_) => buried += 1,
                // Its client was faster.
                Err(RegistryError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(buried)
    }

    /// Writes anew, for the life that this node has now, what it has of the one that others took for over.
    pub(super) async fn reclaim(&self) -> Result<(), RegistryError> {
        let life = self.life();
        for (entry, record) in self.list_sessions().await? {
            if record.life == life || !self.is_here(&record) {
                continue;
            }
            let value = Record { life: life.clone(), ended: false, ..record }.to_bytes();
            match self.sessions().put(&entry.key, value, Guard::Revision(entry.revision), None).await {
                // Its connection wrote meanwhile, for the new life.
                Ok(_) | Err(RegistryError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_here(&self, record: &Record) -> bool {
        record.process == self.process && self.sockets.outbox(&record.namespace, record.sid).is_some()
    }

    /// The lives that have sessions; none at all where that was asked a moment ago.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn lives(&self) -> Result<BTreeSet<String>, RegistryError> {
        if self.looked.lock().is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(BTreeSet::new());
        }
        let records = self.list_sessions().await?;
        *self.looked.lock() = Some(Instant::now());
        Ok(records.into_iter().filter(|(_, record)| !record.ended).map(|(_, record)| record.life).collect())
    }

    async fn list_sessions(&self) -> Result<Vec<(Entry, Record)>, RegistryError> {
        if !self.has_sessions() {
            return Ok(Vec::new());
        }
        let entries = self.sessions().list().await?.into_iter();
        Ok(entries.filter_map(|entry| Record::from_bytes(&entry.value).map(|record| (entry, record))).collect())
    }
}
