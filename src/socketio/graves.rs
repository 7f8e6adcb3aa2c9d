//! Sessions of lives that are over. Their clients get their time to come back; unless they are here still, of a node that
//! others took for dead.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::SocketIo;
use super::record::Record;
use crate::backplane::{Entry, Guard, RegistryError};

/// How often sessions are looked through for lives that nobody cleaned up after: to read them all is not for nothing.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// Writes that await their acknowledgement at one time.
const IN_FLIGHT: usize = 256;

/// What became of sessions that were to be written over.
struct Rewritten {
    written: usize,
    /// Somebody else wrote them since they were listed.
    overtaken: usize,
}

impl SocketIo {
    /// Gives the clients of a life that is over their time to come back; returns how many there were.
    ///
    /// # Errors
    /// When the sessions cannot be listed, or one of them not be written.
    pub async fn bury(&self, life: &str) -> Result<usize, RegistryError> {
        let mut left = self.list_sessions().await?;
        left.retain(|(_, record)| record.life == life && !record.ended && !self.is_here(record));
        let ended = left.into_iter().map(|(entry, record)| (entry, record.ended()));
        // Of the others the clients were faster.
        let Rewritten { written, .. } = self.write_all(ended.collect()).await?;
        if let Some((_, lives)) = &mut *self.looked.lock() {
            lives.remove(life);
        }
        Ok(written)
    }

    /// Writes anew, for the life that this node has now, what it has of the one that others took for over. Whether that was
    /// all: whoever cleans up after that life may have written meanwhile.
    pub(super) async fn reclaim(&self) -> Result<bool, RegistryError> {
        let life = self.life();
        let mut lost = self.list_sessions().await?;
        lost.retain(|(_, record)| record.life != life && self.is_here(record));
        let anew = |(entry, record)| (entry, Record { life: life.clone(), ended: false, ..record });
        let Rewritten { overtaken, .. } = self.write_all(lost.into_iter().map(anew).collect()).await?;
        Ok(overtaken == 0)
    }

    /// Writes over sessions what they are now, as long as they are still as they were listed.
    async fn write_all(&self, sessions: Vec<(Entry, Record)>) -> Result<Rewritten, RegistryError> {
        let (all, overtaken) = (sessions.len(), AtomicUsize::new(0));
        stream::iter(sessions)
            .map(Ok)
            .try_for_each_concurrent(IN_FLIGHT, async |(entry, record)| {
                let within = record.ended.then(|| self.within(&record.namespace));
                match self.sessions().put(&entry.key, record.to_bytes(), Guard::Revision(entry.revision), within).await
                {
                    Ok(_) => Ok(()),
                    Err(RegistryError::Conflict(_)) => {
                        overtaken.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            })
            .await?;
        let overtaken = overtaken.into_inner();
        Ok(Rewritten { written: all - overtaken, overtaken })
    }

    fn is_here(&self, record: &Record) -> bool {
        record.process == self.process && self.sockets.outbox(&record.namespace, record.sid).is_some()
    }

    /// The lives that have sessions, or had when that was looked at last.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn lives(&self) -> Result<BTreeSet<String>, RegistryError> {
        if let Some((looked, lives)) = &*self.looked.lock()
            && looked.elapsed() < LOOK_EVERY
        {
            return Ok(lives.clone());
        }
        let records = self.list_sessions().await?.into_iter();
        let lives: BTreeSet<_> = records.filter(|(_, record)| !record.ended).map(|(_, record)| record.life).collect();
        *self.looked.lock() = Some((Instant::now(), lives.clone()));
        Ok(lives)
    }

    async fn list_sessions(&self) -> Result<Vec<(Entry, Record)>, RegistryError> {
        if !self.has_sessions() {
            return Ok(Vec::new());
        }
        let entries = self.sessions().list().await?.into_iter();
        Ok(entries.filter_map(|entry| Record::from_bytes(&entry.value).map(|record| (entry, record))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Shared;
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_life_that_left_only_sessions_was_forgotten_before_it_was_taken_for_an_orphan() {
        let shared = Shared::new();
        let (node, gone) = (shared.node("ada~1"), shared.node("bob~1"));
        shared.write("one", &gone.record(1)).await;
        let only = BTreeSet::from(["bob~1".to_owned()]);
        assert_eq!(node.sockets.lives().await.unwrap(), only);
        tokio::time::advance(LOOK_EVERY / 10).await;
        assert_eq!(node.sockets.lives().await.unwrap(), only, "it is there still");
        assert_eq!(node.sockets.bury("bob~1").await.unwrap(), 1);
        assert_eq!(node.sockets.lives().await.unwrap(), BTreeSet::new());
        // A write that hung.
        shared.write("two", &gone.record(2)).await;
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(node.sockets.lives().await.unwrap(), only);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_taken_for_dead_lost_the_sessions_that_its_judge_ended_while_it_wrote_them_anew() {
        let shared = Shared::new();
        let (node, judge) = (shared.node("ada~1"), shared.node("bob~1"));
        let _here = [node.enter(1), node.enter(2)];
        shared.write("one", &node.record(1)).await;
        shared.write("two", &node.record(2)).await;
        node.faults.lists_held.send_replace(true);
        let tending = tokio::spawn(std::sync::Arc::clone(&node.sockets).tend_sessions());
        node.life.send_replace("ada~2".into());
        // The clock stands until everybody waits: what is there has been listed.
        tokio::time::sleep(MOMENT).await;
        assert_eq!(judge.sockets.bury("ada~1").await.unwrap(), 2);
        node.faults.cease();
        tokio::time::sleep(Duration::from_secs(10)).await;
        for (key, sid) in [("one", 1), ("two", 2)] {
            assert_eq!(shared.read(key).await, Some(node.record(sid)), "{key}");
        }
        tending.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_sessions_of_a_dead_node_were_ended_one_after_the_other() {
        let shared = Shared::new();
        let (node, gone) = (shared.node("ada~1"), shared.node("bob~1"));
        for sid in 0..10 {
            shared.write(&sid.to_string(), &gone.record(sid)).await;
        }
        node.faults.writes_held.send_replace(true);
        let sockets = std::sync::Arc::clone(&node.sockets);
        let burying = tokio::spawn(async move { sockets.bury("bob~1").await });
        tokio::time::sleep(MOMENT).await;
        assert_eq!(node.faults.writes_held.receiver_count(), 10, "all are under way");
        node.faults.cease();
        assert_eq!(burying.await.unwrap().unwrap(), 10);
    }
}
