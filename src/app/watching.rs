//! What is watched while a node runs, and what follows from it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::BACKPLANE;
use crate::backplane::FeedSender;
use crate::cluster::Cluster;
use crate::http::limits::{Admission, Gate};
use crate::hub::Connections;
use crate::lifecycle::Readiness;
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

/// What follows from being ready or not, here and for the others. A draining node has closed its gate for good.
pub(super) fn heed(admission: Arc<Admission>, cluster: Cluster, telemetry: Arc<Telemetry>) -> impl FnMut(bool) {
    move |ready| {
        if admission.gate() != Gate::Draining {
            admission.set(if ready { Gate::Open } else { Gate::NotReady });
        }
        cluster.set_ready(ready);
        telemetry.node.ready.set(u8::from(ready));
    }
}

/// A clustered node without its backplane must not quietly become a single node: it takes no clients until it is back, and
/// until it knows which tokens were revoked meanwhile.
pub(super) fn heed_backplane(readiness: Arc<Readiness>) -> impl FnMut(Result<(), String>) {
    move |works| match works {
        Ok(()) => readiness.clear(BACKPLANE),
        Err(why) => readiness.hold(BACKPLANE, why),
    }
}
