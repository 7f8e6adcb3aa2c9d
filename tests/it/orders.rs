//! What is to happen to a client happens, whatever the client does meanwhile.

use async_nats::Subscriber;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::support::eventually;
use crate::support::liar::Liar;
use crate::support::nats_server::NatsServer;
use crate::support::node::{Node, Socket};
use crate::support::token::{at, signed};

const SECRET: &str = "a secret of thirty-two bytes, or more";
/// Calls in one message of a client that keeps its session busy.
const CALLS: usize = 40;

/// A node behind this port of NATS, with a namespace that keeps its publications; `client` is more of that section.
async fn node(nats: u16, client: &str) -> Node {
    Node::start(&format!(
        "http_api.insecure = true\n[nats]\nservers = [\"nats://127.0.0.1:{nats}\"]\n[client]\n{client}\n\
         [client.token]\nhmac_secret_key = \"{SECRET}\"\n[hooks.rpc]\ntimeout = \"20s\"\n\
         [[channel.namespaces]]\nname = \"kept\"\nhistory_size = 10\nhistory_ttl = \"60s\"\nforce_recovery = true\n\
         [channel.without_namespace]\nallow_subscribe_for_client = true\n"
    ))
    .await
}

/// A service that hears what it is asked.
async fn service(server: &NatsServer) -> (async_nats::Client, Subscriber) {
    let nats = async_nats::connect(server.url().as_str()).await.unwrap();
    let asked = nats.subscribe("midplane.rpc.work").await.unwrap();
    // An answer proves that the server has read the subscription before it; a flush would not.
    nats.request("nobody.serves.this", "".into()).await.expect_err("nobody answers");
    (nats, asked)
}

/// One that takes its time for each answer.
async fn slow_service(server: &NatsServer) {
    let (nats, mut asked) = service(server).await;
    tokio::spawn(async move {
        while let Some(call) = asked.next().await {
            sleep(Duration::from_millis(300)).await;
            nats.publish(call.reply.expect("a request"), "{}".into()).await.unwrap();
        }
    });
}

async fn connected(node: &Node, claims: Value) -> Socket {
    let mut socket = node.socket().await;
    let reply = socket.ask(json!({"id": 1, "connect": {"token": signed(SECRET, &claims)}})).await;
    assert!(reply["connect"]["client"].is_string(), "{reply}");
    socket
}

/// Calls the service again and again, all in one message.
async fn keeps_its_session_busy(client: &mut Socket) {
    let call = |id: usize| json!({"id": id + 100, "rpc": {"method": "work"}}).to_string();
    client.say_raw(&(0..CALLS).map(call).collect::<Vec<_>>().join("\n")).await;
}

async fn call(node: &Node, method: &str, body: Value) {
    let url = format!("http://{}/api/{method}", node.address);
    let answer = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), r#"{"result":{}}"#, "{method}");
}

/// How many calls are answered before something else is said, and that.
async fn answered_before(client: &mut Socket) -> (usize, Value) {
    let mut answered = 0;
    loop {
        let said = client.hear().await;
        if said["rpc"].is_null() {
            return (answered, said);
        }
        answered += 1;
    }
}

#[tokio::test]
async fn a_client_that_keeps_its_session_busy_is_unsubscribed_all_the_same() {
    let server = NatsServer::start().await;
    slow_service(&server).await;
    let node = node(server.port(), "").await;
    let mut ann = connected(&node, json!({"sub": "ann"})).await;
    assert!(ann.ask(json!({"id": 2, "subscribe": {"channel": "news"}})).await["subscribe"].is_object());
    keeps_its_session_busy(&mut ann).await;
    assert!(ann.hear().await["rpc"].is_object(), "it is busy");
    call(&node, "unsubscribe", json!({"user": "ann", "channel": "news"})).await;
    let (answered, said) = answered_before(&mut ann).await;
    assert_eq!(said["push"]["unsubscribe"]["code"], 2000, "{said}");
    assert!(answered < CALLS / 2, "{answered} commands went before what its backend wants");
}

#[tokio::test]
async fn a_client_that_keeps_its_session_busy_expires_all_the_same() {
    let server = NatsServer::start().await;
    slow_service(&server).await;
    let node = node(server.port(), "expired_close_delay = \"1ms\"").await;
    let mut ann = connected(&node, json!({"sub": "ann", "exp": at(3)})).await;
    keeps_its_session_busy(&mut ann).await;
    // All answers would take four times as long.
    assert_eq!(ann.closed().await, (3005, "connection expired".to_owned()));
}

#[tokio::test]
async fn a_command_under_way_does_not_put_off_a_disconnect() {
    let server = NatsServer::start().await;
    let (_nats, mut asked) = service(&server).await;
    let node = node(server.port(), "").await;
    let mut ann = connected(&node, json!({"sub": "ann"})).await;
    keeps_its_session_busy(&mut ann).await;
    asked.next().await.expect("the first call");
    call(&node, "disconnect", json!({"user": "ann"})).await;
    // That the service does not answer in time would be said before.
    let (said, (code, _)) = ann.said_until_closed().await;
    assert_eq!((said, code), (vec![], 3503));
    assert!(asked.next().now_or_never().is_none(), "none of its other calls was made");
}

#[tokio::test]
async fn an_order_to_subscribe_that_fails_for_the_moment_is_told_by_the_connections_end() {
    let server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let node = node(liar.port(), "").await;
    let mut ann = connected(&node, json!({"sub": "ann"})).await;
    // Where the channel stands cannot be learnt.
    liar.swallow("\"last_seq\"");
    call(&node, "subscribe", json!({"user": "ann", "channel": "kept:a"})).await;
    assert_eq!(ann.closed().await, (3010, "insufficient state".to_owned()));
    eventually("it is counted", async || {
        let metrics = reqwest::get(format!("http://{}/metrics", node.address)).await.unwrap().text().await.unwrap();
        metrics.contains("midplane_orders_failed_total 1\n").then_some(())
    })
    .await;
}
