//! A client on a stream, spoken by hand: one request whose answer does not end.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use super::node::Node;

/// A stream and what came on it.
pub struct Stream {
    pub socket: TcpStream,
    pub head: String,
    bytes: Vec<u8>,
    lines: VecDeque<Value>,
}

impl Stream {
    /// Sends `request` as it is, and reads the head of the answer.
    pub async fn send(address: SocketAddr, request: &str) -> Self {
        let mut socket = TcpStream::connect(address).await.expect("connects");
        socket.write_all(request.as_bytes()).await.expect("sends");
        let mut stream = Self { socket, head: String::new(), bytes: Vec::new(), lines: VecDeque::new() };
        let end = loop {
            if let Some(end) = stream.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(stream.read().await, "a whole head: {:?}", String::from_utf8_lossy(&stream.bytes));
        };
        stream.head = String::from_utf8(stream.bytes.drain(..end).collect()).expect("a head is text");
        stream
    }

    /// Opens `/connection/<transport>` with a POST of `body`.
    pub async fn post(node: &Node, transport: &str, body: &str) -> Self {
        Self::send(node.address, &request(transport, "", body)).await
    }

    /// A connected anonymous client of `http_stream`, with its connect result.
    pub async fn client(node: &Node) -> (Self, Value) {
        let mut stream = Self::post(node, "http_stream", r#"{"id":1,"connect":{}}"#).await;
        assert!(stream.head.starts_with("HTTP/1.1 200"), "{}", stream.head);
        let connected = stream.hear().await["connect"].take();
        assert!(connected["session"].is_string(), "{connected}");
        (stream, connected)
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// The next message that is no ping, from a line or an event.
    pub async fn hear(&mut self) -> Value {
        self.next().await.expect("something is said before the end")
    }

    /// As [`hear`](Self::hear); `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some(line) = self.lines.pop_front() {
                if line != json!({}) {
                    return Some(line);
                }
            }
            if let Some(end) = self.bytes.iter().rposition(|byte| *byte == b'\n') {
                let text = String::from_utf8(self.bytes.drain(..=end).collect()).expect("text");
                let lines = text.lines().filter(|line| !line.is_empty());
                let line = |line: &str| serde_json::from_str(line.trim_start_matches("data: ")).expect("JSON");
                self.lines.extend(lines.map(line));
            } else if !self.read().await {
                return None;
            }
        }
    }

    async fn read(&mut self) -> bool {
        let read = timeout(PATIENCE, self.socket.read_buf(&mut self.bytes)).await.expect("something comes in time");
        read.is_ok_and(|count| count > 0)
    }
}

/// The request that opens a stream.
pub fn request(transport: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST /connection/{transport} HTTP/1.1\r\nhost: node\r\n{headers}content-length: {length}\r\n\r\n{body}")
}
