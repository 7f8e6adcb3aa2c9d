//! What tells the vigil that something is to be looked at.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What happened and is not dealt with yet. Repeated signals become one.
#[derive(Default)]
pub struct Signals {
    pub(super) pending: Mutex<Pending>,
    pub(super) wake: Notify,
}

#[derive(Default, Clone)]
pub struct Pending {
    /// Why the live connection is down.
    pub live_down: Option<String>,
    /// How often it was lost, to tell a loss during a restoration from the one that is being restored.
    pub losses: u64,
    pub elected: HashSet<Arc<str>>,
    pub suspect: HashSet<Arc<str>>,
}

impl Signals {
    pub fn live_down(&self, why: String) {
        let mut pending = self.pending.lock();
        pending.live_down = Some(why);
        pending.losses += 1;
        drop(pending);
        self.wake.notify_one();
    }

    pub fn live_up(&self) {
        self.pending.lock().live_down = None;
        self.wake.notify_one();
    }

    pub fn leader_elected(&self, namespace: &Arc<str>) {
        self.pending.lock().elected.insert(Arc::clone(namespace));
        self.wake.notify_one();
    }

    pub fn check_epoch(&self, namespace: &Arc<str>) {
        self.pending.lock().suspect.insert(Arc::clone(namespace));
        self.wake.notify_one();
    }

    /// Takes what namespaces are to be looked at; the state of the connection stays.
    pub fn take(&self) -> Pending {
        let mut pending = self.pending.lock();
        let taken = pending.clone();
        pending.elected.clear();
        pending.suspect.clear();
        taken
    }

    /// Leaves what could not be looked at to the next round. Nobody is woken: that round would come at once, again and
    /// again, and nothing else would get its turn.
    pub fn put_back(&self, taken: Pending) {
        let mut pending = self.pending.lock();
        pending.elected.extend(taken.elected);
        pending.suspect.extend(taken.suspect);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn what_is_put_back_waits_for_the_next_round_and_wakes_nobody() {
        let signals = Signals::default();
        signals.leader_elected(&"chat".into());
        assert!(signals.wake.notified().now_or_never().is_some(), "an election wakes");
        let taken = signals.take();
        assert!(signals.pending.lock().elected.is_empty());
        signals.put_back(taken);
        assert!(signals.wake.notified().now_or_never().is_none(), "the round would never end");
        assert!(signals.take().elected.contains("chat"));
    }
}
