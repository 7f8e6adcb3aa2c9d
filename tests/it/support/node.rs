//! A whole node in this process, on a free port.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use midplane::app::{App, Ending};
use midplane::settings::Settings;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

use super::PATIENCE;

/// A running node; stops on drop.
pub struct Node {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Ending>,
}

impl Node {
    /// Starts a node with these settings over the defaults; the port is a free one.
    pub async fn start(toml: &str) -> Self {
        let settings = format!("http.bind = \"127.0.0.1:0\"\n{toml}");
        let settings = Settings::from_toml(&settings).expect("settings of a test");
        let app = Box::pin(App::build(settings)).await.expect("a node");
        let address = app.address();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(app.run_until(async {
            // A dropped sender stops the node too.
            let _ = stopped.await;
        }));
        Self { address, stop: Some(stop), running }
    }

    /// Stops it as SIGTERM would, and waits until it is over.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, &mut self.running).await.expect("stops in time").expect("stops without panic");
    }

    /// An open WebSocket that has not said anything.
    pub async fn socket(&self) -> Socket {
        Socket::open(&self.address.to_string()).await
    }

    /// A connected anonymous client.
    pub async fn client(&self) -> Socket {
        let mut socket = self.socket().await;
        socket.say(json!({"id": 1, "connect": {}})).await;
        assert!(socket.hear().await["connect"]["client"].is_string());
        socket
    }
}

/// A WebSocket on which JSON is spoken by hand.
pub struct Socket {
    inner: WebSocketStream<MaybeTlsStream<TcpStream>>,
    lines: Vec<Value>,
}

impl Socket {
    /// An open WebSocket to the node at `address`, that has not said anything.
    pub async fn open(address: &str) -> Self {
        Self::try_open(address).await.expect("upgrades")
    }

    /// The same, unless the node does not let it in.
    pub async fn try_open(address: &str) -> Option<Self> {
        let (inner, _) = connect_async(format!("ws://{address}/connection/websocket")).await.ok()?;
        Some(Self { inner, lines: Vec::new() })
    }

    /// The same, on a connection that holds next to nothing of what its client has not read.
    pub async fn narrow(node: &Node) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = MaybeTlsStream::Plain(socket.connect(node.address).await.expect("connects"));
        let url = format!("ws://{}/connection/websocket", node.address);
        let (inner, _) = client_async(url, stream).await.expect("upgrades");
        Self { inner, lines: Vec::new() }
    }

    /// Waits for what comes first: the reply to connect, with the id of the client, or a close with its code.
    pub async fn connected_or_closed(&mut self) -> Result<String, u16> {
        match self.frame().await {
            Message::Text(text) => {
                let reply: Value = serde_json::from_str(&text).expect("one reply");
                Ok(reply["connect"]["client"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned())
            }
            Message::Close(frame) => Err(frame.expect("a close with a code").code.into()),
            other => panic!("expected a message or a close, got {other:?}"),
        }
    }

    pub async fn say(&mut self, command: Value) {
        self.say_raw(&command.to_string()).await;
    }

    pub async fn say_raw(&mut self, text: &str) {
        self.inner.send(Message::text(text)).await.expect("sends");
    }

    /// The next message that is no ping.
    pub async fn hear(&mut self) -> Value {
        loop {
            if !self.lines.is_empty() {
                let line = self.lines.remove(0);
                if line != json!({}) {
                    return line;
                }
                continue;
            }
            match self.frame().await {
                Message::Text(text) => {
                    self.lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
                }
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    /// What comes next, be it a message or a close, for people.
    pub async fn said(&mut self) -> String {
        format!("{:?}", self.frame().await)
    }

    /// Says something and hears the answer.
    pub async fn ask(&mut self, command: Value) -> Value {
        self.say(command).await;
        self.hear().await
    }

    /// The code and reason of the close that must come now, after whatever else still comes.
    pub async fn closed(&mut self) -> (u16, String) {
        self.said_until_closed().await.1
    }

    /// What is said until the connection is closed, but for pings, and how that ends it.
    pub async fn said_until_closed(&mut self) -> (Vec<String>, (u16, String)) {
        let mut said = Vec::new();
        loop {
            match self.frame().await {
                Message::Close(frame) => {
                    let CloseFrame { code, reason } = frame.expect("a close with a code");
                    return (said, (code.into(), reason.to_string()));
                }
                Message::Text(text) if text != "{}" => said.push(text.to_string()),
                _ => {}
            }
        }
    }

    async fn frame(&mut self) -> Message {
        let next = timeout(PATIENCE, self.inner.next()).await.expect("something is said in time");
        next.expect("the connection is open").expect("the connection is whole")
    }
}
