//! What somebody in the cluster watches: wanted for a while, and again for as long as it is watched.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::sighting::{Sighting, Subject};

/// How long something is wanted after somebody has said so.
const LEASE: Duration = Duration::from_secs(15);
/// Things that are watched at one time in the whole cluster; what comes beyond waits until others end.
const MOST: usize = 1024;

/// What is wanted, and until when.
#[derive(Default)]
pub(super) struct Leases {
    any: AtomicBool,
    until: Mutex<HashMap<Subject, Instant>>,
}

impl Leases {
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub(super) fn grant(&self, subject: Subject) {
        let mut until = self.until.lock();
        if until.len() < MOST || until.contains_key(&subject) {
            until.insert(subject, Instant::now() + LEASE);
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// Whether somebody wants to know.
    pub(super) fn want(&self, sighting: &Sighting) -> bool {
        let until = self.until.lock();
        sighting.subjects().any(|subject| until.contains_key(&subject))
    }

    /// Forgets what nobody wants any more.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut until = self.until.lock();
        until.retain(|_, until| *until > now);
        self.any.store(!until.is_empty(), Ordering::Relaxed);
    }
}
