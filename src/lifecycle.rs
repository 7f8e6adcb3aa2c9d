//! The life of a node: when it serves, and when it is asked to stop.

use std::collections::BTreeMap;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

/// Added to a signal's number to make the exit code of a process that it ended.
const KILLED: i32 = 128;

/// Ends when the process is asked to stop, by SIGTERM or SIGINT. From then on another one ends it at once, with exit
/// code 143 or 130.
///
/// Signals are listened to from the call on, not only from the first poll: one that comes in between is not lost, and
/// does not kill.
pub fn terminated() -> impl Future<Output = ()> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    async move {
        let kind = next(&mut terminate, &mut interrupt).await;
        info!(signal = name(kind), "asked to stop; once more stops at once");
        tokio::spawn(async move {
            let kind = next(&mut terminate, &mut interrupt).await;
            warn!(signal = name(kind), "asked to stop again: not waiting for anything");
            std::process::exit(KILLED + kind.as_raw_value());
        });
    }
}

/// Says of signals that are no request to stop, and would end the process at once, that they do nothing: for ever. There are
/// no settings that could be read again (SIGHUP), and no log files to be opened anew (SIGUSR1).
pub fn ignored() -> impl Future<Output = ()> {
    let (mut hangup, mut first, mut second) =
        (listen(SignalKind::hangup()), listen(SignalKind::user_defined1()), listen(SignalKind::user_defined2()));
    async move {
        loop {
            let signal = tokio::select! {
                _ = hangup.recv() => "SIGHUP",
                _ = first.recv() => "SIGUSR1",
                _ = second.recv() => "SIGUSR2",
            };
            warn!(signal, "ignored: settings are read at the start only; SIGTERM stops the node");
        }
    }
}

fn listen(kind: SignalKind) -> Signal {
    signal(kind).expect("signals can be listened to")
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> SignalKind {
    tokio::select! {
        _ = terminate.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    }
}

fn name(kind: SignalKind) -> &'static str {
    if kind == SignalKind::interrupt() { "SIGINT" } else { "SIGTERM" }
}

/// Whether a node serves: it does while nothing stands in the way.
///
/// Draining is a latch: a node that began to leave never serves again.
pub struct Readiness(watch::Sender<State>);

#[derive(Debug, Clone, Default)]
struct State {
    obstacles: BTreeMap<&'static str, String>,
    draining: bool,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::channel(State::default()).0)
    }
}

impl Readiness {
    /// `what` stands in the way, for the reason `why`.
    pub fn hold(&self, what: &'static str, why: impl Into<String>) {
        let why = why.into();
        self.0.send_if_modified(|state| state.obstacles.insert(what, why.clone()) != Some(why));
    }

    /// `what` no longer stands in the way.
    pub fn clear(&self, what: &'static str) {
        self.0.send_if_modified(|state| state.obstacles.remove(what).is_some());
    }

    /// The node leaves: for good, whatever is cleared later.
    pub fn drain(&self) {
        self.0.send_if_modified(|state| !std::mem::replace(&mut state.draining, true));
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.0.borrow();
        state.obstacles.is_empty() && !state.draining
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.borrow().draining
    }

    /// Ends once the node drains.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut state = self.0.subscribe();
        async move {
            if state.wait_for(|state| state.draining).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// What stands in the way, for people; empty when the node serves.
    #[must_use]
    pub fn obstacles(&self) -> Vec<String> {
        let state = self.0.borrow();
        let draining = state.draining.then(|| "draining".to_owned());
        draining.into_iter().chain(state.obstacles.iter().map(|(what, why)| format!("{what}: {why}"))).collect()
    }

    /// Calls `heed` with whether the node serves, now and whenever anything about it changes, until this is dropped.
    pub fn watch(&self, mut heed: impl FnMut(bool) + Send + 'static) -> impl Future<Output = ()> + Send + 'static {
        let mut changes = self.0.subscribe();
        async move {
            loop {
                {
                    let state = changes.borrow_and_update();
                    heed(state.obstacles.is_empty() && !state.draining);
                }
                if changes.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_node_serves_while_nothing_stands_in_the_way() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        readiness.hold("backplane", "not connected");
        readiness.hold("canary", "no delivery for 10s");
        assert_eq!(readiness.obstacles(), ["backplane: not connected", "canary: no delivery for 10s"]);
        readiness.clear("backplane");
        assert!(!readiness.is_ready());
        readiness.clear("canary");
        assert!(readiness.is_ready() && readiness.obstacles().is_empty());
    }

    #[test]
    fn a_node_that_drains_never_serves_again() {
        let readiness = Readiness::default();
        readiness.hold("backplane", "lost");
        readiness.drain();
        readiness.clear("backplane");
        assert!(!readiness.is_ready() && readiness.is_draining());
        assert_eq!(readiness.obstacles(), ["draining"]);
    }

    #[tokio::test]
    async fn who_waits_for_the_drain_hears_of_it_also_afterwards() {
        let readiness = Readiness::default();
        let mut drained = Box::pin(readiness.drained());
        assert!(futures_util::poll!(&mut drained).is_pending());
        readiness.hold("backplane", "lost");
        assert!(futures_util::poll!(&mut drained).is_pending());
        readiness.drain();
        drained.await;
        readiness.drained().await;
    }

    #[tokio::test]
    async fn who_watches_hears_of_every_change() {
        let readiness = Readiness::default();
        let heard = Arc::new(AtomicBool::new(false));
        let watching = tokio::spawn(readiness.watch({
            let heard = Arc::clone(&heard);
            move |ready| heard.store(ready, Ordering::SeqCst)
        }));
        while !heard.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        readiness.drain();
        while heard.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        drop(readiness);
        watching.await.unwrap();
    }
}
