//! How often one address may ask, and one user may connect: beyond it they are told so, and nobody else pays for it.

use serde_json::{Value, json};

use crate::support::node::{Node, Socket};
use crate::support::token::signed;

const SECRET: &str = "a secret of thirty-two bytes, or more";

/// A node behind a proxy on this machine, with these settings.
async fn node(more: &str) -> Node {
    let token =
        format!("client.token.hmac_secret_key = \"{SECRET}\"\nclient.allow_anonymous_connect_without_token = true");
    Node::start(&format!("http.trusted_proxies = [\"127.0.0.1\"]\nhttp_api.insecure = true\n{token}\n{more}\n")).await
}

/// Posts as a client at `address`; status, Retry-After and body of the answer.
async fn post(node: &Node, path: &str, address: &str, body: &str) -> (u16, Option<u64>, String) {
    let request = reqwest::Client::new().post(format!("http://{}{path}", node.address));
    let answer = request.header("x-forwarded-for", address).body(body.to_owned()).send().await.expect("an answer");
    let after = answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
    (answer.status().as_u16(), after, answer.text().await.expect("a body"))
}

async fn measured(node: &Node, line: &str) -> bool {
    let metrics = reqwest::get(format!("http://{}/metrics", node.address)).await.expect("metrics");
    metrics.text().await.expect("a body").lines().any(|found| found == line)
}

/// Whoever asks a third time from one address hears 429, which limit it is, and when to come again; others do not.
async fn is_limited(node: &Node, path: &str, body: &str, setting: &str, scope: &str) {
    for _ in 0..2 {
        assert_ne!(post(node, path, "198.51.100.7", body).await.0, 429);
    }
    let (status, after, said) = post(node, path, "198.51.100.7", body).await;
    assert!(status == 429 && after.is_some_and(|after| after > 0), "{status} {after:?}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert!(
        said["error"]["code"] == 429 && said["error"]["message"].as_str().is_some_and(|said| said.contains(setting))
    );
    assert_ne!(post(node, path, "198.51.100.8", body).await.0, 429, "another address has a limit of its own");
    assert!(measured(node, &format!("midplane_rate_limited_total{{scope=\"{scope}\"}} 1")).await);
}

#[tokio::test]
async fn calls_of_the_server_api_are_limited_by_address() {
    let node = node("http_api.rate = \"1/h burst 2\"").await;
    is_limited(&node, "/api/info", "{}", "http_api.rate", "api").await;
}

#[tokio::test]
async fn posts_of_clients_on_streams_are_limited_by_address() {
    let node = node("emulation.rate = \"1/h burst 2\"").await;
    let nobody = json!({"session": uuid::Uuid::nil().to_string(), "node": uuid::Uuid::nil().to_string(), "data": "{}"})
        .to_string();
    is_limited(&node, "/emulation", &nobody, "emulation.rate", "emulation").await;
}

async fn comes(node: &Node, connect: Value) -> Socket {
    let mut socket = node.socket().await;
    socket.say(json!({"id": 1, "connect": connect})).await;
    socket
}

fn token_of(user: &str) -> Value {
    json!({"token": signed(SECRET, &json!({"sub": user}))})
}

#[tokio::test]
async fn a_user_who_connects_too_often_is_told_to_come_later() {
    let node = node("client.user_connect_rate = \"1/h burst 2\"").await;
    let mut inside = Vec::new();
    for connect in [token_of("ann"), token_of("ann"), token_of("bob"), json!({}), json!({}), json!({})] {
        let mut socket = comes(&node, connect).await;
        assert!(socket.hear().await["connect"]["client"].is_string());
        inside.push(socket);
    }
    let mut socket = comes(&node, token_of("ann")).await;
    assert_eq!(socket.closed().await, (3013, "too many requests".to_owned()));
    assert!(measured(&node, r#"midplane_rate_limited_total{scope="user_connect"} 1"#).await);
    assert!(measured(&node, r#"midplane_handshakes_rejected_total{reason="rate_limit"} 1"#).await);
}

/// A client of `user`, or an anonymous one, that has connected.
async fn connected(node: &Node, connect: Value) -> Socket {
    let mut socket = comes(node, connect).await;
    assert!(socket.hear().await["connect"]["client"].is_string());
    socket
}

#[tokio::test]
async fn what_a_user_does_counts_over_all_of_its_connections() {
    let open = "[channel.without_namespace]\nallow_publish_for_client = true\nallow_publish_for_anonymous = true";
    let rates = "client.user_publish_rate = \"1/h burst 2\"\nclient.user_command_rate = \"1/h burst 4\"";
    let node = node(&format!("{rates}\n{open}")).await;
    let publish = json!({"id": 2, "publish": {"channel": "news", "data": 1}});
    let look = json!({"id": 3, "history": {"channel": "news"}});
    let mut anns = [connected(&node, token_of("ann")).await, connected(&node, token_of("ann")).await];
    for (socket, command, code) in [
        (0, &publish, Value::Null),
        (1, &publish, Value::Null),
        (0, &publish, json!(111)),
        (1, &look, json!(108)),
        (0, &look, json!(111)),
    ] {
        assert_eq!(anns[socket].ask(command.clone()).await["error"]["code"], code, "{command}");
    }
    for other in [token_of("bob"), json!({})] {
        assert_eq!(connected(&node, other).await.ask(publish.clone()).await["error"], Value::Null);
    }
    let mut nobody = connected(&node, json!({})).await;
    for _ in 0..5 {
        assert_eq!(nobody.ask(publish.clone()).await["error"], Value::Null, "anonymous clients are not one user");
    }
    assert!(measured(&node, r#"midplane_rate_limited_total{scope="user"} 2"#).await);
}

#[tokio::test]
async fn who_sends_too_many_bytes_is_told_so_and_at_last_closed_for_good() {
    let sizes = "client.message_size_limit = \"1KiB\"\nemulation.max_request_body_size = \"4KiB\"";
    let node = node(&format!("client.bytes_rate = \"1/h burst 4KiB\"\n{sizes}")).await;
    let mut socket = connected(&node, json!({})).await;
    let large = |id: u32| json!({"id": id, "publish": {"channel": "news", "data": "x".repeat(1000)}});
    let small = |id: u32| json!({"id": id, "presence_stats": {"channel": "news"}});
    for (id, code) in [(2, 103), (3, 103), (4, 103), (5, 111)] {
        assert_eq!(socket.ask(large(id)).await["error"]["code"], code, "{id}");
    }
    assert_eq!(socket.ask(small(6)).await["error"]["code"], 108, "what is smaller has room still");
    socket.say_raw(&format!("{}\n{}", large(7), small(8))).await;
    for id in [7, 8] {
        let said = socket.hear().await;
        assert_eq!((&said["id"], &said["error"]["code"]), (&json!(id), &json!(111)), "one message is refused whole");
    }
    assert!(measured(&node, r#"midplane_rate_limited_total{scope="connection_bytes"} 2"#).await);
    for id in 9..108 {
        assert_eq!(socket.ask(large(id)).await["error"]["code"], 111, "{id}");
    }
    socket.say(large(108)).await;
    assert_eq!(socket.closed().await, (3509, "too many errors".to_owned()));
}

#[tokio::test]
async fn who_kept_to_one_rate_was_never_closed_for_what_it_did_beyond_another() {
    let node = node("client.command_rate = \"1/h burst 500\"\nclient.publish_rate = \"1/h burst 1\"").await;
    let mut socket = connected(&node, json!({})).await;
    let publish = |id: u32| json!({"id": id, "publish": {"channel": "news", "data": 1}});
    assert_eq!(socket.ask(publish(2)).await["error"]["code"], 103);
    for id in 3..103 {
        assert_eq!(socket.ask(publish(id)).await["error"]["code"], 111, "{id}");
    }
    socket.say(publish(103)).await;
    assert_eq!(socket.closed().await.0, 3509);
}

#[tokio::test]
async fn clients_with_a_bad_token_are_counted_as_turned_away() {
    let node = node("").await;
    let mut socket =
        comes(&node, json!({"token": signed("another secret of thirty-two bytes, or more", &json!({"sub": "ann"}))}))
            .await;
    assert_eq!(socket.closed().await.0, 3500);
    assert!(measured(&node, r#"midplane_handshakes_rejected_total{reason="auth"} 1"#).await);
}

#[tokio::test]
async fn every_rate_can_be_switched_off() {
    let node = node("http_api.rate = \"off\"\nemulation.rate = \"off\"\nclient.user_connect_rate = \"off\"").await;
    for _ in 0..5 {
        assert_eq!(post(&node, "/api/info", "198.51.100.7", "{}").await.0, 200);
        assert!(comes(&node, token_of("ann")).await.hear().await["connect"].is_object());
    }
}
