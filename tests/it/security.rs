//! What stands against those who mean no good; docs/security.md names each threat with what shows that it is met.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::node::Node;
use crate::support::process::Process;

/// The answer to a bare request.
pub async fn ask(address: &str, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("it is answered");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: &str, path: &str, headers: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n{headers}\r\n")).await
}

#[tokio::test]
async fn metrics_are_for_whoever_shows_the_token_where_there_is_one() {
    let node = Node::start("http.metrics_token = \"a token for Prometheus\"").await;
    let at = node.address.to_string();
    for refused in ["", "Authorization: Bearer another\r\n", "Authorization: Basic a token for Prometheus\r\n"] {
        let answer = get(&at, "/metrics", refused).await;
        assert!(answer.starts_with("HTTP/1.1 401") && !answer.contains("midplane_"), "{refused:?}: {answer}");
    }
    let answer = get(&at, "/metrics", "Authorization: Bearer a token for Prometheus\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("midplane_ready 1"), "{answer}");
    assert!(get(&at, "/ready", "").await.starts_with("HTTP/1.1 200"), "probes need none");
    node.stop().await;
}

#[tokio::test]
async fn a_listener_of_their_own_takes_operators_and_backends_away_from_that_of_clients() {
    let variables = [
        ("MIDPLANE_HTTP__INTERNAL_BIND", "127.0.0.1:0".to_owned()),
        ("MIDPLANE_HTTP_API__KEY", "a key for the server API".to_owned()),
        ("JWT_SECRET", "a secret of these tests, 32 bytes".to_owned()),
    ];
    let node = Process::start("two-doors", &variables).await;
    let (internal, public) = (node.address().unwrap(), node.clients_address().unwrap());
    assert_ne!(internal, public);
    let key = "X-API-Key: a key for the server API\r\n";
    for path in ["/metrics", "/cluster/status", "/cluster/metrics", "/cluster/nodes", "/api/stats"] {
        assert!(get(&internal, path, key).await.starts_with("HTTP/1.1 200"), "{path}");
        assert!(get(&public, path, key).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    let call =
        format!("POST /api/info HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: 2\r\n{key}\r\n{{}}");
    assert!(ask(&internal, &call).await.starts_with("HTTP/1.1 200"));
    assert!(ask(&public, &call).await.starts_with("HTTP/1.1 404"));
    for path in ["/health", "/ready"] {
        assert!(get(&internal, path, "").await.starts_with("HTTP/1.1 200"), "{path}");
        assert!(get(&public, path, "").await.starts_with("HTTP/1.1 200"), "{path}");
    }
    assert!(
        get(&internal, "/connection/websocket", "").await.starts_with("HTTP/1.1 404"),
        "clients have no place there"
    );
}

#[tokio::test]
async fn who_sends_too_many_commands_is_told_so_and_at_last_closed_for_good() {
    let node = Node::start("client.command_rate = \"1/h burst 3\"").await;
    let mut client = node.client().await;
    for id in 2..=4 {
        client.say(json!({"id": id, "presence_stats": {"channel": "chat:room"}})).await;
        assert_eq!(client.hear().await["error"], Value::Null);
    }
    for id in 5..105 {
        client.say(json!({"id": id, "presence_stats": {"channel": "chat:room"}})).await;
        assert_eq!(client.hear().await["error"]["code"], 111);
    }
    client.say(json!({"id": 105, "presence_stats": {"channel": "chat:room"}})).await;
    assert_eq!(client.closed().await, (3509, "too many errors".to_owned()));
    node.stop().await;
}

#[tokio::test]
async fn who_says_nothing_after_the_handshake_is_closed() {
    let node = Node::start("client.stale_close_delay = \"1s\"").await;
    let mut silent = node.socket().await;
    assert_eq!(silent.closed().await, (3502, "stale".to_owned()));
    node.stop().await;
}
