//! What operators ask goes by who serves, not by who is there.

use std::sync::Arc;

use midplane::cluster::State::Up;
use midplane::lifecycle::Readiness;
use midplane::operate::{DrainError, Operate};
use midplane::settings::{self, Settings};
use serde_json::{Value, json};

use super::{Fellow, agree};
use crate::support::eventually;
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;

/// A member that is ready, and what its operators ask.
struct Operated {
    fellow: Fellow,
    operate: Arc<Operate>,
}

impl Operated {
    async fn start(nats: &settings::Nats, name: &str) -> Self {
        let fellow = Fellow::join(nats, name).await;
        let (cluster, backplane) = (fellow.cluster.clone(), Arc::clone(&fellow.backplane));
        let (readiness, scaling) = (Arc::new(Readiness::default()), Settings::from_toml("").unwrap().scaling);
        cluster.set_ready(true);
        let operate = Operate::new(cluster, backplane, readiness, scaling, Arc::clone(&fellow.telemetry));
        Self { fellow, operate }
    }

    /// All nodes, with whether each takes clients.
    fn nodes(&self) -> Value {
        let nodes = serde_json::to_value(self.operate.nodes()).unwrap();
        nodes.as_array().unwrap().iter().map(|node| json!([node["serverId"], node["ready"]])).collect()
    }

    /// Waits until it knows of each node whether it takes clients.
    async fn knows(&self, nodes: Value) {
        eventually(&format!("{nodes} is known"), async || (self.nodes() == nodes).then_some(())).await;
    }
}

#[tokio::test]
async fn a_node_that_is_up_and_not_ready_does_not_count_as_one_that_serves() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (ada, bob) = (Operated::start(&settings, "ada").await, Operated::start(&settings, "bob").await);
    for node in [&ada, &bob] {
        node.knows(json!([["ada", true], ["bob", true]])).await;
    }
    bob.fellow.cluster.set_ready(false);
    for node in [&ada, &bob] {
        node.knows(json!([["ada", true], ["bob", false]])).await;
        let metrics = serde_json::to_value(node.operate.cluster_metrics()).unwrap();
        assert_eq!(metrics["totalServers"], 1);
    }
    agree(&[&ada.fellow, &bob.fellow], &[("ada", Up), ("bob", Up)]).await;
    let refused = bob.operate.drain("ada", false).await.unwrap_err();
    assert!(matches!(refused, DrainError::Last(_)), "{refused}");
}
