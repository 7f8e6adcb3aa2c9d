//! Ends of sessions that are still to be written: what stands there otherwise stays as long as its node lives, and whoever
//! said goodbye could come back to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::debug;
use uuid::Uuid;

use super::SocketIo;
use super::record::Record;
use super::sessions::{Found, NotWritten};
use crate::backplane::{Guard, RegistryError, Revision};
use crate::telemetry::Unwritten;

/// Ends that wait; those of whoever comes beyond are not written at all.
const MOST: usize = 65_536;
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);

/// The end of a session.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) key: String,
    /// Whoever else has the session by now keeps it.
    pub(super) holder: Uuid,
    /// `None` where nobody knows whether it was written.
    pub(super) revision: Option<Revision>,
    /// What its client may come back to for a time, if it may.
    pub(super) record: Option<Record>,
}

/// What waits, the oldest first.
#[derive(Default)]
pub(super) struct Owed {
    waiting: Mutex<VecDeque<Ending>>,
    filled: Notify,
}

impl Owed {
    pub(super) fn push(&self, shared: &SocketIo, ending: Ending) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < MOST {
            waiting.push_back(ending);
            self.filled.notify_one();
        } else {
            drop(waiting);
            shared.count_unwritten(Unwritten::End, &RegistryError::Unavailable("too many wait".to_owned()));
        }
    }
}

impl SocketIo {
    /// Writes the end of a session, now or later; whether it was still its connection's, as far as that is known.
    pub(super) async fn end(&self, ending: Ending) -> bool {
        match self.write_end(&ending).await {
            Ok(()) | Err(NotWritten::Lost) => true,
            Err(NotWritten::NotOurs) => false,
            Err(NotWritten::Refused(error)) => {
                self.count_unwritten(Unwritten::End, &error);
                true
            }
            Err(NotWritten::Unavailable(error)) => {
                debug!(%error, "the end of a session is not written yet");
                self.owed.push(self, ending);
                true
            }
        }
    }

    async fn write_end(&self, Ending { key, holder, revision, record }: &Ending) -> Result<(), NotWritten> {
        let mut revision = match revision {
            Some(revision) => *revision,
            None => match self.written_for(key, *holder).await? {
                Found::Ours(revision) => revision,
                Found::Others | Found::Nothing => return Err(NotWritten::NotOurs),
            },
        };
        if let Some(record) = record {
            let within = Some(self.within(&record.namespace));
            return self.write_again(key, record, within, revision).await.map(drop);
        }
        loop {
            match self.sessions().delete(key, Guard::Revision(revision)).await {
                Err(RegistryError::Conflict(_)) => revision = self.written_since(key, *holder, revision).await?,
                outcome => return Ok(outcome.map(drop)?),
            }
        }
    }

    /// Writes what is owed, and takes back what others take for left behind, for ever.
    pub async fn tend_sessions(self: Arc<Self>) {
        let mut life = self.life.clone();
        let mut reclaims = false;
        loop {
            let waits = reclaims || !self.owed.waiting.lock().is_empty();
            tokio::select! {
                changed = life.changed() => match changed {
                    Ok(()) => reclaims = true,
                    Err(_) => return,
                },
                () = self.owed.filled.notified(), if !waits => {}
                () = sleep(RETRY), if waits => {}
            }
            if reclaims {
                let reclaimed = self.reclaim().await;
                let all = reclaimed.inspect_err(|error| debug!(%error, "sessions are not reclaimed yet"));
                reclaims = !all.unwrap_or(false);
            }
            self.write_owed().await;
        }
    }

    /// Writes what is owed until it cannot be written now.
    async fn write_owed(&self) {
        loop {
            let Some(ending) = self.owed.waiting.lock().pop_front() else { return };
            match self.write_end(&ending).await {
                Ok(()) | Err(NotWritten::NotOurs | NotWritten::Lost) => {}
                // It stays as it is; the others are written all the same.
                Err(NotWritten::Refused(error)) => self.count_unwritten(Unwritten::End, &error),
                Err(NotWritten::Unavailable(error)) => {
                    debug!(%error, "the end of a session is not written yet");
                    self.owed.waiting.lock().push_front(ending);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Shared;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_end_that_is_refused_for_good_kept_those_after_it_from_being_written() {
        let shared = Shared::new();
        let node = shared.node("ada~1");
        *node.faults.refused_key.lock() = Some("one".to_owned());
        for (key, sid) in [("one", 1), ("two", 2)] {
            let record = node.record(sid);
            shared.write(key, &record).await;
            let ending = Ending { key: key.to_owned(), holder: record.holder, revision: None, record: None };
            node.sockets.owed.push(&node.sockets, ending);
        }
        let tending = tokio::spawn(Arc::clone(&node.sockets).tend_sessions());
        sleep(RETRY * 10).await;
        assert_eq!(shared.read("two").await, None);
        let counted = "midplane_socketio_sessions_unwritten_total{what=\"end\"} 1";
        let metrics = node.telemetry.render();
        assert!(metrics.lines().any(|line| line == counted), "{metrics}");
        tending.abort();
    }
    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_session_that_was_lost_was_taken_for_one_that_another_connection_has() {
        let shared = Shared::new();
        let node = shared.node("ada~1");
        let record = node.record(1);
        let ending = |record: Option<Record>| {
            let (key, holder) = ("one".to_owned(), node.record(1).holder);
            Ending { key, holder, revision: Some(Revision(7)), record }
        };
        assert!(node.sockets.end(ending(None)).await);
        assert!(node.sockets.end(ending(Some(record.clone()))).await);
        assert_eq!(shared.read("one").await, Some(record), "its client may come back all the same");
        assert!(!node.sockets.end(Ending { holder: Uuid::nil(), ..ending(None) }).await, "somebody else has it");
    }
}
