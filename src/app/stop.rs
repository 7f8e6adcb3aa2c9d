//! Stopping a node: what was accepted reaches its clients, these are sent elsewhere, and the others are told.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::App;
use crate::http::limits::Gate;
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode};

/// What the backplane gets to finish what was accepted.
const CLOSE_AT_LEAST: Duration = Duration::from_secs(2);
/// What publications under way get to reach this node's clients before those are sent away.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);
const SETTLE_PAUSE: Duration = Duration::from_millis(2);
/// What a node that goes gets to say goodbye.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

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
    /// within the configured time.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Ending {
        let Self {
            settings,
            server,
            router,
            calls,
            backplane,
            cluster,
            connections,
            admission,
            readiness,
            relay,
            presence,
            feed,
            telemetry,
            tasks,
            stop,
        } = self;
        let serving = CancellationToken::new();
        let server = tokio::spawn(server.serve(router, serving.clone().cancelled_owned()));
        let ending = tokio::select! {
            () = signal => Ending::Asked,
            () = cluster.fenced().cancelled_owned() => Ending::Fenced,
        };
        let deadline = Instant::now() + settings.node.shutdown_timeout;
        let ends = SystemTime::now() + settings.node.shutdown_timeout;
        let ends = ends.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        telemetry.node.drain_deadline.set(ends.as_secs_f64());
        // Still listening: a proxy that comes here is told to go to another node.
        admission.set(Gate::Draining);
        readiness.drain();
        cluster.drain();
        // What was accepted reaches those who are still here; what comes now is refused, and can go to another node.
        let settled = async {
            relay.close_to_publishers().await;
            while feed.waiting() > 0 {
                sleep(SETTLE_PAUSE).await;
            }
        };
        if timeout_at(deadline.min(Instant::now() + SETTLE_WITHIN), settled).await.is_err() {
            warn!("publications under way did not settle in time");
        }
        let leaving = connections.close_all(&Disconnect::from(DisconnectCode::Shutdown));
        info!(connections = leaving, "stopping");
        let emptied = timeout_at(deadline, connections.wait_until_empty()).await;
        if emptied.is_err() {
            warn!(connections = connections.len(), "stopped before every client had answered");
        }
        serving.cancel();
        // A server that panicked is reported by the runtime; there is nothing left to stop then.
        let _ = timeout_at(deadline, server).await;
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
        let _ = timeout_at(deadline, backplane.close()).await;
        stop.cancel();
        tasks.close();
        let _ = timeout_at(deadline, tasks.wait()).await;
        info!("stopped");
        ending
    }
}
