//! Streams as HTTP sees them, and what their clients post.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::nats_server::NatsServer;
use crate::support::node::Node;
use crate::support::stream::{Stream, request};
use crate::support::{PATIENCE, eventually};

const CONNECT: &str = r#"{"id":1,"connect":{}}"#;
const OPEN: &str = "[channel.without_namespace]\nallow_publish_for_client = true\nallow_publish_for_anonymous = true\n\
    allow_subscribe_for_client = true\nallow_subscribe_for_anonymous = true\n";

/// Posts to `node` what a client of the session in `connected` has to say.
async fn post(node: &Node, connected: &Value, commands: &Value) -> StatusCode {
    let body = json!({ "session": connected["session"], "node": connected["node"], "data": commands.to_string() });
    post_raw(node, &body.to_string()).await
}

async fn post_raw(node: &Node, body: &str) -> StatusCode {
    let request = reqwest::Client::new().post(format!("http://{}/emulation", node.address)).body(body.to_owned());
    timeout(PATIENCE, request.send()).await.expect("an answer in time").expect("an answer").status()
}

#[tokio::test]
async fn a_stream_is_an_answer_without_end_until_the_node_stops() {
    let node = Node::start("").await;
    for (transport, content_type) in [("http_stream", "application/x-ndjson"), ("sse", "text/event-stream")] {
        let mut stream = Stream::post(&node, transport, CONNECT).await;
        assert!(stream.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", stream.head);
        for header in [&format!("content-type: {content_type}"), "connection: close", "x-accel-buffering: no"] {
            assert!(stream.head.contains(header), "{header}: {}", stream.head);
        }
        assert!(!stream.head.contains("content-length") && !stream.head.contains("transfer-encoding"));
        assert_eq!(stream.hear().await["connect"]["pong"], true);
    }
    let (mut staying, _) = Stream::client(&node).await;
    let stopping = tokio::spawn(node.stop());
    assert_eq!(staying.hear().await, json!({"push": {"disconnect": {"code": 3001, "reason": "shutdown"}}}));
    assert_eq!(staying.next().await, None, "the end of the push is the end of the body");
    drop(staying);
    stopping.await.unwrap();
}

#[tokio::test]
async fn what_is_no_request_for_a_stream_is_refused() {
    let node = Node::start("[http_stream]\nmax_request_body_size = \"2KiB\"\n").await;
    let large = "x".repeat(3000);
    for (request, status) in [
        (request("http_stream", "", &large), 413),
        (request("http_stream", "origin: https://evil.example\r\n", CONNECT), 403),
        (request("http_stream", "sec-fetch-mode: no-cors\r\n", CONNECT), 403),
        ("GET /connection/http_stream HTTP/1.1\r\nhost: node\r\n\r\n".to_owned(), 405),
        ("HEAD /connection/sse?cf_connect=%7B%7D HTTP/1.1\r\nhost: node\r\n\r\n".to_owned(), 405),
        ("DELETE /connection/sse HTTP/1.1\r\nhost: node\r\n\r\n".to_owned(), 405),
        ("GET /connection/sse HTTP/1.1\r\nhost: node\r\n\r\n".to_owned(), 400),
        ("GET /connection/sse?cf_connect= HTTP/1.1\r\nhost: node\r\n\r\n".to_owned(), 400),
    ] {
        assert_eq!(Stream::send(node.address, &request).await.status(), status, "{request:.60}");
    }
    // What is no command is answered in the stream: its head went out before.
    for rubbish in ["", "rubbish", "{}", "[]", r#"{"id":1,"publish":{"channel":"a"}}"#, "\n"] {
        let mut stream = Stream::post(&node, "http_stream", rubbish).await;
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.hear().await["push"]["disconnect"]["code"], 3501, "{rubbish}");
        assert_eq!(stream.next().await, None);
    }
}

#[tokio::test]
async fn pages_of_allowed_origins_may_read_what_they_get() {
    let node = Node::start(
        "[client]\nallowed_origins = [\"https://app.example\"]\nallow_anonymous_connect_without_token = true\n\
         [node]\ndevelopment = \"false\"\n",
    )
    .await;
    let ours = "origin: https://app.example\r\n";
    let stream = Stream::send(node.address, &request("http_stream", ours, CONNECT)).await;
    assert!(stream.head.contains("access-control-allow-origin: https://app.example\r\n"), "{}", stream.head);
    assert!(stream.head.contains("access-control-allow-credentials: true\r\n"), "{}", stream.head);
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /emulation HTTP/1.1\r\nhost: node\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n\r\n"
        )
    };
    let allowed = Stream::send(node.address, &preflight("https://app.example")).await;
    assert_eq!(allowed.status(), 204);
    for header in ["allow-origin: https://app.example", "allow-headers: content-type", "max-age: 300"] {
        assert!(allowed.head.contains(&format!("access-control-{header}\r\n")), "{}", allowed.head);
    }
    let refused = Stream::send(node.address, &preflight("https://evil.example")).await;
    assert!(!refused.head.contains("access-control-allow-origin"), "{}", refused.head);
}

#[tokio::test]
async fn streams_take_the_places_of_connections_and_free_them() {
    let node = Node::start("http.max_connections = 1\n").await;
    let (first, _) = Stream::client(&node).await;
    let full = Stream::post(&node, "sse", CONNECT).await;
    assert_eq!(full.status(), 503);
    assert!(full.head.contains("retry-after: 5"), "{}", full.head);
    drop(first);
    eventually("the place is free", async || (Stream::post(&node, "sse", CONNECT).await.status() == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn handshakes_of_all_transports_count_together() {
    let node = Node::start("http.handshake_rate = \"1/h burst 2\"\n").await;
    let _first = node.socket().await;
    assert_eq!(Stream::post(&node, "http_stream", CONNECT).await.status(), 200);
    assert_eq!(Stream::post(&node, "sse", CONNECT).await.status(), 429);
    assert_eq!(post_raw(&node, "{}").await, StatusCode::BAD_REQUEST, "posts are no handshakes");
}

#[tokio::test]
async fn what_is_switched_off_is_not_there() {
    let node = Node::start("[http_stream]\nenabled = false\n").await;
    assert_eq!(Stream::post(&node, "http_stream", CONNECT).await.status(), 404);
    assert_eq!(Stream::post(&node, "sse", CONNECT).await.status(), 200);
    assert_eq!(post_raw(&node, "{}").await, StatusCode::BAD_REQUEST);
    let node = Node::start("[http_stream]\nenabled = false\n[sse]\nenabled = false\n").await;
    assert_eq!(post_raw(&node, "{}").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_reader_too_slow_for_its_stream_is_closed_and_the_others_get_everything() {
    let node = Node::start(&format!("{OPEN}[client]\nqueue_max_size = \"128KiB\"\npong_timeout = \"off\"\n")).await;
    let listen = format!("{CONNECT}\n{}", json!({"id": 2, "subscribe": {"channel": "news"}}));
    let mut slow = Stream::post(&node, "http_stream", &listen).await;
    let mut quick = Stream::post(&node, "http_stream", &listen).await;
    for stream in [&mut slow, &mut quick] {
        assert_eq!(stream.hear().await["id"], 1);
        assert_eq!(stream.hear().await["id"], 2);
    }
    let mut publisher = node.client().await;
    let text = "x".repeat(60 * 1024);
    // More than the kernel takes for somebody who does not read.
    for number in 0..300 {
        let reply = publisher
            .ask(json!({"id": number + 2, "publish": {"channel": "news", "data": {"number": number, "text": text}}}))
            .await;
        assert_eq!(reply["publish"], json!({}), "{reply}");
        assert_eq!(quick.hear().await["push"]["pub"]["data"]["number"], number);
    }
    // It gets what was on its way, whole, and then nothing more.
    let mut received = 0;
    while let Some(message) = timeout(PATIENCE, slow.next()).await.unwrap() {
        if message["push"]["pub"].is_object() {
            assert_eq!(message["push"]["pub"]["data"]["number"], received);
            received += 1;
        }
    }
    assert!(received < 300, "{received}");
}

#[tokio::test]
async fn what_is_posted_to_another_node_reaches_its_session() {
    let server = NatsServer::start().await;
    let settings = format!("{OPEN}[nats]\nservers = [\"{}\"]\n", server.url());
    let (owner, other) = (Node::start(&settings).await, Node::start(&settings).await);
    let (mut stream, connected) = Stream::client(&owner).await;
    for (id, node) in [(2, &owner), (3, &other)] {
        let channel = format!("news{id}");
        let status = post(node, &connected, &json!({"id": id, "subscribe": {"channel": channel}})).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(stream.hear().await, json!({"id": id, "subscribe": {}}));
    }
    let mut stranger = connected.clone();
    stranger["session"] = json!("00000000-0000-4000-8000-000000000000");
    let subscribe = json!({"id": 4, "subscribe": {"channel": "news4"}});
    for node in [&owner, &other] {
        assert_eq!(post(node, &stranger, &subscribe).await, StatusCode::NOT_FOUND, "no such session");
    }
    let mut lost = connected.clone();
    lost["node"] = json!("00000000-0000-4000-8000-000000000000");
    assert_eq!(post(&other, &lost, &subscribe).await, StatusCode::NOT_FOUND, "no such node");

    // Rubbish ends the session as it would on a WebSocket.
    assert_eq!(post(&other, &connected, &json!("rubbish")).await, StatusCode::NO_CONTENT);
    assert_eq!(stream.hear().await["push"]["disconnect"]["code"], 3501);
    assert_eq!(stream.next().await, None);
    drop(stream);
    eventually("the session is over", async || {
        (post(&other, &connected, &subscribe).await == StatusCode::NOT_FOUND).then_some(())
    })
    .await;

    // A node that is gone is known to be gone at once, not after a timeout.
    let (stream, connected) = Stream::client(&owner).await;
    drop(stream);
    owner.stop().await;
    let answered = timeout(Duration::from_secs(3), post(&other, &connected, &subscribe)).await;
    assert_eq!(answered.expect("at once"), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn posts_that_are_none_are_refused() {
    let node = Node::start("[emulation]\nmax_request_body_size = \"2KiB\"\n").await;
    let (mut stream, connected) = Stream::client(&node).await;
    for body in ["", "{}", "null", "[]", "{\"session\":\"x\",\"node\":\"y\",\"data\":\"\"}"] {
        assert_eq!(post_raw(&node, body).await, StatusCode::BAD_REQUEST, "{body}");
    }
    let large = json!({"id": 2, "rpc": {"method": "x".repeat(3000)}});
    assert_eq!(post(&node, &connected, &large).await, StatusCode::PAYLOAD_TOO_LARGE);
    let got = reqwest::get(format!("http://{}/emulation", node.address)).await.unwrap();
    assert_eq!(got.status(), StatusCode::METHOD_NOT_ALLOWED);
    // None of it harmed the session.
    assert_eq!(post(&node, &connected, &json!({"id": 2, "ping": {}})).await, StatusCode::NO_CONTENT);
    assert_eq!(stream.hear().await, json!({"id": 2, "ping": {}}));
}

#[tokio::test]
async fn a_client_that_leaves_its_stream_is_gone_at_once() {
    let node = Node::start("").await;
    let (stream, connected) = Stream::client(&node).await;
    let ping = json!({"id": 2, "ping": {}});
    assert_eq!(post(&node, &connected, &ping).await, StatusCode::NO_CONTENT);
    drop(stream);
    eventually("the session is over", async || {
        (post(&node, &connected, &ping).await == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}
