//! No false alarms: elections, outages, lost members of the NATS cluster.

use futures_util::future::join_all;
use midplane::backplane::{Bucket, Guard};
use midplane::cluster::State::{Failed, Up};
use serde_json::{Value, json};

use super::{Fellow, agree, heartbeats, no_alarm};
use crate::support::eventually;
use crate::support::liar::Liar;
use crate::support::nats_server::{NatsCluster, NatsServer};
use crate::support::nats_settings::nats;

const EVERYBODY: [(&str, midplane::cluster::State); 3] = [("ada", Up), ("bob", Up), ("cy", Up)];

/// Waits until the bucket takes writes.
async fn writes(fellow: &Fellow) {
    eventually("the registry takes writes", async || {
        let registry = fellow.backplane.registry(Bucket::Nodes);
        let written = registry.put("no-node", "{}".into(), Guard::Any, None).await;
        written.is_ok().then_some(())
    })
    .await;
}

/// The server that leads the bucket.
async fn leader(cluster: &NatsCluster) -> String {
    eventually("the bucket has a leader", async || {
        for server in &cluster.servers {
            let Ok(client) = async_nats::connect(server.url().as_str()).await else { continue };
            let question = json!({}).to_string();
            let answer = client.request("$JS.API.STREAM.INFO.KV_midplane_nodes", question.into()).await.ok()?;
            let info: Value = serde_json::from_slice(&answer.payload).ok()?;
            return info["cluster"]["leader"].as_str().map(str::to_owned);
        }
        None
    })
    .await
}

#[tokio::test]
async fn an_election_makes_nobody_dead() {
    let mut cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    let fellows = join_all(["ada", "bob", "cy"].map(|name| Fellow::join(&settings, name))).await;
    let all: Vec<_> = fellows.iter().collect();
    agree(&all, &EVERYBODY).await;
    heartbeats(all[0], 30).await;
    let leader = leader(&cluster).await;
    cluster.named(&leader).kill();
    // Longer than any timeout: an election takes 4 to 9 seconds.
    writes(all[0]).await;
    heartbeats(all[0], 30).await;
    no_alarm(&all);
    all[2].die().await;
    agree(&all[..2], &[("ada", Up), ("bob", Up), ("cy", Failed)]).await;
}

#[tokio::test]
async fn a_cluster_that_loses_nats_and_gets_it_back_is_whole() {
    let mut server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let fellows = join_all(["ada", "bob", "cy"].map(|name| Fellow::join(&settings, name))).await;
    let all: Vec<_> = fellows.iter().collect();
    agree(&all, &EVERYBODY).await;
    heartbeats(all[0], 60).await;
    server.kill();
    let unsent = "midplane_cluster_heartbeats_total{result=\"unsent\"}";
    eventually("everybody is cut off for longer than the timeout", async || {
        all.iter().all(|fellow| fellow.counted(unsent) >= 30).then_some(())
    })
    .await;
    server.restart().await;
    heartbeats(all[0], 60).await;
    no_alarm(&all);
    all[2].die().await;
    agree(&all[..2], &[("ada", Up), ("bob", Up), ("cy", Failed)]).await;
}

#[tokio::test]
async fn a_nats_that_hangs_makes_nobody_dead() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let fellows = join_all(["ada", "bob", "cy"].map(|name| Fellow::join(&settings, name))).await;
    let all: Vec<_> = fellows.iter().collect();
    agree(&all, &EVERYBODY).await;
    heartbeats(all[0], 60).await;
    server.pause().await;
    let withheld = "midplane_cluster_verdicts_total{result=\"withheld\"}";
    eventually("somebody would be declared dead", async || (all[0].counted(withheld) > 0).then_some(())).await;
    server.resume();
    heartbeats(all[0], 60).await;
    no_alarm(&all);
}

#[tokio::test]
async fn a_node_whose_heartbeats_do_not_come_through_lives_as_long_as_it_writes_its_entry() {
    let server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let ada = Fellow::join_slow(&nats([server.url()], 1), "ada").await;
    let bob = Fellow::join_slow(&nats([liar.url()], 1), "bob").await;
    agree(&[&ada, &bob], &[("ada", Up), ("bob", Up)]).await;
    liar.swallow("midplane.hb.ada");
    // Longer than two timeouts.
    heartbeats(&ada, 25).await;
    no_alarm(&[&ada, &bob]);
}
