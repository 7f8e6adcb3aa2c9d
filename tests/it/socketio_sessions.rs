//! Sessions that clients of Socket.IO may come back to, and connections that have no socket.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::PATIENCE;
use crate::support::liar::Liar;
use crate::support::nats_server::NatsServer;
use crate::support::node::Node;

/// A node with these settings; `namespace` is more of that of Socket.IO.
async fn node(nats: &str, socketio: &str, namespace: &str) -> Node {
    Node::start(&format!(
        "http_api.insecure = true\n{nats}\n[client]\nallow_anonymous_connect_without_token = true\n\
         [[channel.namespaces]]\nname = \"chat\"\nhistory_size = 10\nhistory_ttl = \"5m\"\n\
         [socketio]\n{socketio}\n[[socketio.namespaces]]\nname = \"/\"\nrooms = \"chat\"\n{namespace}\n"
    ))
    .await
}

/// A WebSocket on which Engine.IO is spoken by hand.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn open(node: &Node) -> Self {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", node.address);
        let mut client = Self(connect_async(url).await.unwrap().0);
        assert!(client.hear().await.unwrap().starts_with("0{"));
        client
    }

    async fn say(&mut self, packet: &str) {
        self.0.send(Message::text(packet)).await.unwrap();
    }

    /// The next packet that is no ping; `None` once the connection is closed.
    async fn hear(&mut self) -> Option<String> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("something is said in time")?.ok()? {
                Message::Text(text) if text == "2" => self.say("3").await,
                Message::Text(text) => return Some(text.to_string()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Comes into the main namespace, or back to it: what it is told.
    async fn connect(&mut self, auth: &Value) -> Option<Value> {
        self.say(&format!("40{auth}")).await;
        let told = self.hear().await?;
        Some(serde_json::from_str(told.strip_prefix("40").expect("it is in")).unwrap())
    }
}

#[tokio::test]
async fn a_session_that_could_not_be_read_at_that_moment_was_lost_for_good() {
    let server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let node = node(&format!("nats.servers = [\"{}\"]", liar.url()), "", "recovery = \"2m\"").await;
    let mut client = Client::open(&node).await;
    let first = client.connect(&json!({})).await.expect("it comes in");
    assert!(first["pid"].is_string());
    drop(client);
    liar.swallow("midplane_sessions");
    let back = json!({ "pid": first["pid"] });
    assert_eq!(Client::open(&node).await.connect(&back).await, None, "it is to come again");
    liar.repent();
    assert_eq!(Client::open(&node).await.connect(&back).await, Some(first));
}

#[tokio::test]
async fn a_connection_whose_last_socket_was_sent_away_stayed_as_long_as_it_answered_pings() {
    let node = node("", "connect_timeout = \"1s\"\nping_interval = \"500ms\"", "").await;
    let mut client = Client::open(&node).await;
    let socket = client.connect(&json!({})).await.expect("it comes in");
    let body = json!({ "to": { "sockets": [socket["sid"]] } });
    let url = format!("http://{}/api/socketio_disconnect", node.address);
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "result": { "sockets": 1 } }));
    assert_eq!(client.hear().await.as_deref(), Some("41"));
    let closed = timeout(PATIENCE, client.hear()).await.expect("it is given up");
    assert_eq!(closed, None);
}
