//! How much a stream keeps of a channel changes, by another node's settings or by hand, while clients are away: nobody is
//! told that it missed nothing who did.

use midplane::protocol::Offset;
use serde_json::{Value, json};

use super::{Operator, STREAM, join_with, keeping};
use crate::support::eventually;
use crate::support::member::{Member, channel};
use crate::support::nats_server::{NatsCluster, NatsServer};
use crate::support::nats_settings::nats;
use crate::support::node::Node;

/// A node of the cluster at `server` whose clients recover up to `size` publications.
async fn node(server: &NatsServer, size: usize) -> Node {
    let settings = format!(
        "[nats]\nservers = [\"{}\"]\n[[channel.namespaces]]\nname = \"kept\"\nhistory_size = {size}\n\
         history_ttl = \"5m\"\nforce_recovery = true\nallow_subscribe_for_client = true\n\
         allow_subscribe_for_anonymous = true\n",
        server.url()
    );
    Node::start(&settings).await
}

/// Where a client stands that subscribes to a channel, and then is gone.
async fn position(node: &Node, channel: &str) -> Value {
    let reply = node.client().await.ask(json!({"id": 2, "subscribe": {"channel": channel}})).await;
    let subscribed = &reply["subscribe"];
    json!({"channel": channel, "recover": true, "offset": subscribed["offset"], "epoch": subscribed["epoch"]})
}

/// What a client gets that comes back from `position`: everything, or nothing.
async fn recovered(node: &Node, position: &Value) -> Option<Vec<u64>> {
    let reply = node.client().await.ask(json!({"id": 2, "subscribe": position})).await;
    let subscribed = &reply["subscribe"];
    assert_eq!(subscribed["was_recovering"], true, "{reply}");
    let publications = subscribed["publications"].as_array().into_iter().flatten();
    let numbers = publications.map(|publication| publication["data"].as_u64().expect("a number")).collect();
    (subscribed["recovered"] == true).then_some(numbers)
}

impl Operator {
    /// Publishes as a backend does.
    async fn publish(&self, channel: &str, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            let subject = format!("midplane.pub.kept.{channel}");
            self.0.request(subject, number.to_string().into()).await.expect("it is stored");
        }
    }

    /// Has the stream keep so many messages of each channel.
    async fn keep(&self, messages: u64) {
        let mut config = self.info().await["config"].clone();
        config["max_msgs_per_subject"] = messages.into();
        self.ask(&format!("STREAM.UPDATE.{STREAM}"), config).await;
    }

    /// Waits until a node has recorded that the stream keeps so many.
    async fn sees_recorded(&self, messages: u64) {
        eventually("what the stream keeps is recorded", async || {
            let subject = format!("$KV.midplane_epochs.{STREAM}.depth");
            let question = json!({ "last_by_subj": subject });
            let entry = self.try_ask("STREAM.MSG.GET.KV_midplane_epochs", &question).await?;
            let data = entry["message"]["data"].as_str()?.to_owned();
            let record = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data).ok()?;
            let record: Value = serde_json::from_slice(&record).ok()?;
            (record["depths"].as_array()?.last()?[1] == messages).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn who_was_away_while_history_size_was_raised_is_not_told_that_it_missed_nothing() {
    let server = NatsServer::start().await;
    let operator = Operator::of(&nats([server.url()], 1)).await;
    let small = node(&server, 5).await;
    let before = position(&small, "kept:a").await;
    // Six of them stay: fewer than the next node keeps.
    operator.publish("a", 1..=10).await;
    let large = node(&server, 50).await;
    assert_eq!(recovered(&large, &before).await, None, "four are gone");
    // From then on as many are proven to be there as the new size says.
    operator.sees_recorded(51).await;
    let after = position(&large, "kept:b").await;
    operator.publish("b", 1..=50).await;
    let other = node(&server, 50).await;
    assert_eq!(recovered(&other, &after).await, Some((1..=50).collect()));
    assert_eq!(recovered(&other, &before).await, None);
}

#[tokio::test]
async fn what_was_taken_from_a_stream_by_hand_and_given_back_is_not_proven_to_be_there() {
    let server = NatsServer::start().await;
    let operator = Operator::of(&nats([server.url()], 1)).await;
    let first = node(&server, 50).await;
    let before = position(&first, "kept:a").await;
    operator.publish("a", 1..=10).await;
    operator.keep(3).await;
    first.stop().await;
    // It restores what it wants of the stream, and finds three of ten.
    let second = node(&server, 50).await;
    assert_eq!(operator.info().await["config"]["max_msgs_per_subject"], 51);
    assert_eq!(recovered(&second, &before).await, None, "seven are gone");
    // And where nobody has to restore anything.
    let between = position(&second, "kept:b").await;
    operator.publish("b", 1..=10).await;
    operator.keep(3).await;
    operator.sees_recorded(3).await;
    operator.keep(51).await;
    operator.sees_recorded(51).await;
    let other = node(&server, 50).await;
    assert_eq!(recovered(&other, &between).await, None, "seven are gone");
    let after = position(&other, "kept:c").await;
    operator.publish("c", 1..=10).await;
    assert_eq!(recovered(&node(&server, 50).await, &after).await, Some((1..=10).collect()));
}

#[tokio::test]
async fn more_counts_as_kept_only_once_all_copies_keep_it() {
    let cluster = NatsCluster::start().await;
    let settings = nats(cluster.urls(), 3);
    let depth = async |node: &Member| node.history().bounds("kept").await.ok().map(|it| it.depths.now());
    let small = join_with(&settings, &keeping(5)).await;
    assert_eq!(depth(&small).await, Some(6), "from its beginning");
    let stored = small.store(&channel("kept:a"), "x").await;
    let large = join_with(&settings, &keeping(50)).await;
    assert_eq!(Operator::of(&settings).await.info().await["config"]["max_msgs_per_subject"], 51);
    for node in [&small, &large] {
        assert_eq!(depth(node).await, Some(6), "copies take up a change one by one");
    }
    for node in [&small, &large] {
        let bounds = eventually("it is kept by all", async || {
            let bounds = node.history().bounds("kept").await.ok()?;
            (bounds.depths.now() == 51).then_some(bounds)
        });
        assert_eq!(bounds.await.depths.since(Offset(stored - 1)), 6, "of what came before less was kept");
    }
}
