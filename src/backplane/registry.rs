//! Small state that all nodes share: the last value of each key, written under guards, with a watch that says when it may
//! have missed something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::SubscribeError;
use crate::settings::Namespaces;

/// Changes that wait for one watcher; one that is slower lists again.
const WAITING: usize = 1024;

/// What a registry is for; each has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// The nodes of the cluster.
    Nodes,
    /// Tokens that are refused although nothing is wrong with them.
    Revocations,
    /// How large somebody wants the cluster, who is to drain, and who is its bridge.
    Scaling,
    /// Sessions of Socket.IO that clients may come back to. Nobody watches it.
    Sessions,
}

impl Bucket {
    pub const ALL: [Self; 4] = [Self::Nodes, Self::Revocations, Self::Scaling, Self::Sessions];

    /// Those that nodes with these namespaces share, in the order of [`ALL`](Self::ALL): without namespaces that are
    /// delivered in one order nobody comes back to a session.
    pub fn wanted(namespaces: &Namespaces) -> impl Iterator<Item = Self> + use<> {
        let sessions = namespaces.ordered().next().is_some();
        Self::ALL.into_iter().filter(move |bucket| *bucket != Self::Sessions || sessions)
    }

    /// Whether nodes hear of its changes.
    #[must_use]
    pub const fn is_watched(self) -> bool {
        !matches!(self, Self::Sessions)
    }

    /// As it stands in names of buckets and subjects.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Revocations => "revocations",
            Self::Scaling => "scaling",
            Self::Sessions => "sessions",
        }
    }
}

/// The state of one write: higher than that of every earlier write to the same bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What must hold for a write to take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    Any,
    /// The key has no value: it never had, or that was deleted or has expired.
    Absent,
    /// The key's value is still the one of this revision.
    Revision(Revision),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
    pub revision: Revision,
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key has a value, or (`None`) none any more. Changes of one key come in the order of their revisions, but
    /// they may be older than what was read or listed meanwhile.
    Entry { key: String, value: Option<Bytes>, revision: Revision },
    /// Changes may be missing: list again.
    Missed,
    /// Everything was lost, and revisions begin anew: whoever knows what was written writes it again, and lists.
    Lost,
}

/// Bytes of a key.
const LONGEST_KEY: usize = 200;

/// Refuses what cannot be a key.
pub(super) fn check_key(key: &str) -> Result<(), RegistryError> {
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(RegistryError::Refused(format!("a key of {} bytes", key.len())));
    }
    Ok(())
}

/// Reads and writes the keys of one bucket. Keys are any text of 1 to 200 bytes.
#[async_trait]
pub trait Registry: Send + Sync {
    /// The value of `key`, never stale.
    async fn get(&self, key: &str) -> Result<Option<Entry>, RegistryError>;

    /// Every key that has a value; what was written before the call is in it.
    async fn list(&self) -> Result<Vec<Entry>, RegistryError>;

    /// Writes if `guard` holds; with `ttl` (whole seconds, 1 at least) the value goes by itself unless it is written again
    /// before.
    async fn put(
        &self,
        key: &str,
        value: Bytes,
        guard: Guard,
        ttl: Option<Duration>,
    ) -> Result<Revision, RegistryError>;

    /// Takes the value away if `guard` holds; also where there is none.
    async fn delete(&self, key: &str, guard: Guard) -> Result<Revision, RegistryError>;

    /// Changes from now on.
    async fn watch(&self) -> Result<Watch, SubscribeError>;
}

/// Why a registry did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The guard did not hold: somebody else wrote. Certainly nothing was written.
    #[error("somebody else wrote {0:?} meanwhile")]
    Conflict(String),
    /// A write that ends so may have taken place all the same.
    #[error("registry unavailable: {0}")]
    Unavailable(String),
    #[error("registry refused: {0}")]
    Refused(String),
}

/// One watcher's changes.
pub struct Watch {
    changes: mpsc::Receiver<Change>,
    missed: Arc<Missed>,
}

#[derive(Default)]
struct Missed {
    some: AtomicBool,
    everything: AtomicBool,
    told: Notify,
}

/// The other end of a [`Watch`].
pub(super) struct Watcher {
    changes: mpsc::Sender<Change>,
    missed: Arc<Missed>,
}

impl Watch {
    pub(super) fn open() -> (Watcher, Self) {
        let (sender, changes) = mpsc::channel(WAITING);
        let missed = Arc::new(Missed::default());
        (Watcher { changes: sender, missed: Arc::clone(&missed) }, Self { changes, missed })
    }

    /// Whatever was missed so far is of no interest: what is listed from here on has it. That everything was lost is told
    /// all the same.
    pub fn begin_list(&self) {
        self.missed.some.store(false, Ordering::Release);
    }

    /// The next change; `None` once the backplane is closed. May be cancelled without losing one.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            if self.missed.everything.swap(false, Ordering::AcqRel) {
                self.missed.some.store(false, Ordering::Release);
                return Some(Change::Lost);
            }
            if self.missed.some.swap(false, Ordering::AcqRel) {
                return Some(Change::Missed);
            }
            tokio::select! {
                biased;
                () = self.missed.told.notified() => {}
                change = self.changes.recv() => return change,
            }
        }
    }
}

impl Watcher {
    /// Tells of a change, or that one was missed; false when nobody watches any more.
    pub(super) fn tell(&self, change: Change) -> bool {
        match change {
            Change::Missed => self.miss(),
            Change::Lost => {
                self.missed.everything.store(true, Ordering::Release);
                self.missed.told.notify_one();
            }
            Change::Entry { .. } => match self.changes.try_send(change) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(_)) => self.miss(),
            },
        }
        !self.changes.is_closed()
    }

    fn miss(&self) {
        self.missed.some.store(true, Ordering::Release);
        self.missed.told.notify_one();
    }
}

/// The watchers of one bucket.
#[derive(Default)]
pub(super) struct Watchers(parking_lot::Mutex<Vec<Watcher>>);

impl Watchers {
    pub(super) fn open(&self) -> Watch {
        let (watcher, watch) = Watch::open();
        self.0.lock().push(watcher);
        watch
    }

    pub(super) fn tell(&self, change: &Change) {
        self.0.lock().retain(|watcher| watcher.tell(change.clone()));
    }

    /// Ends every watch.
    pub(super) fn close(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64) -> Change {
        Change::Entry { key: "a".to_owned(), value: None, revision: Revision(revision) }
    }

    #[tokio::test]
    async fn a_watcher_that_is_too_slow_is_told_to_list_again() {
        let watchers = Watchers::default();
        let mut watch = watchers.open();
        for revision in 0..WAITING as u64 + 1 {
            watchers.tell(&change(revision));
        }
        assert_eq!(watch.next().await, Some(Change::Missed));
        assert_eq!(watch.next().await, Some(change(0)));
    }

    #[tokio::test]
    async fn what_was_missed_before_a_list_is_not_told_after_it() {
        let watchers = Watchers::default();
        let mut watch = watchers.open();
        watchers.tell(&Change::Missed);
        watch.begin_list();
        watchers.tell(&change(1));
        assert_eq!(watch.next().await, Some(change(1)));
        watchers.tell(&Change::Missed);
        assert_eq!(watch.next().await, Some(Change::Missed));
    }

    #[tokio::test]
    async fn that_everything_was_lost_is_told_once_and_is_more_than_that_something_was_missed() {
        let watchers = Watchers::default();
        let mut watch = watchers.open();
        watchers.tell(&Change::Missed);
        watchers.tell(&Change::Lost);
        watchers.tell(&Change::Lost);
        watch.begin_list();
        watchers.tell(&change(1));
        assert_eq!(watch.next().await, Some(Change::Lost));
        assert_eq!(watch.next().await, Some(change(1)));
    }

    #[tokio::test]
    async fn a_loss_is_told_to_a_watcher_that_waits() {
        let watchers = Watchers::default();
        let mut watch = watchers.open();
        let waiting = tokio::spawn(async move { watch.next().await });
        tokio::task::yield_now().await;
        watchers.tell(&Change::Missed);
        assert_eq!(waiting.await.unwrap(), Some(Change::Missed));
    }

    #[tokio::test]
    async fn who_watches_no_more_is_forgotten() {
        let watchers = Watchers::default();
        drop(watchers.open());
        watchers.tell(&change(1));
        assert!(watchers.0.lock().is_empty());
    }
}
