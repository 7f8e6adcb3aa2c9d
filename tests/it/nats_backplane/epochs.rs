//! A store that is no longer the same has another epoch; one that is has the same.

use midplane::backplane::{GapCause, Scope};
use midplane::protocol::Offset;
use midplane::settings::Storage;
use serde_json::json;

use super::{Operator, STREAM, join};
use crate::support::eventually;
use crate::support::liar::Liar;
use crate::support::member::{Member, channel};
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;

pub async fn epoch(node: &Member) -> String {
    eventually("the top is known", async || {
        let top = node.history().top(&channel("kept:a")).await.ok()?;
        Some(top.epoch.as_str().to_owned())
    })
    .await
}

#[tokio::test]
async fn all_nodes_see_one_epoch_and_a_restart_does_not_change_it() {
    let mut server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (one, other) = (join(&settings).await, join(&settings).await);
    one.store(&channel("kept:a"), "x").await;
    let before = epoch(&one).await;
    assert_eq!(epoch(&other).await, before);
    server.kill();
    server.restart().await;
    one.ready().await;
    assert_eq!(epoch(&one).await, before);
    assert_eq!(epoch(&join(&settings).await).await, before);
    assert!(one.gaps().iter().all(|gap| gap.cause != GapCause::EpochChanged));
}

/// A node whose server is made to lie, with five messages in `kept:a`.
async fn behind_a_liar() -> (NatsServer, Liar, Member) {
    let server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let node = join(&nats([liar.url()], 1)).await;
    for _ in 0..5 {
        node.store(&channel("kept:a"), "x").await;
    }
    (server, liar, node)
}

#[tokio::test]
async fn a_deposed_leader_that_does_not_know_it_makes_nobody_start_over() {
    let (_server, liar, node) = behind_a_liar().await;
    let before = epoch(&node).await;
    // As one says that was cut off from its fellows before the last three were stored.
    liar.lie("\"last_seq\":6", "\"last_seq\":3");
    liar.tear();
    node.gap(GapCause::Reconnect).await;
    node.ready().await;
    assert_eq!(epoch(&node).await, before);
    assert!(node.gaps().iter().all(|gap| gap.cause != GapCause::EpochChanged));
}

#[tokio::test]
async fn what_a_deposed_leader_takes_for_the_newest_message_is_not_believed() {
    let (_server, liar, node) = behind_a_liar().await;
    let kept = channel("kept:a");
    let before = node.history().top(&kept).await.expect("a top");
    assert_eq!(before.newest, Some(Offset(6)));
    // It answers both questions, and only what it says of the stream shows that it is behind. A mark may be the last message.
    let last = format!("\"last_seq\":{}", before.last.0);
    liar.lies(&[(&last, "\"last_seq\":3"), ("\"seq\":6", "\"seq\":3")]);
    let asked = async { node.history().top(&kept).await };
    let deposed = async {
        eventually("it has answered both", async || liar.has_lied().then_some(())).await;
        liar.repent();
    };
    let (top, ()) = tokio::join!(asked, deposed);
    let top = top.expect("a top");
    assert_eq!(top.newest, Some(Offset(6)));
    assert!(top.last >= before.last, "{} is what the deposed one knew", top.last.0);
}

#[tokio::test]
async fn a_new_epoch_that_nobody_told_of_is_found_all_the_same() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let node = join(&settings).await;
    let before = epoch(&node).await;
    // As another node does it, whose word to the others is lost.
    let generation = format!("$KV.midplane_epochs.{STREAM}");
    Operator::of(&settings).await.0.request(generation, "7".into()).await.unwrap();
    node.gap(GapCause::EpochChanged).await;
    assert_ne!(epoch(&node).await, before);
}

#[tokio::test]
async fn nodes_share_one_mark_of_the_stream() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let nodes = futures_util::future::join_all((0..4).map(|_| join(&settings))).await;
    assert_eq!(nodes[0].store(&channel("kept:a"), "x").await, 2);
    let operator = Operator::of(&settings).await;
    let mark = operator.ask(&format!("STREAM.MSG.GET.{STREAM}"), json!({ "seq": 1 })).await;
    let subject = mark["message"]["subject"].as_str().expect("a message");
    assert!(subject.starts_with("midplane.pub.kept.%.mark."), "{subject}");
}

#[tokio::test]
async fn a_memory_stream_that_vanished_is_made_again_under_a_new_epoch() {
    let mut server = NatsServer::start().await;
    let mut settings = nats([server.url()], 1);
    settings.storage = Storage::Memory;
    let node = join(&settings).await;
    let kept = channel("kept:a");
    node.subscribe(&kept).await;
    for _ in 0..5 {
        node.store(&kept, "x").await;
    }
    let before = epoch(&node).await;
    server.kill();
    server.restart().await;
    let gap = node.gap(GapCause::EpochChanged).await;
    assert_eq!(gap.scope, Scope::Namespace("kept".into()));
    node.gap(GapCause::Reconnect).await;
    assert_eq!(node.store(&kept, "y").await, 2, "behind the stream's first mark");
    assert_ne!(epoch(&node).await, before);
}

#[tokio::test]
async fn a_stream_that_somebody_made_anew_shows_at_the_next_read() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (one, other) = (join(&settings).await, join(&settings).await);
    for _ in 0..5 {
        one.store(&channel("kept:a"), "x").await;
    }
    let before = epoch(&one).await;
    let operator = Operator::of(&settings).await;
    let config = operator.info().await["config"].clone();
    operator.ask(&format!("STREAM.DELETE.{STREAM}"), json!({})).await;
    operator.ask(&format!("STREAM.CREATE.{STREAM}"), config).await;
    assert_ne!(epoch(&one).await, before);
    one.gap(GapCause::EpochChanged).await;
    other.gap(GapCause::EpochChanged).await;
    assert_eq!(epoch(&one).await, epoch(&other).await);
}

#[tokio::test]
async fn a_store_that_was_rolled_back_has_another_epoch_on_every_node() {
    let mut server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (one, other) = (join(&settings).await, join(&settings).await);
    let kept = channel("kept:a");
    one.subscribe(&kept).await;
    other.subscribe(&kept).await;
    for n in 0..5 {
        one.store(&kept, &n.to_string()).await;
    }
    let before = epoch(&one).await;
    server.stop().await;
    let snapshot = server.snapshot();
    server.restart().await;
    one.ready().await;
    other.ready().await;
    for n in 5..10 {
        one.store(&kept, &n.to_string()).await;
    }
    other.received(&kept, 10).await;
    assert_eq!(epoch(&one).await, before);

    server.stop().await;
    server.roll_back(&snapshot);
    server.restart().await;

    one.gap(GapCause::EpochChanged).await;
    other.gap(GapCause::EpochChanged).await;
    let after = epoch(&one).await;
    assert_ne!(after, before);
    assert_eq!(epoch(&other).await, after);
    assert_eq!(epoch(&join(&settings).await).await, after);
    let again = one.store(&kept, "again").await;
    assert!((7..=11).contains(&again), "a sequence that another message had, not {again}");
    assert_eq!(epoch(&other).await, after, "one step back, one new epoch");
}

#[tokio::test]
async fn a_rolled_back_store_shows_also_when_it_has_grown_past_what_was_seen() {
    let mut server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let node = join(&settings).await;
    let kept = channel("kept:a");
    node.subscribe(&kept).await;
    node.store(&kept, "0").await;
    server.stop().await;
    let snapshot = server.snapshot();
    server.restart().await;
    node.ready().await;
    node.gap(GapCause::Reconnect).await;
    node.store(&kept, "1").await;
    node.received(&kept, 2).await;
    let before = epoch(&node).await;

    server.stop().await;
    server.roll_back(&snapshot);
    // Others write before the node is back: where it looks first, nothing is missing.
    let elsewhere = NatsServer::with_config(&format!("jetstream {{ store_dir: {:?} }}", server.store())).await;
    let operator = Operator::of(&nats([elsewhere.url()], 1)).await;
    for n in 0..10 {
        let body = n.to_string();
        operator.0.request("midplane.pub.kept.other", body.into()).await.unwrap();
    }
    drop((operator, elsewhere));
    server.restart().await;
    node.gap(GapCause::EpochChanged).await;
    assert_ne!(epoch(&node).await, before);
    assert!(node.history().bounds("kept").await.unwrap().last >= Offset(11));
}
