//! Waiting for reasons to doubt what is known of the records.

use tokio::sync::watch;

use crate::backplane::{Doubts, Presences};

/// Reasons of one kind.
pub(super) struct Doubting {
    doubts: watch::Receiver<Doubts>,
    of: fn(&Doubts) -> u64,
    known: u64,
}

impl Doubting {
    /// Those from now on.
    pub(super) fn begin(records: &dyn Presences, of: fn(&Doubts) -> u64) -> Self {
        let mut doubts = records.doubts();
        let known = of(&doubts.borrow_and_update());
        Self { doubts, of, known }
    }

    /// Returns once there is another reason; `None` once there never will be. Cancelled, it has missed none.
    pub(super) async fn again(&mut self) -> Option<()> {
        let (of, known) = (self.of, self.known);
        self.known = of(&*self.doubts.wait_for(|doubts| of(doubts) != known).await.ok()?);
        Some(())
    }
}
