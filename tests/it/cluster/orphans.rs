//! What shows up under a life that is over and was cleaned up after does not stay.

use midplane::backplane::{Backplane, Occupant, Presences, Source, Whose, Word, feed};
use uuid::Uuid;

use super::{Fellow, counted};
use crate::support::eventually;
use crate::support::member::channel;
use crate::support::namespaces;
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::{connect, nats};
use crate::support::node::Node;

/// Waits until everybody who was recorded under this life has left, and it is known of how many.
async fn have_left(records: &dyn Presences, life: &str, clients: usize) {
    eventually(&format!("{clients} clients of {life} have left"), async || {
        let page = records.page(Whose::Node(life), 1, 100, Source::Authority).await.ok()?;
        let all_left = page.records.iter().all(|record| record.info.is_none());
        (all_left && page.records.len() == clients).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_recorded_under_a_life_after_its_cleaning_vanishes() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let toml = format!(
        "nats.servers = [\"{}\"]\nnode.name = \"ada\"\n\
         cluster.heartbeat_interval = \"150ms\"\ncluster.failure_detection_timeout = \"750ms\"\n\
         channel.without_namespace.presence = true\n",
        server.url()
    );
    let ada = Node::start(&toml).await;
    let bob = Fellow::join(&settings, "bob").await;
    let (feed, _feeds) = feed::open(1);
    let writer = connect(&settings, &namespaces::registry([namespaces::open("", None)]), feed).await.unwrap();
    let records = writer.presences().unwrap();
    let life = bob.id();
    let occupant =
        |client| Occupant { node: life.as_str().into(), channel: channel("room"), client: Uuid::from_u128(client) };
    records.record(&occupant(1), Word::Here("{}".into())).await.unwrap();
    bob.die().await;
    have_left(records, &life, 1).await;
    records.record(&occupant(2), Word::Here("{}".into())).await.unwrap();
    have_left(records, &life, 2).await;
    eventually("it is counted", async || {
        let metrics = reqwest::get(format!("http://{}/metrics", ada.address)).await.ok()?.text().await.ok()?;
        (counted(&metrics, "midplane_cluster_orphans_total") == 1).then_some(())
    })
    .await;
    ada.stop().await;
    writer.close().await;
}
