//! What is watched while a node runs, and what follows from it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::BACKPLANE;
use crate::backplane::{FeedSender, Health};
use crate::http::limits::{Admission, Gate};
use crate::hub::Connections;
use crate::lifecycle::Readiness;
use crate::revocation::Revocations;
use crate::telemetry::{Queue, Telemetry};

/// Measures what waits, every second.
pub(super) fn measure(
    connections: &Arc<Connections>,
    feed: FeedSender,
    readiness: &Arc<Readiness>,
    telemetry: &Arc<Telemetry>,
) -> impl Future<Output = ()> + Send + 'static {
    let (connections, readiness, telemetry) = (Arc::clone(connections), Arc::clone(readiness), Arc::clone(telemetry));
    async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            telemetry.clients.outbox_bytes.set(connections.backlog().load(Ordering::Relaxed) as f64);
            let remaining = if readiness.is_draining() { connections.len() } else { 0 };
            telemetry.node.drain_remaining.set(remaining as f64);
            telemetry.queues.bytes.of(Queue::Feed).set(feed.waiting() as f64);
        }
    }
}

/// What follows from being ready or not. A draining node has closed its gate for good.
pub(super) fn heed(admission: Arc<Admission>, telemetry: Arc<Telemetry>) -> impl FnMut(bool) {
    move |ready| {
        if admission.gate() != Gate::Draining {
            admission.set(if ready { Gate::Open } else { Gate::NotReady });
        }
        telemetry.node.ready.set(u8::from(ready));
    }
}

/// A clustered node without its backplane must not quietly become a single node: it takes no clients until it is back, and
/// until it knows which tokens were revoked meanwhile.
pub(super) async fn follow_backplane(
    mut health: tokio::sync::watch::Receiver<Health>,
    readiness: Arc<Readiness>,
    revocations: Arc<Revocations>,
) {
    // They were listed before this began.
    let mut known = !health.has_changed().unwrap_or(true);
    loop {
        let lost = match &*health.borrow_and_update() {
            Health::Ready => None,
            Health::Lost { why } => Some(why.clone()),
        };
        let knows_all = async {
            match lost {
                None => {
                    if !std::mem::take(&mut known) {
                        let why = |error| format!("revocations of tokens are not known: {error}");
                        revocations.load_surely(|error| readiness.hold(BACKPLANE, why(error))).await;
                    }
                    readiness.clear(BACKPLANE);
                }
                Some(why) => {
                    known = false;
                    readiness.hold(BACKPLANE, why);
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = knows_all => {}
            changed = health.changed() => if changed.is_err() { return },
        }
    }
}
