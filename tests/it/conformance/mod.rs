//! What every backplane promises, whoever carries the messages: one suite, run against each of them.

mod delivery;
mod history;
mod presence;
mod publishing;
mod registry;
mod requests;

use std::sync::Arc;

use midplane::backplane::embedded::Embedded;
use midplane::backplane::faults::{Faults, Faulty};
use midplane::backplane::{Backplane, FeedSender, feed};
use midplane::settings::Namespaces;

use crate::support::member::Member;
use crate::support::namespaces::{open, registry};
use crate::support::nats_server::{NatsCluster, NatsServer};
use crate::support::nats_settings::{connect, nats};

/// Publications that a reader may get of a channel in `kept`.
const SIZE: usize = 5;

/// `kept` has history, `long` a long one, `plain` and the default namespace none.
fn namespaces() -> Namespaces {
    registry([open("kept", Some(SIZE)), open("long", Some(3_000)), open("plain", None), open("", None)])
}

/// All promises, one after the other, on one node.
async fn suite(node: &Member) {
    delivery::suite(node).await;
    publishing::suite(node).await;
    history::suite(node).await;
    requests::suite(node).await;
    registry::suite(node).await;
    presence::suite(node).await;
    node.backplane.close().await;
}

async fn embedded(feed: FeedSender) -> Arc<dyn Backplane> {
    Embedded::new(&namespaces(), 64 << 20, feed)
}

#[tokio::test]
async fn the_embedded_backplane_keeps_its_promises() {
    suite(&Member::start(embedded).await).await;
}

#[tokio::test]
async fn the_decorator_without_faults_changes_nothing() {
    let (sender, feeds) = feed::open(3);
    let (faulty, feeds) = Faulty::around(embedded(sender).await, feeds, Arc::new(Faults::default()));
    suite(&Member::around(faulty, feeds)).await;
}

#[tokio::test]
async fn nats_on_a_single_server_keeps_its_promises() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let make = async |feed| connect(&settings, &namespaces(), feed).await.unwrap() as Arc<dyn Backplane>;
    suite(&Member::start(make).await).await;
}

#[tokio::test]
async fn nats_on_three_servers_keeps_its_promises() {
    let cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    let make = async |feed| connect(&settings, &namespaces(), feed).await.unwrap() as Arc<dyn Backplane>;
    suite(&Member::start(make).await).await;
}
