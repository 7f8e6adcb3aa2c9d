//! Permissions change while nodes run, by a reload of the server's configuration: what is taken away is shown, what is given
//! back is asked for again, and what was missed in between is a gap.

use std::time::Duration;

use midplane::backplane::{GapCause, Health, PublishError, SubscribeError};
use midplane::settings::{Nats, NatsAuth};
use serde_json::json;
use tokio::time::timeout;

use super::join;
use crate::support::eventually;
use crate::support::member::{Member, channel, outgoing, text};
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;
use crate::support::node::Node;

/// A gateway that may do everything but this, and an operator.
fn without(publish: &[&str], subscribe: &[&str]) -> String {
    let (publish, subscribe) = (json!(publish), json!(subscribe));
    format!(
        "authorization {{ users: [ {{ user: operator, password: o }}, {{ user: gateway, password: g, permissions: {{\n\
           publish: {{ deny: {publish} }}, subscribe: {{ deny: {subscribe} }} }} }} ] }}"
    )
}

fn settings(server: &NatsServer, user: &str, password: &str) -> Nats {
    let mut settings = nats([server.url()], 1);
    settings.auth = NatsAuth::UserPassword { user: user.to_owned(), password: password.to_owned().into() };
    settings
}

fn change(server: &NatsServer, publish: &[&str], subscribe: &[&str]) {
    server.configure(&without(publish, subscribe));
    server.reload();
}

/// Waits until the node says that it does not work, for a reason that holds `word`.
async fn is_lost(node: &Member, word: &str) {
    let mut health = node.backplane.health();
    let lost = health.wait_for(|health| matches!(health, Health::Lost { why } if why.contains(word)));
    timeout(crate::support::PATIENCE, lost).await.unwrap_or_else(|_| panic!("lost: {word}")).unwrap();
}

async fn operator(server: &NatsServer) -> async_nats::Client {
    let options = async_nats::ConnectOptions::with_user_and_password("operator".to_owned(), "o".to_owned());
    options.connect(server.url().as_str()).await.unwrap()
}

#[tokio::test]
async fn a_subscription_that_nats_takes_back_is_asked_for_again_and_what_was_missed_is_a_gap() {
    let server = NatsServer::with_config(&without(&[], &[])).await;
    let node = join(&settings(&server, "gateway", "g")).await;
    let kept = channel("kept:a");
    node.subscribe(&kept).await;

    change(&server, &[], &["midplane.live.kept.>", "midplane.registry.>"]);
    node.gap(GapCause::Dropped).await;
    is_lost(&node, "NATS has taken back").await;
    let again = node.backplane.subscribe(&kept).await;
    assert!(matches!(again, Err(SubscribeError::Refused { .. })), "nobody may believe that it hears: {again:?}");
    node.store(&kept, "missed").await;
    assert!(node.texts(&kept).is_empty());
    node.forget();

    change(&server, &[], &[]);
    node.gap(GapCause::Dropped).await;
    node.ready().await;
    node.backplane.subscribe(&kept).await.unwrap();
    node.store(&kept, "heard").await;
    assert_eq!(text(&node.received(&kept, 1).await[0].data), "heard");
}

#[tokio::test]
async fn word_from_other_nodes_that_nats_takes_back_is_heard_again() {
    let server = NatsServer::with_config(&without(&[], &["midplane.secret"])).await;
    let node = join(&settings(&server, "gateway", "g")).await;
    let refused = node.backplane.broadcast().hear("secret").await;
    assert!(matches!(refused, Err(SubscribeError::Refused { .. })), "it was never permitted");
    let server = NatsServer::with_config(&without(&[], &[])).await;
    let node = join(&settings(&server, "gateway", "g")).await;
    let mut heard = node.backplane.broadcast().hear("control").await.unwrap();

    change(&server, &[], &["midplane.control"]);
    is_lost(&node, "midplane.control").await;
    change(&server, &[], &[]);
    node.ready().await;
    let operator = operator(&server).await;
    eventually("it hears again", async || {
        operator.publish("midplane.control", "x".into()).await.unwrap();
        timeout(Duration::from_millis(100), heard.recv()).await.ok().flatten()
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_answers_nats_takes_back_asks_again_once_it_may() {
    let server = NatsServer::with_config(&without(&[], &[])).await;
    let node = join(&settings(&server, "gateway", "g")).await;
    let kept = channel("kept:a");
    node.store(&kept, "before").await;
    change(&server, &[], &["_INBOX.>"]);
    is_lost(&node, "_INBOX").await;
    change(&server, &[], &[]);
    node.ready().await;
    node.store(&kept, "after").await;
}

#[tokio::test]
async fn a_node_that_may_not_publish_any_more_is_not_ready_until_it_may() {
    let server = NatsServer::with_config(&without(&[], &[])).await;
    let url = format!("nats://gateway:g@127.0.0.1:{}", server.port());
    let node = Node::start(&format!("nats.servers = [\"{url}\"]\nnats.replicas = 1")).await;
    let ready = async || reqwest::get(format!("http://{}/ready", node.address)).await.unwrap().text().await.unwrap();
    eventually("it is ready", async || ready().await.contains("\"ready\":true").then_some(())).await;
    // Nobody publishes but the canary.
    change(&server, &["midplane.pub.>"], &[]);
    eventually("it says why", async || {
        ready().await.contains("no permission to publish to midplane.pub.").then_some(())
    })
    .await;
    change(&server, &[], &[]);
    eventually("it is ready again", async || ready().await.contains("\"ready\":true").then_some(())).await;
}

#[tokio::test]
async fn a_publication_that_nats_does_not_permit_is_refused_and_the_node_says_so() {
    let server = NatsServer::with_config(&without(&[], &[])).await;
    let node = join(&settings(&server, "gateway", "g")).await;
    let kept = channel("kept:a");
    node.store(&kept, "before").await;
    change(&server, &["midplane.pub.kept.>"], &[]);
    eventually("it is refused", async || {
        let outcome = node.backplane.publish(&kept, outgoing("x")).await;
        matches!(outcome, Err(PublishError::Refused(_))).then_some(())
    })
    .await;
    is_lost(&node, "no permission to publish to midplane.pub.kept.").await;
    change(&server, &[], &[]);
    node.ready().await;
    node.store(&kept, "after").await;
}
