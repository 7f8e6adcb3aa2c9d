//! What operators ask goes by who serves, not by who is there.

use std::sync::Arc;

use midplane::backplane::Bucket;
use midplane::cluster::State::{Draining, Up};
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
    readiness: Arc<Readiness>,
}

impl Operated {
    async fn start(nats: &settings::Nats, name: &str) -> Self {
        let fellow = Fellow::join(nats, name).await;
        let (cluster, backplane) = (fellow.cluster.clone(), Arc::clone(&fellow.backplane));
        let (readiness, scaling) = (Arc::new(Readiness::default()), Settings::from_toml("").unwrap().scaling);
        let telemetry = Arc::clone(&fellow.telemetry);
        let operate = Operate::new(cluster.clone(), backplane, Arc::clone(&readiness), scaling, telemetry);
        let orders = operate.watch().await.unwrap();
        tokio::spawn(Arc::clone(&operate).obey(orders));
        // As a node does: it tells the others whether it takes clients, and leaves where it is told to.
        tokio::spawn(readiness.watch({
            let cluster = cluster.clone();
            move |ready| cluster.set_ready(ready)
        }));
        tokio::spawn({
            let drained = readiness.drained();
            async move {
                drained.await;
                cluster.drain();
            }
        });
        Self { fellow, operate, readiness }
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
    bob.readiness.hold("canary", "nothing is delivered");
    for node in [&ada, &bob] {
        node.knows(json!([["ada", true], ["bob", false]])).await;
        let metrics = serde_json::to_value(node.operate.cluster_metrics()).unwrap();
        assert_eq!(metrics["totalServers"], 1);
    }
    agree(&[&ada.fellow, &bob.fellow], &[("ada", Up), ("bob", Up)]).await;
    let refused = bob.operate.drain("ada", false).await.unwrap_err();
    assert!(matches!(refused, DrainError::Last(_)), "{refused}");
}

#[tokio::test]
async fn of_two_who_would_drain_the_last_two_nodes_at_once_one_is_refused() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (ada, bob) = (Operated::start(&settings, "ada").await, Operated::start(&settings, "bob").await);
    for node in [&ada, &bob] {
        node.knows(json!([["ada", true], ["bob", true]])).await;
    }
    let (by_ada, by_bob) = tokio::join!(ada.operate.drain("bob", false), bob.operate.drain("ada", false));
    // On a busy machine the one that is obeyed may be said to be silent.
    let is_refused = |outcome: &Result<_, _>| matches!(outcome, Err(DrainError::AllLeave { .. } | DrainError::Last(_)));
    assert!(is_refused(&by_ada) != is_refused(&by_bob), "{by_ada:?} {by_bob:?}");
    let ada_stays = is_refused(&by_bob);
    for node in [&ada, &bob] {
        node.knows(json!([["ada", ada_stays], ["bob", !ada_stays]])).await;
    }
    assert!(ada.readiness.is_draining() != bob.readiness.is_draining());
}

#[tokio::test]
async fn an_order_to_drain_is_obeyed_also_by_who_did_not_hear_of_it() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let ada = Operated::start(&settings, "ada").await;
    let fellow = Fellow::join(&settings, "bob").await;
    let (scaling, readiness) = (Settings::from_toml("").unwrap().scaling, Arc::new(Readiness::default()));
    agree(&[&ada.fellow, &fellow], &[("ada", Up), ("bob", Up)]).await;
    let ordered = tokio::spawn({
        let operate = Arc::clone(&ada.operate);
        async move { operate.drain("bob", false).await }
    });
    let orders = fellow.backplane.registry(Bucket::Scaling);
    eventually("the order is recorded", async || orders.get("drain").await.unwrap()).await;
    let (cluster, backplane) = (fellow.cluster.clone(), Arc::clone(&fellow.backplane));
    let operate = Operate::new(cluster, backplane, Arc::clone(&readiness), scaling, Arc::clone(&fellow.telemetry));
    let watch = operate.watch().await.unwrap();
    tokio::spawn(Arc::clone(&operate).obey(watch));
    readiness.drained().await;
    fellow.cluster.drain();
    agree(&[&ada.fellow, &fellow], &[("ada", Up), ("bob", Draining)]).await;
    match ordered.await.unwrap() {
        // On a busy machine it took too long to be seen.
        Ok(()) | Err(DrainError::Silent(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

/// A member that follows the wished size, which is two.
async fn wished(settings: &settings::Nats) -> Operated {
    let ada = Operated::start(settings, "ada").await;
    let wishes = ada.operate.watch().await.unwrap();
    tokio::spawn(Arc::clone(&ada.operate).follow(wishes));
    ada.knows(json!([["ada", true]])).await;
    let scale = serde_json::from_value(json!({"action": "scale_up", "targetInstances": 2})).unwrap();
    ada.operate.scale(scale).await.unwrap();
    let desired = || ada.fellow.counted("midplane_cluster_desired_nodes");
    eventually("the wish is known", async || (desired() == 2).then_some(())).await;
    ada
}

/// Waits until the wished size stands where all nodes find it.
async fn stands_again(ada: &Operated) {
    let scaling = ada.fellow.backplane.registry(Bucket::Scaling);
    eventually("the wish stands again", async || scaling.get("wish").await.ok().flatten()).await;
    let desired = || ada.fellow.counted("midplane_cluster_desired_nodes");
    eventually("the wish is known", async || (desired() == 2).then_some(())).await;
}

#[tokio::test]
async fn the_wished_size_outlives_the_bucket_that_it_stood_in() {
    let server = NatsServer::start().await;
    let ada = wished(&nats([server.url()], 1)).await;
    let operator = async_nats::connect(server.url().as_str()).await.unwrap();
    operator.request("$JS.API.STREAM.DELETE.KV_midplane_scaling", "".into()).await.unwrap();
    stands_again(&ada).await;
}

#[tokio::test]
async fn the_wished_size_outlives_a_server_that_comes_back_with_nothing() {
    let mut server = NatsServer::start().await;
    let ada = wished(&nats([server.url()], 1)).await;
    server.kill();
    server.wipe_store();
    server.restart().await;
    stands_again(&ada).await;
}
