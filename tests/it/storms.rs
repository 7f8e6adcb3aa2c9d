//! Many who connect at once: what is too much for the moment is told to come again, and all get in at last.

use std::time::Duration;

use axum::Router;
use axum::routing::post;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::eventually;
use crate::support::node::{Node, Socket};
use crate::support::token::signed;

const SECRET: &str = "a secret of thirty-two bytes, or more";
const CLIENTS: usize = 40;

/// An application that takes its time to say who comes.
async fn slow_application() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = || async {
        sleep(Duration::from_millis(20)).await;
        r#"{"result": {"user": "ann"}}"#
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(answer))).await });
    url
}

/// A client that comes again as long as it is told to; how often it was.
async fn comes_until_it_is_in(node: &Node) -> (Socket, usize) {
    let mut turned_away = 0;
    let socket = eventually("it is in", async || {
        let Some(mut socket) = Socket::try_open(&node.address.to_string()).await else {
            turned_away += 1;
            return None;
        };
        socket.say(json!({"id": 1, "connect": {}})).await;
        match socket.connected_or_closed().await {
            Ok(_) => Some(socket),
            Err(code) => {
                assert_eq!(code, 3013);
                turned_away += 1;
                None
            }
        }
    })
    .await;
    (socket, turned_away)
}

#[tokio::test]
async fn of_a_storm_all_get_in_at_last_however_few_may_connect_at_a_time() {
    let application = slow_application().await;
    let node = Node::start(&format!(
        "client.user_connect_rate = \"off\"\n[client.connects]\nconcurrency = 2\nqueue = 4\nwait = \"1s\"\n\
         [hooks.connect]\nendpoint = \"{application}/connect\"\ntimeout = \"20s\"\n\
         [channel.without_namespace]\nallow_subscribe_for_client = true\n"
    ))
    .await;
    let inside = join_all((0..CLIENTS).map(|_| comes_until_it_is_in(&node))).await;
    assert!(inside.iter().map(|(_, turned_away)| turned_away).sum::<usize>() > 0, "nothing was bounded");
    let mut sockets: Vec<_> = inside.into_iter().map(|(socket, _)| socket).collect();
    for socket in &mut sockets {
        assert!(socket.ask(json!({"id": 2, "ping": {}})).await["ping"].is_object());
    }
    let overflows = counted(&node, "midplane_queue_overflows_total{queue=\"connect\"}").await;
    assert!(overflows + counted(&node, "midplane_handshakes_rejected_total{reason=\"busy\"}").await > 0);
    assert_eq!(counted(&node, "midplane_handshakes_inflight").await, 0);
}

/// What a metric stands at.
async fn counted(node: &Node, line: &str) -> usize {
    let metrics = reqwest::get(format!("http://{}/metrics", node.address)).await.expect("metrics");
    let metrics = metrics.text().await.expect("a body");
    let found =
        metrics.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("{line}: {metrics}"));
    found.trim().parse().expect("a number")
}

/// What a channel's position was before three publications of nine kilobytes.
async fn miss(node: &Node, channel: &str) -> Value {
    let mut at = Value::Null;
    for number in 0..4 {
        let data = json!({"channel": channel, "data": {"number": number, "text": "x".repeat(9 * 1024)}});
        let call = reqwest::Client::new().post(format!("http://{}/api/publish", node.address)).body(data.to_string());
        let answer: Value = call.send().await.expect("an answer").json().await.expect("JSON");
        if number == 0 {
            at = answer["result"].clone();
        }
    }
    json!({"recover": true, "offset": at["offset"], "epoch": at["epoch"]})
}

#[tokio::test]
async fn what_a_connect_recovers_in_all_its_channels_is_bounded() {
    let node = Node::start(&format!(
        "http_api.insecure = true\n[client]\ntoken.hmac_secret_key = \"{SECRET}\"\nqueue_max_size = \"80KiB\"\n\
         [[channel.namespaces]]\nname = \"news\"\nhistory_size = 10\nhistory_ttl = \"60s\"\nforce_recovery = true\n"
    ))
    .await;
    let subs = json!({"news:a": miss(&node, "news:a").await, "news:b": miss(&node, "news:b").await});
    let token = signed(SECRET, &json!({"sub": "ann", "channels": ["news:a", "news:b"]}));
    let mut ann = node.socket().await;
    let connected = ann.ask(json!({"id": 1, "connect": {"token": token, "subs": subs}})).await;
    let [a, b] = ["news:a", "news:b"].map(|channel| connected["connect"]["subs"][channel].clone());
    assert_eq!((&a["recovered"], a["publications"].as_array().map(Vec::len)), (&json!(true), Some(3)));
    // Told, so that the client fetches the state elsewhere.
    assert_eq!((&b["recovered"], &b["was_recovering"]), (&Value::Null, &json!(true)), "{b}");
    assert!(b["publications"].is_null());
}

/// Channels of a client that comes back, each with seventy kilobytes that it missed.
const CHANNELS: usize = 100;

/// A client that comes back to many channels, and says so in one message. It has not read any of the answers yet.
async fn comes_back_to_many_channels(settings: &str) -> (Node, Socket) {
    let node = Node::start(&format!(
        "http_api.insecure = true\n[client]\nqueue_max_size = \"256KiB\"\nchannel_limit = {CHANNELS}\n\
         allow_anonymous_connect_without_token = true\n{settings}\n[[channel.namespaces]]\nname = \"news\"\n\
         history_size = 10\nhistory_ttl = \"60s\"\nforce_recovery = true\nallow_subscribe_for_anonymous = true\n\
         allow_subscribe_for_client = true\n"
    ))
    .await;
    let channels: Vec<String> = (0..CHANNELS).map(|number| format!("news:{number}")).collect();
    let mut starts = Vec::new();
    for number in 0..8 {
        let data = json!({"channels": channels, "data": {"number": number, "text": "x".repeat(10_000)}});
        let call = reqwest::Client::new().post(format!("http://{}/api/broadcast", node.address)).body(data.to_string());
        let answer: Value = call.send().await.expect("an answer").json().await.expect("JSON");
        if number == 0 {
            starts = answer["result"]["responses"].as_array().expect("one for each").clone();
        }
    }
    let mut client = Socket::narrow(&node).await;
    assert!(client.ask(json!({"id": 1, "connect": {}})).await["connect"]["client"].is_string());
    let subscribe = |(number, channel): (usize, &String)| {
        let at = &starts[number]["result"];
        let since = json!({"channel": channel, "recover": true, "offset": at["offset"], "epoch": at["epoch"]});
        json!({"id": number + 2, "subscribe": since}).to_string()
    };
    let all: Vec<String> = channels.iter().enumerate().map(subscribe).collect();
    client.say_raw(&all.join("\n")).await;
    (node, client)
}

#[tokio::test]
async fn a_client_that_recovers_many_channels_at_once_is_not_closed_for_what_it_asked() {
    let (node, mut client) = comes_back_to_many_channels("").await;
    eventually("the socket is full", async || (counted(&node, "midplane_outbox_bytes").await > 0).then_some(())).await;
    for number in 0..CHANNELS {
        let reply = client.hear().await;
        assert_eq!((&reply["id"], &reply["subscribe"]["recovered"]), (&json!(number + 2), &json!(true)), "{reply}");
        assert_eq!(reply["subscribe"]["publications"].as_array().map(Vec::len), Some(7));
    }
    assert_eq!(counted(&node, "midplane_slow_consumers_total{action=\"closed\"}").await, 0);
}

#[tokio::test]
async fn a_client_that_asks_for_much_and_never_reads_it_is_closed_as_slow_and_counted() {
    let (node, _client) = comes_back_to_many_channels("ping_interval = \"2s\"\npong_timeout = \"1s\"").await;
    let closed = async |line: &str| (counted(&node, line).await == 1).then_some(());
    eventually("it is let go", async || closed("midplane_slow_consumers_total{action=\"closed\"}").await).await;
    let code = "midplane_connections_closed_total{transport=\"websocket\",code=\"3008\"}";
    eventually("by its code", async || closed(code).await).await;
}
