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
struct Waiting<'a>(&'a Turn);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let was_last = self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1;
        // Who gave up while it was nobody's turn; otherwise whoever has it sees to it.
        if was_last && let Ok(mut brought) = self.0.brought.try_lock() {
            *brought = None;
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.waiting.load(Ordering::Acquire) == 0 {
            *self.brought = None;
        }
    }
}

impl Turn {
    /// Waits for the turn.
    pub(super) async fn take(&self) -> Held<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(self);
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
    pub(super) fn brought(&self, since: Offset) -> Option<Result<CaughtUp, Refusal>> {
        self.brought.as_ref().filter(|brought| brought.since == since).map(|brought| brought.result.clone())
    }

    /// Leaves what was read to those who wait; nobody else keeps it.
    pub(super) fn leave(&mut self, since: Offset, result: impl FnOnce() -> Option<Result<CaughtUp, Refusal>>) {
        let wanted = self.waiting.load(Ordering::Acquire) > 0;
        *self.brought = wanted.then(result).flatten().map(|result| Brought { since, result });
    }
}

/// What of a reading is good for others: not what they may find otherwise a moment later, and not that it was too much for
/// one of them.
pub(super) fn shared(caught: &Result<CaughtUp, CatchUpError>) -> Option<Result<CaughtUp, Refusal>> {
    match caught {
        Ok(caught) => Some(Ok(caught.clone())),
        Err(CatchUpError::Refused(Refusal::Epoch | Refusal::Ahead | Refusal::Limit) | CatchUpError::Unavailable(_)) => {
            None
        }
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
        first.leave(Offset(7), || Some(Err(Refusal::Trimmed)));
        drop(first);
        let mut second = waiting.await;
        assert!(second.brought(Offset(7)).is_some_and(|brought| brought.is_err()));
        second.leave(Offset(7), || Some(Err(Refusal::Trimmed)));
        drop(second);
        assert!(turn.take().await.brought(Offset(7)).is_none(), "nobody waited");
    }

    #[tokio::test]
    async fn what_nobody_asks_for_after_all_is_let_go_of() {
        let turn = Turn::default();
        let mut first = turn.take().await;
        let (mut one, mut other) = (Box::pin(turn.take()), Box::pin(turn.take()));
        assert!((&mut one).now_or_never().is_none() && (&mut other).now_or_never().is_none());
        first.leave(Offset(7), || Some(Err(Refusal::Trimmed)));
        drop(first);
        drop(one.await);
        assert!(turn.brought.try_lock().is_err(), "the other's turn");
        drop(other);
        assert!(turn.brought.try_lock().unwrap().is_none());
    }

    #[test]
    fn what_is_too_much_for_one_is_not_for_all() {
        assert!(shared(&Err(Refusal::Limit.into())).is_none());
        assert!(matches!(shared(&Err(Refusal::Trimmed.into())), Some(Err(Refusal::Trimmed))));
    }

    #[tokio::test]
    async fn another_position_is_another_read() {
        let turn = Turn::default();
        let mut first = turn.take().await;
        let mut waiting = Box::pin(turn.take());
        assert!((&mut waiting).now_or_never().is_none());
        first.leave(Offset(7), || Some(Err(Refusal::Trimmed)));
        drop(first);
        assert!(waiting.await.brought(Offset(8)).is_none());
    }
}
