//! The time after a rollback of all stores.
//!
//! A node that had seen nothing of what the stores lost cannot know that they lost something before one that had seen it
//! proves it, which takes that one a connection and a write. Until then new messages come under the old epoch. Clients that
//! got some are told afterwards: they start over, in another epoch. Where that happens within this time it is no lie.

use crate::journal::{Entry, Line, Manifest};
use crate::plan::Fault;

/// A cold start of the servers, an election, and reconnects, on a busy machine.
const LASTS: u64 = 30_000_000;

/// When it began, if stores were rolled back.
#[derive(Debug, Clone, Copy)]
pub struct Aftermath(Option<u64>);

impl Aftermath {
    pub fn of(manifest: &Manifest, lines: &[Line]) -> Self {
        let is_rollback = |index: &usize| manifest.steps.get(*index).is_some_and(|step| step.fault == Fault::RollBack);
        let ended = |line: &Line| match &line.entry {
            Entry::FaultEnded { index } if is_rollback(index) => Some(line.at),
            _ => None,
        };
        Self(lines.iter().find_map(ended))
    }

    /// Whether it was so at this time. The fault ends once all servers were started anew: they may serve before.
    pub fn covers(self, at: u64) -> bool {
        self.0.is_some_and(|ended| at + LASTS >= ended && at <= ended + LASTS)
    }
}
