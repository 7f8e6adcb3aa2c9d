//! Whose turn it is to read a channel's history: one at a time reads, and what it read serves all who wait for the same.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use super::recovery::{CatchUpError, CaughtUp, Refusal};
use crate::protocol::Offset;

/// The turn of one channel.
#[derive(Default)]
pub(super) struct Turn {
    brought: Mutex<Option<Brought>>,
    waiting: AtomicUsize,
}

/// What was read since a position, for those who wait.
struct Brought {
    since: Offset,
    result: Result<CaughtUp, Refusal>,
}

/// It is somebody's turn, until this is dropped.
pub(super) struct Held<'a> {
    brought: MutexGuard<'a, Option<Brought>>,
    waiting: &'a AtomicUsize,
}

/// One who waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Turn {
    /// Waits for the turn.
    pub(super) async fn take(&self) -> Held<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        Held { brought: self.brought.lock().await, waiting: &self.waiting }
    }

    /// Takes the turn if it is nobody's.
    pub(super) fn try_take(&self) -> Option<Held<'_>> {
        let brought = self.brought.try_lock().ok()?;
        Some(Held { brought, waiting: &self.waiting })
    }
}

impl Held<'_> {
    /// What whoever had the turn before read since the same position. It may have grown old meanwhile: who cannot go on
    /// from there reads again.
    pub(super) fn brought(&mut self, since: Offset) -> Option<Result<CaughtUp, Refusal>> {
        let result =
            self.brought.as_ref().filter(|brought| brought.since == since).map(|brought| brought.result.clone());
        if self.waiting.load(Ordering::Acquire) == 0 {
            *self.brought = None;
        }
        result
    }

    /// Leaves what was read to those who wait; nobody else keeps it.
    pub(super) fn leave(&mut self, since: Offset, result: impl FnOnce() -> Option<Result<CaughtUp, Refusal>>) {
        let wanted = self.waiting.load(Ordering::Acquire) > 0;
        *self.brought = wanted.then(result).flatten().map(|result| Brought { since, result });
    }
}

/// What of a reading is good for others: not what they may find otherwise a moment later.
pub(super) fn shared(caught: &Result<CaughtUp, CatchUpError>) -> Option<Result<CaughtUp, Refusal>> {
    match caught {
        Ok(caught) => Some(Ok(caught.clone())),
        Err(CatchUpError::Refused(Refusal::Epoch | Refusal::Ahead) | CatchUpError::Unavailable(_)) => None,
        Err(CatchUpError::Refused(refusal)) => Some(Err(*refusal)),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_was_read_serves_those_who_waited_and_is_kept_for_nobody_else() {
        let turn = Turn::default();
        let mut first = turn.take().await;
        let mut waiting = Box::pin(turn.take());
        assert!((&mut waiting).now_or_never().is_none() && turn.try_take().is_none());
        first.leave(Offset(7), || Some(Err(Refusal::Limit)));
        drop(first);
        let mut second = waiting.await;
        assert!(second.brought(Offset(7)).is_some_and(|brought| brought.is_err()));
        assert!(second.brought(Offset(7)).is_none(), "nobody waits any more");
        second.leave(Offset(7), || Some(Err(Refusal::Limit)));
        assert!(second.brought(Offset(7)).is_none());
    }

    #[tokio::test]
    async fn another_position_is_another_read() {
        let turn = Turn::default();
        let mut first = turn.take().await;
        let mut waiting = Box::pin(turn.take());
        assert!((&mut waiting).now_or_never().is_none());
        first.leave(Offset(7), || Some(Err(Refusal::Limit)));
        drop(first);
        assert!(waiting.await.brought(Offset(8)).is_none());
    }
}
