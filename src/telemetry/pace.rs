//! Log lines that must not flood: what goes wrong a thousand times a second is told every ten seconds, or more rarely.

use std::marker::PhantomData;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::labels::Label;

/// The shortest time between two lines, unless another is asked for.
const EVERY: Duration = Duration::from_secs(10);

/// When a line that repeats itself may be written again.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    state: Mutex<State>,
}

impl Default for Pace {
    fn default() -> Self {
        Self::every(EVERY)
    }
}

/// A pace for each of a closed set of causes, so that none hides another.
#[derive(Debug)]
pub struct Paces<L> {
    paces: Box<[Pace]>,
    causes: PhantomData<L>,
}

impl<L: Label> Default for Paces<L> {
    fn default() -> Self {
        Self { paces: L::ALL.iter().map(|_| Pace::default()).collect(), causes: PhantomData }
    }
}

impl<L: Label> Paces<L> {
    #[must_use]
    pub fn of(&self, cause: L) -> &Pace {
        &self.paces[cause.index()]
    }
}

#[derive(Debug, Default)]
struct State {
    /// When the trouble began that is not over, and when a line told of it last.
    since: Option<Instant>,
    told: Option<Instant>,
    left_out: u64,
}

impl Pace {
    /// With so much time between two lines at least.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self { every, state: Mutex::default() }
    }

    /// Whether the line may be written now; then it holds how many were left out since the last one.
    pub fn due(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.since.get_or_insert(now);
        if state.told.is_some_and(|told| now - told < self.every) {
            state.left_out += 1;
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }

    /// The trouble is over: how long it lasted, where a line told of it. The next one is told at once.
    pub fn over(&self) -> Option<Duration> {
        std::mem::take(&mut *self.state.lock()).since.map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::Verdict;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_cause_hides_another() {
        let paces = Paces::default();
        for verdict in [Verdict::Signature, Verdict::Audience, Verdict::Revoked] {
            assert_eq!((paces.of(verdict).due(), paces.of(verdict).due()), (Some(0), None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_comes_at_once_and_then_every_ten_seconds() {
        let pace = Pace::default();
        assert_eq!(pace.due(), Some(0));
        assert_eq!((pace.due(), pace.due()), (None, None));
        tokio::time::advance(EVERY).await;
        assert_eq!(pace.due(), Some(2));
        assert_eq!(pace.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_told_once_and_begins_anew() {
        let pace = Pace::default();
        assert_eq!(pace.over(), None);
        pace.due();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(pace.over(), Some(Duration::from_secs(3)));
        assert_eq!(pace.over(), None);
        assert_eq!(pace.due(), Some(0));
    }
}
