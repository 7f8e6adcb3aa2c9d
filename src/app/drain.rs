//! Letting clients go: no faster than the nodes that stay can take them, while those that are still here are served.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tracing::{info, warn};

use crate::backplane::FeedSender;
use crate::clock::unix_time;
use crate::cluster::{Cluster, Member, State};
use crate::http::limits::{Admission, Gate};
use crate::hub::{Connections, Control};
use crate::lifecycle::Readiness;
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode};
use crate::relay::Relay;
use crate::telemetry::Telemetry;

/// What publications under way get to reach this node's clients before the last of those are sent away.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);
const SETTLE_PAUSE: Duration = Duration::from_millis(2);
/// Between two handfuls of clients.
const TICK: Duration = Duration::from_millis(50);
/// Clients are sent away at once where all of them together are no more than this much of the pace.
const LAST: Duration = Duration::from_millis(250);
/// The part of the deadline in which everybody is told: the rest is for those who are slow to answer.
const TELLING: f64 = 0.75;

/// What takes part when a node lets its clients go.
pub(super) struct Drain {
    pub(super) connections: Arc<Connections>,
    pub(super) cluster: Cluster,
    pub(super) relay: Arc<Relay>,
    pub(super) feed: FeedSender,
    pub(super) admission: Arc<Admission>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) telemetry: Arc<Telemetry>,
    /// Clients per second that each node which stays can take.
    pub(super) rate: f64,
}

impl Drain {
    /// Takes no clients any more and lets go of those that are here, everybody told by `deadline`; without one, as slowly as
    /// the pace says. May be dropped and begun anew.
    pub(super) async fn run(&self, deadline: Option<Instant>) {
        // Still listening: a proxy that comes here is told to go to another node.
        self.admission.set(Gate::Draining);
        self.readiness.drain();
        self.cluster.drain();
        self.announce(deadline);
        self.send_away_most(deadline).await;
        // What was accepted reaches those who are still here; what comes now is refused, and can go to another node.
        let settled = async {
            self.relay.close_to_publishers().await;
            while self.feed.waiting() > 0 {
                sleep(SETTLE_PAUSE).await;
            }
        };
        let until = Instant::now() + SETTLE_WITHIN;
        if timeout_at(deadline.map_or(until, |deadline| deadline.min(until)), settled).await.is_err() {
            warn!("publications under way did not settle in time");
        }
        let leaving = self.connections.close_all(&farewell());
        info!(connections = leaving, "the last clients are told to leave");
        let emptied = self.connections.wait_until_empty();
        let Some(deadline) = deadline else { return emptied.await };
        if timeout_at(deadline, emptied).await.is_err() {
            warn!(connections = self.connections.len(), "stopped before every client had answered");
        }
    }

    /// Lets go of all but the last handful.
    async fn send_away_most(&self, deadline: Option<Instant>) {
        let mut here = self.connections.outboxes();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = 0.0;
        loop {
            let pace = self.pace(here.len(), deadline);
            if here.len() as f64 <= pace * LAST.as_secs_f64() {
                return;
            }
            ticks.tick().await;
            due += pace * TICK.as_secs_f64();
            while due >= 1.0
                && let Some(outbox) = here.pop()
            {
                outbox.request(Control::Close(farewell()));
                due -= 1.0;
            }
        }
    }

    /// Clients to send away per second: this node's share of what the nodes that stay can take, or more where the time would
    /// not do. Where nobody serves just now, whoever does next is to be spared as one node is.
    fn pace(&self, clients: usize, deadline: Option<Instant>) -> f64 {
        let mut others = self.cluster.members();
        others.retain(|member| member.entry.process != self.cluster.process());
        let staying = others.iter().filter(|member| member.serves()).count();
        let leaving = 1 + others.iter().filter(|member| lets_go(member)).count();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        pace(self.rate * staying.max(1) as f64 / leaving as f64, clients, left)
    }

    /// Says how long it will take at most.
    fn announce(&self, deadline: Option<Instant>) {
        let clients = self.connections.len();
        let pace = self.pace(clients, deadline);
        let takes = Duration::try_from_secs_f64(clients as f64 / pace).unwrap_or_default();
        let within = deadline
            .map_or(takes * 2 + Duration::from_secs(10), |deadline| deadline.saturating_duration_since(Instant::now()));
        let ends = unix_time() + within;
        self.telemetry.node.drain_deadline.set(ends.as_secs_f64());
        info!(connections = clients, within_seconds = within.as_secs(), per_second = pace.round(), "draining");
    }
}

/// Whether a node that drains has clients left to send away.
fn lets_go(member: &Member) -> bool {
    member.entry.state == State::Draining && member.load.as_ref().is_some_and(|load| load.work.clients > 0)
}

/// Clients to send away per second where `gentle` are what others can take, and `left` is the time until the deadline.
fn pace(gentle: f64, clients: usize, left: Option<Duration>) -> f64 {
    left.map_or(gentle, |left| gentle.max(clients as f64 / (left.as_secs_f64() * TELLING)))
}

fn farewell() -> Disconnect {
    Disconnect::from(DisconnectCode::Shutdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn as_many_leave_as_others_can_take_or_more_where_the_time_would_not_do() {
        assert_eq!(pace(400.0, 10_000, None), 400.0);
        assert_eq!(pace(400.0, 10_000, Some(MINUTE)), 400.0);
        assert_eq!(pace(400.0, 45_000, Some(MINUTE)), 1000.0, "the deadline holds all the same");
        assert_eq!(pace(200.0, 1, Some(Duration::ZERO)), f64::INFINITY);
    }
}
