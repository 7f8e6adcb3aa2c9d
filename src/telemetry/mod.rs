//! What a node measures and what it logs.
//!
//! Every metric is declared once, in [`names`], with its unit and help. Handles are made when the node starts, one for
//! each value of each label, so that every series is there at zero before anything happens; labels come from closed
//! enums ([`labels`]) or the registry of namespaces, never from users. Each [`Telemetry`] has a registry of its own:
//! several nodes can live in one process.
//!
//! Record once per message or per flush, never once per socket: histograms keep every sample until [`Telemetry::run`]
//! or a scrape folds it away.

pub mod labels;
pub mod logging;
pub mod metrics;
pub mod names;
mod pace;
mod registry;
mod runtime;

use std::sync::Arc;
use std::time::Duration;

use metrics_process::Collector;
use tokio::time::MissedTickBehavior;

pub use self::labels::*;
pub use self::metrics::{Backplane, Bridge, Clients, Cluster, Http, Node, Presence, Queues, Relay};
pub use self::pace::{Pace, Paces};
pub use self::registry::{ByNamespace, Counters, Family, Gauges, Histograms};

use self::registry::Registry;
use self::runtime::RuntimeWatch;
use crate::settings::Namespaces;

/// How often samples of histograms are folded away.
const UPKEEP: Duration = Duration::from_secs(5);

/// The metrics of one node, by room.
pub struct Telemetry {
    pub node: Node,
    pub http: Http,
    pub clients: Clients,
    pub relay: Relay,
    pub presence: Presence,
    pub backplane: Backplane,
    pub cluster: Cluster,
    pub bridge: Bridge,
    pub queues: Queues,
    registry: Registry,
    process: Collector,
}

impl Telemetry {
    /// Makes every handle. Labels of namespaces are those of `namespaces`.
    #[must_use]
    pub fn new(namespaces: &Namespaces) -> Arc<Self> {
        let registry = Registry::new();
        let process = Collector::default();
        ::metrics::with_local_recorder(registry.recorder(), || process.describe());
        let names: Vec<Arc<str>> = namespaces.iter().map(|namespace| Arc::clone(&namespace.name)).collect();
        let stored = namespaces.iter().filter(|namespace| namespace.history.is_some());
        let stored: Vec<Arc<str>> = stored.map(|namespace| Arc::clone(&namespace.name)).collect();
        Arc::new(Self {
            node: Node::new(&registry),
            http: Http::new(&registry),
            clients: Clients::new(&registry),
            relay: Relay::new(&registry, &names),
            presence: Presence::new(&registry),
            backplane: Backplane::new(&registry, &stored),
            cluster: Cluster::new(&registry),
            bridge: Bridge::new(&registry),
            queues: Queues::new(&registry),
            registry,
            process,
        })
    }

    /// All metrics in Prometheus' text format, those of the process and of the runtime read now.
    #[must_use]
    pub fn render(&self) -> String {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.node.tasks_alive.set(runtime.metrics().num_alive_tasks() as f64);
        }
        ::metrics::with_local_recorder(self.registry.recorder(), || self.process.collect());
        self.registry.render()
    }

    /// Keeps what histograms hold small, and watches the runtime, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(UPKEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut runtime = RuntimeWatch::begin();
        loop {
            let due = ticks.tick().await;
            self.node.poll_delay.set(due.elapsed().as_secs_f64());
            self.node.busy_ratio.set(runtime.busy_ratio());
            self.registry.upkeep();
        }
    }
}

#[cfg(test)]
mod tests;
