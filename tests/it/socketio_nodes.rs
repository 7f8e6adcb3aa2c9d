//! Requests of long-polling that come to another node than their session's.

use std::time::Duration;

use async_nats::HeaderMap;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use url::Url;

use crate::support::liar::Liar;
use crate::support::nats_server::NatsServer;
use crate::support::node::Node;
use crate::support::{PATIENCE, eventually};

const UNKNOWN: &str = "{\"code\":1,\"message\":\"Session ID unknown\"}";

async fn cluster(ping_interval: &str) -> (NatsServer, Node, Node) {
    let server = NatsServer::start().await;
    let (owner, other) = (node(&server.url(), ping_interval).await, node(&server.url(), ping_interval).await);
    (server, owner, other)
}

async fn node(nats: &Url, ping_interval: &str) -> Node {
    node_with(nats, ping_interval, "").await
}

/// `more` is said of the main namespace.
async fn node_with(nats: &Url, ping_interval: &str, more: &str) -> Node {
    let settings = format!(
        "[client]\nallow_anonymous_connect_without_token = true\n[nats]\nservers = [\"{nats}\"]\n\
         [[channel.namespaces]]\nname = \"chat\"\nhistory_size = 10\nhistory_ttl = \"5m\"\n\
         [socketio]\nping_interval = \"{ping_interval}\"\n[[socketio.namespaces]]\nname = \"/\"\n{more}\n"
    );
    Node::start(&settings).await
}

fn url(node: &Node, sid: &str) -> String {
    format!("http://{}/socket.io/?EIO=4&transport=polling{sid}", node.address)
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = timeout(PATIENCE, request.send()).await.expect("an answer in time").expect("an answer");
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn get(node: &Node, sid: &str) -> (u16, String) {
    answer(reqwest::Client::new().get(url(node, sid))).await
}

async fn post(node: &Node, sid: &str, body: &str) -> (u16, String) {
    answer(reqwest::Client::new().post(url(node, sid)).body(body.to_owned())).await
}

/// A new session's id, as a query has it.
async fn open(node: &Node) -> String {
    let (_, body) = get(node, "").await;
    let opened: Value = serde_json::from_str(body.strip_prefix('0').unwrap()).unwrap();
    format!("&sid={}", opened["sid"].as_str().unwrap())
}

async fn measured(node: &Node, line: &str) -> bool {
    let metrics = reqwest::get(format!("http://{}/metrics", node.address)).await.unwrap().text().await.unwrap();
    metrics.lines().any(|each| each == line)
}

#[tokio::test]
async fn requests_reach_their_session_at_another_node() {
    let (_server, owner, other) = cluster("500ms").await;
    let sid = open(&owner).await;
    assert_eq!(post(&other, &sid, "40").await, (200, "ok".to_owned()));
    let (status, connected) = get(&other, &sid).await;
    assert!(status == 200 && connected.starts_with("40{\"sid\":"), "{connected}");
    // A request waits there as here, until the next ping at the latest; which may have come with the answer before.
    if !connected.ends_with("\x1e2") {
        assert_eq!(get(&other, &sid).await, (200, "2".to_owned()));
    }
    assert_eq!(post(&other, &sid, "3\x1e1").await, (200, "ok".to_owned()));
    eventually("the session is over", async || (get(&owner, &sid).await == (400, UNKNOWN.to_owned())).then_some(()))
        .await;
    assert_eq!(get(&other, &sid).await, (400, UNKNOWN.to_owned()));
    assert_eq!(post(&other, &sid, "42[\"a\"]").await, (400, UNKNOWN.to_owned()));
}

#[tokio::test]
async fn what_breaks_the_rules_ends_a_session_from_any_node() {
    let (_server, owner, other) = cluster("25s").await;
    let sid = open(&owner).await;
    assert_eq!(post(&other, &sid, "rubbish").await, (400, String::new()));
    assert_eq!(get(&owner, &sid).await, (400, UNKNOWN.to_owned()));
    let sid = open(&owner).await;
    assert_eq!(
        post(&other, &sid, &"4".repeat(1_000_001)).await,
        (413, String::new()),
        "it is refused where it came to"
    );
    assert_eq!(post(&other, &sid, "40").await, (200, "ok".to_owned()), "and the session lives on");
    get(&other, &sid).await;
    // A client that goes while its request waits has closed its session.
    let client = reqwest::Client::new();
    let request = client.get(url(&other, &sid)).timeout(Duration::from_secs(2)).send().await;
    assert!(request.is_err_and(|error| error.is_timeout()));
    eventually("the session is over", async || (get(&owner, &sid).await == (400, UNKNOWN.to_owned())).then_some(()))
        .await;
}

#[tokio::test]
async fn a_post_that_no_message_of_nats_carries_ended_without_a_word_why() {
    let server = NatsServer::with_config("max_payload: 131072").await;
    let (owner, other) = (node(&server.url(), "25s").await, node(&server.url(), "25s").await);
    let sid = open(&owner).await;
    assert_eq!(post(&other, &sid, &"4".repeat(200_000)).await, (413, String::new()));
    assert!(measured(&other, "midplane_socketio_forwarded_total{result=\"too_large\"} 1").await);
    assert_eq!(post(&other, &sid, "40").await, (200, "ok".to_owned()), "the session lives on");
}

#[tokio::test]
async fn a_node_that_is_gone_is_known_to_be_gone_at_once() {
    let (_server, owner, other) = cluster("25s").await;
    let sid = open(&owner).await;
    owner.stop().await;
    let answered = timeout(Duration::from_secs(3), get(&other, &sid)).await;
    assert_eq!(answered.expect("at once"), (400, UNKNOWN.to_owned()));
    assert_eq!(post(&other, &sid, "40").await, (400, UNKNOWN.to_owned()));
    assert_eq!(get(&other, &format!("&sid={}", "A".repeat(43))).await, (400, UNKNOWN.to_owned()), "nor who never was");
}

#[tokio::test]
async fn rubbish_over_nats_is_counted_and_changes_nothing() {
    let (server, owner, other) = cluster("25s").await;
    let sid = open(&owner).await;
    let node = BASE64_URL_SAFE_NO_PAD.decode(sid.strip_prefix("&sid=").unwrap()).unwrap();
    let node: String = node[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let subject = format!("midplane.node.{node}.engineio");
    let nats = async_nats::connect(server.url().as_str()).await.unwrap();
    let mut asks = vec![HeaderMap::new()];
    for (session, ask, number) in [("x", "poll", "1"), ("0", "no-such", "1"), ("0", "poll", "-1")] {
        let mut headers = HeaderMap::new();
        headers.insert("Midplane-Session", session.replace('0', "00000000000000000000000000000000"));
        headers.insert("Midplane-Ask", ask);
        headers.insert("Midplane-Number", number);
        asks.push(headers);
    }
    let count = asks.len();
    for headers in asks {
        nats.publish_with_reply_and_headers(subject.clone(), nats.new_inbox(), headers, "rubbish".into())
            .await
            .unwrap();
    }
    eventually("it is counted", async || {
        let line = format!("midplane_cluster_malformed_total{{topic=\"session\"}} {count}");
        measured(&owner, &line).await.then_some(())
    })
    .await;
    assert_eq!(post(&other, &sid, "40").await, (200, "ok".to_owned()));
}

/// A session that was lost on its way to the node of its WebSocket; what services were told of it.
async fn lose_on_its_way(server: &NatsServer, owner: &Node, other: &Node, liar: &Liar) -> Vec<Value> {
    let nats = async_nats::connect(server.url().as_str()).await.unwrap();
    let mut told = nats.subscribe("midplane.sio._.>").await.unwrap();
    nats.flush().await.unwrap();
    let sid = open(owner).await;
    assert_eq!(post(owner, &sid, "40").await.0, 200);
    let (_, connected) = get(owner, &sid).await;
    let socket: Value = serde_json::from_str(connected.strip_prefix("40").unwrap()).unwrap();
    let id = socket["sid"].as_str().unwrap().to_owned();
    // Half a packet, of which nothing is said before the session leaves.
    let half = r#"451-["half-a-packet",{"_placeholder":true,"num":0}]"#;
    assert_eq!(post(owner, &sid, half).await.0, 200);
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket{sid}", other.address);
    let (mut websocket, _) = connect_async(url).await.unwrap();
    websocket.send(Message::text("2probe")).await.unwrap();
    let probed = timeout(PATIENCE, websocket.next()).await.expect("an answer in time").unwrap().unwrap();
    assert_eq!(probed, Message::text("3probe"));
    liar.swallow("half-a-packet");
    websocket.send(Message::text("5")).await.unwrap();
    let mut heard = Vec::new();
    while !heard.last().is_some_and(|last: &Value| last[0] == "disconnect") {
        let told = timeout(PATIENCE, told.next()).await.expect("services hear of it").unwrap();
        assert_eq!(told.headers.unwrap().get("Midplane-Client").unwrap().as_str(), id);
        heard.push(serde_json::from_slice(&told.payload).unwrap());
    }
    assert_eq!(get(owner, &sid).await.0, 400, "it is not there either");
    heard
}

#[tokio::test]
async fn nobody_heard_that_a_session_was_lost_on_its_way_to_another_node() {
    let server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let (owner, other) = (node(&server.url(), "25s").await, node(&liar.url(), "25s").await);
    let told = lose_on_its_way(&server, &owner, &other, &liar).await;
    assert_eq!(told, [json!(["connect"]), json!(["disconnect", "transport error"])]);
    for line in [
        "midplane_socketio_moves_total{result=\"failed\"} 1",
        "midplane_connections_closed_total{transport=\"socketio\",code=\"1006\"} 1",
        "midplane_connections{transport=\"socketio\",protocol=\"socketio\"} 0",
    ] {
        eventually(line, async || measured(&other, line).await.then_some(())).await;
    }
    assert!(measured(&owner, "midplane_connections{transport=\"socketio\",protocol=\"socketio\"} 0").await);
}

#[tokio::test]
async fn the_rooms_of_a_session_that_was_lost_on_its_way_were_never_left() {
    let server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let more = "rooms = \"chat\"\njoin = [\"lobby\", \"attic\"]\n\
                tell = [\"join\", \"leave\", \"connect\", \"disconnect\"]";
    let (owner, other) = (node_with(&server.url(), "25s", more).await, node_with(&liar.url(), "25s", more).await);
    let told = lose_on_its_way(&server, &owner, &other, &liar).await;
    let rooms = |what: &'static str| ["lobby", "attic"].map(|room| json!([what, room]));
    let all = [&[json!(["connect"])][..], &rooms("join"), &rooms("leave"), &[json!(["disconnect", "transport error"])]];
    assert_eq!(told, all.concat());
}
