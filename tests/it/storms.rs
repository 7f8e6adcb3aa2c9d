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
    let metrics = reqwest::get(format!("http://{}/metrics", node.address)).await.expect("metrics");
    let metrics = metrics.text().await.expect("a body");
    let counted = |line: &str| {
        let found = metrics.lines().find_map(|found| found.strip_prefix(line)).expect("the metric");
        found.trim().parse::<usize>().expect("a number")
    };
    let overflows = counted("midplane_queue_overflows_total{queue=\"connect\"}");
    assert!(overflows + counted("midplane_handshakes_rejected_total{reason=\"busy\"}") > 0, "{metrics}");
    assert_eq!(counted("midplane_handshakes_inflight"), 0);
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
