//! What operators ask of the cluster and of its nodes: how it is, whether it should be larger or smaller, and that a node
//! let go of its clients.
//!
//! Everything is answered from what this node knows already: no other one is asked. The [`advice`] follows from the loads
//! that nodes tell with their heartbeats; the **wish** of somebody who scales stands in a registry that all nodes share,
//! and so does who is to drain.
//! midplane starts no nodes: who does is told of the wish, by a webhook and on NATS, or reads it from the metrics.

mod advice;
mod drain;
mod load;
mod report;
mod scale;
mod shared;
#[cfg(test)]
mod tests;
mod wish;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub use drain::DrainError;
pub use report::{ClusterMetrics, NodeReport, Stats, Status};
pub use scale::{Action, Scale, ScaleError, Scaled};
pub use wish::Wish;

use advice::{Advice, Advisor};
use load::Saturation;

use crate::backplane::Backplane;
use crate::cluster::{Cluster, Member};
use crate::lifecycle::Readiness;
use crate::settings::Scaling;
use crate::telemetry::Telemetry;

/// How often the advice is weighed.
const EVERY: Duration = Duration::from_secs(1);

/// This node as its operators see it.
pub struct Operate {
    cluster: Cluster,
    backplane: Arc<dyn Backplane>,
    readiness: Arc<Readiness>,
    advice: Mutex<Advice>,
    wish: watch::Sender<Option<Wish>>,
    options: Scaling,
    http: reqwest::Client,
    telemetry: Arc<Telemetry>,
}

impl Operate {
    #[must_use]
    pub fn new(
        cluster: Cluster,
        backplane: Arc<dyn Backplane>,
        readiness: Arc<Readiness>,
        options: Scaling,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        let (advice, wish) = (Mutex::default(), watch::Sender::new(None));
        let http = reqwest::Client::new();
        Arc::new(Self { cluster, backplane, readiness, advice, wish, options, http, telemetry })
    }

    /// Weighs, for ever, whether the cluster should be larger or smaller.
    pub async fn advise(self: Arc<Self>) {
        let mut advisor = Advisor::new(self.options.clone());
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let serving = self.serving();
            let advice = if self.judges() && !serving.is_empty() {
                advisor.weigh(Instant::now(), serving.len(), Saturation::of(&serving))
            } else {
                advisor.rest(self.cluster.members().iter().filter(|member| member.entry.is_live()).count())
            };
            self.telemetry.cluster.recommended_nodes.set(advice.nodes as f64);
            *self.advice.lock() = advice;
        }
    }

    /// Whether this node knows how the others are: one that does not serve may be cut off from them.
    fn judges(&self) -> bool {
        self.readiness.is_ready() || self.readiness.is_draining()
    }

    /// The nodes that take clients, by name.
    fn serving(&self) -> Vec<Member> {
        self.cluster.members().into_iter().filter(Member::serves).collect()
    }

    /// This node as it tells of itself.
    fn own(&self) -> Option<Member> {
        self.cluster.members().into_iter().find(|member| member.entry.process == self.cluster.process())
    }
}
