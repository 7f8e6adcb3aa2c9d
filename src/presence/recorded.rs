//! Which lives of nodes anybody is recorded under.
//!
//! The records are read once, and from then on only what is new of them: so a life is found however late something is
//! written under it, and looking costs as much as has changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Presence;
use super::reading::Reading;
use crate::backplane::{PresenceError, Whose};

/// What was read of it.
#[derive(Default)]
pub(super) struct Recorded(Mutex<Read>);

#[derive(Default)]
struct Read {
    /// Of which records, and how often these had been in doubt before.
    of: Option<(Arc<str>, u64)>,
    /// Up to which revision.
    to: u64,
    /// Those that were seen, until they are cleaned up after: as many as there are nodes, and those that ended lately.
    lives: BTreeSet<String>,
}

impl Recorded {
    /// Nobody is recorded under a life any more.
    pub(super) fn forget(&self, life: &str) {
        self.0.lock().lives.remove(life);
    }

    /// From which revision on is to be read, now that the records are these and reach to `last`.
    fn begin(&self, of: (Arc<str>, u64), last: u64) -> u64 {
        let mut read = self.0.lock();
        if read.of.as_ref() != Some(&of) || last < read.to {
            *read = Read { of: Some(of), ..Read::default() };
        }
        read.to + 1
    }

    fn note(&self, lives: impl Iterator<Item = Arc<str>>, to: u64) {
        let mut read = self.0.lock();
        for life in lives {
            if !read.lives.contains(&*life) {
                read.lives.insert(life.to_string());
            }
        }
        read.to = read.to.max(to);
    }
}

impl Presence {
    /// The lives that somebody is recorded under; some may have been cleaned up after by others since.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn lives(&self) -> Result<BTreeSet<String>, PresenceError> {
        let Ok(records) = self.records() else { return Ok(BTreeSet::new()) };
        let in_doubt = records.doubts().borrow().records;
        let roll = records.roll().await?;
        let from = self.recorded.begin((roll.identity, in_doubt), roll.last);
        let mut reading = Reading::new(records, Whose::Everybody, from, roll.last);
        while let Some(page) = reading.page().await? {
            let there = page.into_iter().filter(|record| record.info.is_some());
            self.recorded.note(there.map(|record| record.occupant.node), reading.to());
        }
        self.recorded.note(std::iter::empty(), roll.last);
        Ok(self.recorded.0.lock().lives.clone())
    }
}
