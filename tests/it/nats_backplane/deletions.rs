//! The bucket of generations is deleted while nodes run: it is made again. A stream that is proven to be whole keeps its
//! epoch, everything else begins a new one, and all nodes agree.

use std::fs;

use midplane::backplane::GapCause;
use midplane::settings;
use serde_json::{Value, json};

use super::epochs::epoch;
use super::{Operator, STREAM, join};
use crate::support::eventually;
use crate::support::member::{Member, channel};
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;

const BUCKET: &str = "KV_midplane_epochs";

/// Two nodes that have stored something, and an operator.
async fn cluster(settings: &settings::Nats) -> (Member, Member, Operator) {
    let (one, other) = (join(settings).await, join(settings).await);
    let kept = channel("kept:a");
    one.subscribe(&kept).await;
    for number in 0..5 {
        one.store(&kept, &number.to_string()).await;
    }
    one.received(&kept, 5).await;
    (one, other, Operator::of(settings).await)
}

async fn delete(operator: &Operator, stream: &str) {
    operator.ask(&format!("STREAM.DELETE.{stream}"), json!({})).await;
}

/// The stream's generation, once it stands again.
async fn stands(operator: &Operator) -> Value {
    let question = json!({ "last_by_subj": format!("$KV.midplane_epochs.{STREAM}") });
    eventually("the generation stands", async || {
        let answer = operator.try_ask(&format!("STREAM.MSG.GET.{BUCKET}"), &question).await?;
        answer["message"]["data"].is_string().then(|| answer["message"]["data"].clone())
    })
    .await
}

/// Both nodes, and one that joins now, have left the epoch `before` for one and the same.
async fn have_another_epoch(nodes: [&Member; 2], settings: &settings::Nats, before: &str) {
    for node in nodes {
        node.gap(GapCause::EpochChanged).await;
    }
    let after = epoch(nodes[0]).await;
    assert_ne!(after, before);
    assert_eq!(epoch(nodes[1]).await, after);
    assert_eq!(epoch(&join(settings).await).await, after);
}

#[tokio::test]
async fn a_stream_that_is_whole_keeps_its_epoch_when_the_bucket_of_epochs_is_deleted() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (one, other, operator) = cluster(&settings).await;
    let (before, stood) = (epoch(&one).await, stands(&operator).await);
    delete(&operator, BUCKET).await;
    assert_eq!(stands(&operator).await, stood);
    for node in [&one, &other, &join(&settings).await] {
        assert_eq!(epoch(node).await, before);
        node.ready().await;
        assert!(node.gaps().iter().all(|gap| gap.cause != GapCause::EpochChanged));
    }
}

#[tokio::test]
async fn a_generation_that_was_raised_is_not_forgotten_with_its_bucket() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (one, other, operator) = cluster(&settings).await;
    let original = epoch(&one).await;
    let generation = format!("$KV.midplane_epochs.{STREAM}");
    operator.0.request(generation, u64::MAX.to_string().into()).await.unwrap();
    for node in [&one, &other] {
        node.gap(GapCause::EpochChanged).await;
    }
    let raised = epoch(&one).await;
    assert_ne!(raised, original);
    delete(&operator, BUCKET).await;
    stands(&operator).await;
    for node in [&one, &other, &join(&settings).await] {
        assert_eq!(epoch(node).await, raised);
    }
}

#[tokio::test]
async fn a_stream_that_is_deleted_with_the_bucket_of_epochs_is_another_on_every_node() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (one, other, operator) = cluster(&settings).await;
    let before = epoch(&one).await;
    delete(&operator, BUCKET).await;
    delete(&operator, STREAM).await;
    have_another_epoch([&one, &other], &settings, &before).await;
    assert_eq!(one.store(&channel("kept:a"), "y").await, 2, "behind the stream's first mark");
}

#[tokio::test]
async fn what_nothing_proves_to_be_whole_begins_a_new_epoch_when_the_bucket_of_epochs_is_deleted() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (one, other, operator) = cluster(&settings).await;
    let before = epoch(&one).await;
    // The messages by which the nodes would know the stream again.
    operator.ask(&format!("STREAM.PURGE.{STREAM}"), json!({})).await;
    delete(&operator, BUCKET).await;
    have_another_epoch([&one, &other], &settings, &before).await;
}

#[tokio::test]
async fn a_store_that_was_rolled_back_to_before_its_bucket_of_epochs_has_another_epoch() {
    let mut server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (one, other, _operator) = cluster(&settings).await;
    server.stop().await;
    let snapshot = server.snapshot();
    fs::remove_dir_all(snapshot.path().join("jetstream/$G/streams").join(BUCKET)).unwrap();
    server.restart().await;
    one.ready().await;
    for number in 5..10 {
        one.store(&channel("kept:a"), &number.to_string()).await;
    }
    let before = epoch(&one).await;
    server.stop().await;
    server.roll_back(&snapshot);
    server.restart().await;
    have_another_epoch([&one, &other], &settings, &before).await;
}

#[tokio::test]
async fn a_bucket_of_epochs_that_was_lost_while_no_node_ran_makes_whoever_returns_start_over() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (one, other, operator) = cluster(&settings).await;
    let before = epoch(&one).await;
    for node in [&one, &other] {
        node.backplane.close().await;
    }
    delete(&operator, BUCKET).await;
    let (first, second) = tokio::join!(join(&settings), join(&settings));
    let after = epoch(&first).await;
    assert_ne!(after, before, "nobody remembers how often it was raised");
    assert_eq!(epoch(&second).await, after);
}
