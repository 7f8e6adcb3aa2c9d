//! Lets a bounded number of something go on at a time, and a bounded number wait for it: what a storm brings beyond that is
//! turned away, and comes again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// One thing that is bounded.
pub struct Turnstile {
    inside: Semaphore,
    waiting: AtomicUsize,
    /// How many may wait, and how long each.
    room: usize,
    patience: Duration,
}

/// Why somebody is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TurnedAway {
    #[error("too many wait already")]
    Full,
    #[error("it took too long")]
    Late,
}

/// One who waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Turnstile {
    /// `at_once` may be inside, and `room` wait, each for at most `patience`.
    #[must_use]
    pub const fn new(at_once: usize, room: usize, patience: Duration) -> Self {
        // More than it takes is more than there is memory for.
        let at_once = if at_once > Semaphore::MAX_PERMITS { Semaphore::MAX_PERMITS } else { at_once };
        Self { inside: Semaphore::const_new(at_once), waiting: AtomicUsize::new(0), room, patience }
    }

    /// Goes in, in the order of coming, until the permit is dropped.
    ///
    /// # Errors
    /// When too many wait already, or it takes too long.
    pub async fn enter(&self) -> Result<SemaphorePermit<'_>, TurnedAway> {
        if let Ok(permit) = self.inside.try_acquire() {
            return Ok(permit);
        }
        let one_more = |waiting: usize| (waiting < self.room).then_some(waiting + 1);
        if self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            return Err(TurnedAway::Full);
        }
        let _waiting = Waiting(&self.waiting);
        match timeout(self.patience, self.inside.acquire()).await {
            Ok(permit) => Ok(permit.expect("it is never closed")),
            Err(_) => Err(TurnedAway::Late),
        }
    }

    /// Whether nobody more may wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Acquire) >= self.room && self.inside.available_permits() == 0
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_are_inside_or_wait_than_may() {
        let turnstile = Turnstile::new(1, 2, Duration::from_secs(1));
        let inside = turnstile.enter().await.unwrap();
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(turnstile.enter())).collect();
        assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        assert!(turnstile.is_full());
        assert_eq!(turnstile.enter().await.unwrap_err(), TurnedAway::Full);
        drop(inside);
        let next = waiting.remove(0).await.unwrap();
        assert!(!turnstile.is_full(), "there is room to wait again");
        assert_eq!(waiting.remove(0).await.unwrap_err(), TurnedAway::Late);
        drop(next);
        assert!(turnstile.enter().await.is_ok());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_makes_room() {
        let turnstile = Turnstile::new(1, 1, Duration::from_secs(1));
        let _inside = turnstile.enter().await.unwrap();
        let mut waiting = Box::pin(turnstile.enter());
        assert!((&mut waiting).now_or_never().is_none() && turnstile.is_full());
        drop(waiting);
        assert!(!turnstile.is_full());
    }
}
