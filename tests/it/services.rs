//! Services on NATS that decide and answer for clients of a real node.

use async_nats::{Client, HeaderMap, Message};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::nats_server::NatsServer;
use crate::support::node::{Node, Socket};

/// A node of a cluster whose connect hook is a service; calls may take `timeout`.
async fn node(server: &NatsServer, timeout: &str) -> Node {
    Node::start(&format!(
        "[nats]\nservers = [\"{}\"]\n[hooks.connect]\nendpoint = \"nats:hooks.connect\"\ntimeout = \"20s\"\n\
         [hooks.rpc]\ntimeout = \"{timeout}\"\n",
        server.url()
    ))
    .await
}

/// Serves `subject`; gives what it was asked.
async fn serve(
    client: &Client,
    subject: &'static str,
    answer: impl Fn(&Message) -> Option<(HeaderMap, String)> + Send + 'static,
) -> mpsc::Receiver<Message> {
    let (sender, asked) = mpsc::channel(16);
    let mut requests = client.subscribe(subject).await.unwrap();
    // An answer proves that the server has read the subscription before it; a flush would not.
    client.request("nobody.serves.this", "".into()).await.expect_err("nobody answers");
    let client = client.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            if let Some((headers, body)) = answer(&request) {
                let reply = request.reply.clone().expect("a request");
                client.publish_with_headers(reply, headers, body.into()).await.unwrap();
            }
            let _ = sender.send(request).await;
        }
    });
    asked
}

fn plain(body: &Value) -> (HeaderMap, String) {
    (HeaderMap::new(), body.to_string())
}

/// How often `node` heard a call that it could not answer at an inbox.
async fn unheard(node: &Node) -> u64 {
    let metrics = reqwest::get(format!("http://{}/metrics", node.address)).await.expect("metrics");
    let metrics = metrics.text().await.expect("text");
    let line = metrics.lines().find_map(|line| line.strip_prefix("midplane_backplane_replies_refused_total "));
    line.expect("the metric").parse().expect("a number")
}

/// A client whom the application calls by `user`.
async fn client(node: &Node, nats: &Client, user: &'static str) -> Socket {
    let _asked = serve(nats, "midplane.hooks.connect", move |_| Some(plain(&json!({"result": {"user": user}})))).await;
    let mut socket = node.socket().await;
    let connected = socket.ask(json!({"id": 1, "connect": {}})).await;
    assert!(connected["connect"]["client"].is_string(), "{connected}");
    socket
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    Some(message.headers.as_ref()?.get(name)?.as_str())
}

#[tokio::test]
async fn a_service_is_called_by_its_name_and_told_who_calls() {
    let server = NatsServer::start().await;
    let nats = async_nats::connect(server.url().as_str()).await.unwrap();
    let node = node(&server, "20s").await;
    let mut asked = serve(&nats, "midplane.rpc.math.sum", |request| {
        let numbers: Vec<i64> = serde_json::from_slice(&request.payload).ok()?;
        Some(plain(&json!(numbers.iter().sum::<i64>())))
    })
    .await;
    let mut ada = client(&node, &nats, "\u{e4}da").await;
    let answer = ada.ask(json!({"id": 2, "rpc": {"method": "math.sum", "data": [1, 2]}})).await;
    assert_eq!(answer, json!({"id": 2, "rpc": {"data": 3}}));
    let request = asked.recv().await.unwrap();
    assert_eq!(header(&request, "Midplane-User"), Some("\u{e4}da"));
    assert_eq!(header(&request, "Midplane-Client").map(str::len), Some(36));
    assert_eq!(header(&request, "Midplane-Transport"), Some("websocket"));
    node.stop().await;
}

#[tokio::test]
async fn a_service_fails_by_headers_and_a_missing_one_is_known_at_once() {
    let server = NatsServer::start().await;
    let nats = async_nats::connect(server.url().as_str()).await.unwrap();
    // Waiting for a service that is not there would outlast the test's patience.
    let node = node(&server, "600s").await;
    for (subject, headers) in [
        ("midplane.rpc.ours", [("Midplane-Error-Code", "1000"), ("Midplane-Error-Message", "no credit")]),
        ("midplane.rpc.framework", [("Nats-Service-Error-Code", "404"), ("Nats-Service-Error", "no such thing")]),
    ] {
        let mut map = HeaderMap::new();
        headers.into_iter().for_each(|(name, value)| map.insert(name, value));
        serve(&nats, subject, move |_| Some((map.clone(), String::new()))).await;
    }
    let mut ada = client(&node, &nats, "ada").await;
    for (method, code, message) in [
        ("ours", 1000, "no credit"),
        ("framework", 404, "no such thing"),
        ("nobody", 104, "method not found"),
        ("midplane.>", 104, "method not found"),
    ] {
        let answer = ada.ask(json!({"id": 2, "rpc": {"method": method, "data": {}}})).await;
        assert_eq!(answer["error"], json!({ "code": code, "message": message }), "{method}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_service_that_keeps_silent_and_a_nats_that_is_away_are_passing_troubles() {
    let mut server = NatsServer::start().await;
    let nats = async_nats::connect(server.url().as_str()).await.unwrap();
    let node = node(&server, "300ms").await;
    let _silent = serve(&nats, "midplane.rpc.silent", |_| None).await;
    let mut ada = client(&node, &nats, "ada").await;
    let passing = json!({ "code": 100, "message": "internal server error", "temporary": true });
    assert_eq!(ada.ask(json!({"id": 2, "rpc": {"method": "silent"}})).await["error"], passing);
    // Opened while the node still takes connections.
    let mut bob = node.socket().await;
    server.kill();
    assert_eq!(ada.ask(json!({"id": 3, "rpc": {"method": "silent"}})).await["error"], passing);
    assert_eq!(bob.ask(json!({"id": 1, "connect": {}})).await["error"], passing, "nobody can say who this is");
}

#[tokio::test]
async fn a_call_whose_answer_would_go_elsewhere_than_to_an_inbox_is_not_heard() {
    let server = NatsServer::start().await;
    let nats = async_nats::connect(server.url().as_str()).await.unwrap();
    let node = Node::start(&format!(
        "[nats]\nservers = [\"{}\"]\ninbox_prefixes = [\"inbox_of_backend\"]\n\
         [[channel.namespaces]]\nname = \"kept\"\nhistory_size = 10\nhistory_ttl = \"1h\"\n",
        server.url()
    ))
    .await;
    let call = r#"{"channel":"kept:a","data":1}"#;
    for reply in ["midplane.pub.kept:b", "$JS.API.STREAM.DELETE.x", "_INBOX", "_INBOXES.a", "inbox_of_backends.a"] {
        nats.publish_with_reply("midplane.api.publish", reply, call.into()).await.unwrap();
    }
    let mut own = nats.subscribe("inbox_of_backend.>").await.unwrap();
    nats.publish_with_reply("midplane.api.history", "inbox_of_backend.1", r#"{"channel":"kept:a"}"#.into())
        .await
        .unwrap();
    let answer = own.next().await.unwrap().payload;
    assert!(answer.starts_with(br#"{"result":{"publications":[]"#), "{answer:?}: none of them was obeyed");
    assert_eq!(unheard(&node).await, 5);
    let answer = nats.request("midplane.api.history", r#"{"channel":"kept:b"}"#.into()).await.unwrap().payload;
    assert!(answer.starts_with(br#"{"result":{"publications":[]"#), "{answer:?}: none of them was answered");
    node.stop().await;
}
