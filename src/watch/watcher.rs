//! Who watches on this node.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::sighting::{Sighting, Subject};

/// Who may watch on one node at one time.
const MOST: usize = 32;
/// What waits for one of them.
const WAITING: usize = 256;

/// What a watcher is told.
#[derive(Debug)]
pub(super) enum Told {
    Seen(Box<Sighting>),
    /// So many sightings found no room on their way.
    Missed(u64),
}

/// Everybody who watches on this node.
#[derive(Default)]
pub(super) struct Watchers(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    next: u64,
    watchers: HashMap<u64, Watcher>,
}

struct Watcher {
    subject: Subject,
    inbox: mpsc::Sender<Told>,
    missed: u64,
}

/// One who watches; no longer once it is dropped.
pub(super) struct Watching {
    known: Arc<Mutex<Known>>,
    key: u64,
    pub(super) told: mpsc::Receiver<Told>,
}

impl Watchers {
    /// One more, unless there are enough.
    pub(super) fn enter(&self, subject: Subject) -> Option<Watching> {
        let mut known = self.0.lock();
        if known.watchers.len() >= MOST {
            return None;
        }
        let (inbox, told) = mpsc::channel(WAITING);
        let key = known.next;
        known.next += 1;
        known.watchers.insert(key, Watcher { subject, inbox, missed: 0 });
        Some(Watching { known: Arc::clone(&self.0), key, told })
    }

    /// Gives each what concerns it, and tells all that so many were missed.
    pub(super) fn pass_on(&self, seen: &[Sighting], missed: u64) {
        let mut known = self.0.lock();
        if known.watchers.is_empty() {
            return;
        }
        for watcher in known.watchers.values_mut() {
            watcher.missed += missed;
            watcher.own_up();
        }
        for sighting in seen {
            for subject in sighting.subjects() {
                for watcher in known.watchers.values_mut().filter(|watcher| watcher.subject == subject) {
                    watcher.tell(sighting);
                }
            }
        }
    }
}

impl Watcher {
    fn tell(&mut self, sighting: &Sighting) {
        self.own_up();
        if self.missed > 0 || self.inbox.try_send(Told::Seen(Box::new(sighting.clone()))).is_err() {
            self.missed += 1;
        }
    }

    /// Says what it has missed, as soon as there is room for that.
    fn own_up(&mut self) {
        if self.missed > 0 && self.inbox.try_send(Told::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.known.lock().watchers.remove(&self.key);
    }
}
