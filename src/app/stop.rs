//! Stopping a node: what was accepted reaches its clients, these are sent elsewhere, and the others are told.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::base::Base;
use super::{App, Rooms};
use crate::backplane::Backplane;
use crate::tasks::Tasks;

/// What the backplane gets to finish what was accepted.
pub(super) const CLOSE_AT_LEAST: Duration = Duration::from_secs(2);
/// What a node that goes gets to say goodbye.
pub(super) const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Why a node no longer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to stop.
    Asked,
    /// Another process has joined under its name.
    Fenced,
}

impl App {
    /// Serves until `signal`, or until another process takes this node's name; then lets clients and publications go,
    /// within the configured time. A node that is asked to drain meanwhile has let go of its clients before.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Ending {
        let Self { base, rooms } = self;
        let Base { settings, doors, backplane, cluster, tasks, .. } = base;
        let Rooms { served, calls, presence, watch, drain, bridge } = rooms;
        let open = doors.open(served);
        let drained_on_request = async {
            drain.readiness.drained().await;
            drain.run(None).await;
            std::future::pending().await
        };
        let ending = tokio::select! {
            () = signal => Ending::Asked,
            () = cluster.fenced().cancelled_owned() => Ending::Fenced,
            () = drained_on_request => unreachable!("it pends"),
        };
        let deadline = Instant::now() + settings.node.shutdown_timeout;
        drain.run(Some(deadline)).await;
        // As long as there were clients here it carried what they published.
        let _ = timeout_at(deadline.max(Instant::now() + LEAVE_WITHIN), bridge.resign()).await;
        // They would hold up the server until it loses patience.
        watch.end();
        open.close(deadline).await;
        if let Some(calls) = calls {
            let _ = timeout_at(deadline, calls.finish()).await;
        }
        // Whoever left is seen to have left before the node is. What it still owes then is for others to record.
        let recorded_by = deadline.max(Instant::now() + LEAVE_WITHIN);
        if timeout_at(recorded_by, presence.settled()).await.is_err() {
            warn!("stopped before all departures were recorded; another node records them");
        }
        presence.stop_writing();
        cluster.leave(Instant::now() + LEAVE_WITHIN).await;
        // What was accepted gets its time, however long the clients took.
        let deadline = deadline.max(Instant::now() + CLOSE_AT_LEAST);
        close(&tasks, &*backplane, deadline).await;
        info!("stopped");
        ending
    }
}

/// Ends what works in the background, and what it works with: nothing of it ends unasked.
pub(super) async fn close(tasks: &Tasks, backplane: &dyn Backplane, deadline: Instant) {
    tasks.stop();
    // Whatever is not done by then ends with the process.
    let _ = timeout_at(deadline, backplane.close()).await;
    let _ = timeout_at(deadline, tasks.ended()).await;
}
