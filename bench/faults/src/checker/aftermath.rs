//! A rollback of all stores, and the time after it.
//!
//! A node that had seen nothing of what the stores lost cannot know that they lost something before one that had seen it
//! proves it, which takes that one a connection and a write. Until then new messages come under the old epoch. Clients that
//! got some are told afterwards: they start over, in another epoch. Where that happens within this time it is no lie. What
//! was stored before the copy was taken is in it, and judged as ever.

use crate::journal::{Entry, Line, Manifest};
use crate::plan::Fault;

/// A cold start of the servers, an election, and reconnects, on a busy machine.
const LASTS: u64 = 30_000_000;
/// What was stored so shortly before may not be in the copy: servers write to the disk a moment later.
const FLUSHED_WITHIN: u64 = 1_000_000;

/// From when on what is stored may be lost, and when the rollback was over, if there was one.
#[derive(Debug, Clone, Copy)]
pub struct Aftermath(Option<(u64, u64)>);

impl Aftermath {
    pub fn of(manifest: &Manifest, lines: &[Line]) -> Self {
        let Some(step) = manifest.steps.iter().position(|step| step.fault == Fault::RollBack) else {
            return Self(None);
        };
        let began = lines.iter().find(|line| matches!(line.entry, Entry::FaultBegan { index, .. } if index == step));
        let ended = lines.iter().find(|line| matches!(line.entry, Entry::FaultEnded { index } if index == step));
        // Where it is not known when, nothing is known of anything.
        let began = began.map_or(0, |line| line.at.saturating_sub(FLUSHED_WITHIN));
        Self(Some((began, ended.map_or(began, |line| line.at))))
    }

    /// Up to when everything that was stored stays stored.
    pub fn begins(self) -> u64 {
        self.0.map_or(u64::MAX, |(began, _)| began)
    }

    /// Whether it was so at this time. The fault ends once all servers were started anew: they may serve before.
    pub fn covers(self, at: u64) -> bool {
        self.0.is_some_and(|(began, ended)| at >= began && at <= ended + LASTS)
    }
}
