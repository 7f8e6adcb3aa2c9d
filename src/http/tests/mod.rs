//! The edge with real sockets: a server, and a session in its place that answers every message with itself.

mod api;
mod engineio;
mod limits;
mod server;
mod websocket;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::limits::{Admission, Origins, TrustedProxies};
use super::{Bounds, Edge, Server, compose, connection};
use crate::hub::outbox::Backlog;
use crate::hub::{Flushed, Outbox, Turnstile};
use crate::session::{Event, Inbound, Peer, Transport};
use crate::settings::{IpNet, Namespaces};
use crate::socket::{RawTransport, RawWire};
use crate::telemetry::Telemetry;

/// Generous: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Served {
    pub address: SocketAddr,
    pub edge: Arc<Edge>,
    pub telemetry: Arc<Telemetry>,
    /// What the sessions saw, in order.
    pub seen: mpsc::Receiver<Seen>,
    pub stop: CancellationToken,
    pub served: JoinHandle<()>,
}

#[derive(Debug)]
pub enum Seen {
    Opened(Peer),
    Inbound(Inbound),
    /// With the code to close with.
    Broken(Option<u16>),
    Gone,
}

pub fn telemetry() -> Arc<Telemetry> {
    Telemetry::new(&Namespaces(HashMap::new()))
}

/// An edge that lets everybody in.
pub fn open_edge() -> Edge {
    Edge {
        admission: Admission::new(None),
        connects: Arc::new(Turnstile::new(8, 8, DEADLINE)),
        origins: Arc::new(Origins::new(&[], true)),
        proxies: Arc::new(TrustedProxies::new(vec![IpNet { address: [127, 0, 0, 1].into(), prefix: 32 }])),
        handshake_rate: None,
        message_limit: 64 * 1024,
        patience: DEADLINE,
        deflate: None,
        headers: vec![axum::http::header::COOKIE],
    }
}

pub async fn serve(edge: Edge) -> Served {
    serve_with(edge, bounds(), Router::new()).await
}

/// That nobody reaches.
pub const fn bounds() -> Bounds {
    Bounds { header_timeout: DEADLINE, write_timeout: DEADLINE, places: 1024 }
}

#[expect(clippy::unused_async, reason = "must run inside a runtime")]
pub async fn serve_with(edge: Edge, bounds: Bounds, more: Router) -> Served {
    let edge = Arc::new(edge);
    let (saw, seen) = mpsc::channel(1024);
    let telemetry = telemetry();
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), bounds, &telemetry).unwrap();
    let address = server.address();
    let routes = connection::routes(&edge, move |transport, wire, peer| echo(transport, wire, peer, saw.clone()));
    let [routes] = connection::limited(&edge, [routes]);
    let router = compose([routes, more], &telemetry);
    let stop = CancellationToken::new();
    let served = tokio::spawn(server.serve(router, stop.clone().cancelled_owned()));
    Served { address, edge, telemetry, seen, stop, served }
}

/// Answers every message with a text frame of the same bytes.
async fn echo(mut transport: RawTransport, wire: RawWire, peer: Peer, saw: mpsc::Sender<Seen>) {
    let outbox = Outbox::new(peer.format, 64 << 20, Backlog::default());
    outbox.attach(Box::new(wire));
    saw.send(Seen::Opened(peer)).await.unwrap();
    let mut blocked = false;
    loop {
        let seen = match transport.event(blocked).await {
            Event::Writable => {
                blocked = outbox.flush_writable() == Flushed::Blocked;
                continue;
            }
            Event::Gone => break,
            Event::Inbound(Ok(inbound)) => {
                if let Inbound::Text(bytes) | Inbound::Binary(bytes) | Inbound::Ping(bytes) = &inbound {
                    outbox.reply(frame(0x81, bytes));
                    blocked = outbox.flush() == Flushed::Blocked;
                }
                Seen::Inbound(inbound)
            }
            Event::Inbound(Err(error)) => Seen::Broken(error.close_code()),
        };
        saw.send(seen).await.unwrap();
    }
    outbox.abandon();
    saw.send(Seen::Gone).await.unwrap();
}

/// A frame as a server sends it.
pub fn frame(first: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(first);
    match payload.len() {
        length @ 0..=125 => frame.put_u8(length as u8),
        length @ 126..=0xffff => {
            frame.put_u8(126);
            frame.put_u16(length as u16);
        }
        length => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame.put(payload);
    frame.freeze()
}

/// A frame as a client sends it: masked.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = frame(first, payload).to_vec();
    let header = frame.len() - payload.len();
    frame[1] |= 0x80;
    frame.splice(header..header, mask);
    frame[header + 4..].iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    frame
}

impl Served {
    /// Whether the metrics have this line.
    pub fn measured(&self, line: &str) -> bool {
        self.telemetry.render().lines().any(|rendered| rendered == line)
    }

    /// The next thing that a session saw.
    pub async fn saw(&mut self) -> Seen {
        within(self.seen.recv()).await.unwrap()
    }

    /// A bare connection that has sent `bytes`.
    pub async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Status line, headers and body of the answer to a GET that closes its connection.
    pub async fn get(&self, path: &str, headers: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n{headers}\r\n");
        read_to_end(self.send(request.as_bytes()).await).await
    }

    /// The answer to a handshake with more `headers`, its head only.
    pub async fn handshake(&self, headers: &str) -> (String, TcpStream) {
        let mut stream = self.send(&upgrade_request(headers)).await;
        let head = read_head(&mut stream).await;
        (head, stream)
    }
}

pub fn upgrade_request(headers: &str) -> Vec<u8> {
    format!(
        "GET /connection/websocket HTTP/1.1\r\nhost: node\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
    .into_bytes()
}

pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

pub async fn read_to_end(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("took too long")
}

/// A route that never answers.
pub fn stuck() -> Router {
    Router::new().route("/stuck", axum::routing::get(|| async { std::future::pending::<Body>().await }))
}
