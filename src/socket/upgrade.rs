//! Takes a connection out of HTTP. What hyper and axum held for it is freed before the session starts.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tracing::{debug, error};

use super::handshake::{self, Refused};
use super::patient::Patient;
use super::raw::{RawTransport, RawWire};
use crate::protocol::centrifuge::Encoding;
use crate::protocol::websocket::{Deflate, Opcode, Parser, client_frame};

/// A valid WebSocket request whose connection can be taken over.
pub struct Upgrade {
    connection: OnUpgrade,
    accept: HeaderValue,
    subprotocol: Option<&'static str>,
    encoding: Encoding,
    frame_pings: bool,
    /// What was agreed on, and how it is said.
    extension: Option<(Deflate, &'static str)>,
}

impl Upgrade {
    /// Checks a request and takes its connection. Messages are compressed as `deflate` says, if the client offers that.
    ///
    /// # Errors
    /// When it does not ask for a WebSocket in a way that we can answer.
    pub fn of(request: &mut Parts, deflate: Option<Deflate>) -> Result<Self, Refused> {
        let accept = handshake::accept(&request.method, request.version, &request.headers)?;
        let extension = match deflate {
            Some(deflate) => handshake::extension(&request.headers)?.map(|answer| (deflate, answer)),
            None => None,
        };
        let connection = request.extensions.remove::<OnUpgrade>().ok_or(Refused::NotUpgradable)?;
        let query = request.uri.query();
        let subprotocol = handshake::subprotocol(&request.headers);
        let protobuf = subprotocol.is_some_and(|(_, encoding)| encoding == Encoding::Protobuf)
            || handshake::query_says(query, "cf_protocol", "protobuf")
            || handshake::query_says(query, "format", "protobuf");
        Ok(Self {
            connection,
            accept,
            subprotocol: subprotocol.map(|(name, _)| name),
            encoding: if protobuf { Encoding::Protobuf } else { Encoding::Json },
            frame_pings: handshake::query_says(query, "cf_ws_frame_ping_pong", "true"),
            extension,
        })
    }

    /// The encoding that the client asks for.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// How messages are compressed, if client and node agree on that.
    #[must_use]
    pub fn deflate(&self) -> Option<Deflate> {
        self.extension.map(|(deflate, _)| deflate)
    }

    /// Whether the client asks for WebSocket pings in place of the protocol's.
    #[must_use]
    pub const fn frame_pings(&self) -> bool {
        self.frame_pings
    }

    /// Answers 101 and goes on with `connect` in a task of its own, which keeps `held` until the connection is over.
    /// The session hears `first`, if any, as if the client had sent that before anything else.
    pub fn accept<C, F, G>(self, first: Option<&[u8]>, message_limit: usize, held: G, connect: C) -> Response
    where
        C: FnOnce(RawTransport, RawWire) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
        G: Send + 'static,
    {
        let answer = self.answer();
        let first = first.map(|message| client_frame(Opcode::Text, message)).unwrap_or_default();
        let parser = Parser::new(message_limit).with_deflate(self.extension.is_some());
        tokio::spawn(drive(self.connection, first, parser, held, connect));
        answer
    }

    fn answer(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if let Some(name) = self.subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
        }
        if let Some((_, answer)) = self.extension {
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(answer));
        }
        response
    }
}

/// What is needed until the session starts. Boxed, or it would stay in the task for as long as the connection lives.
struct Pending<C> {
    connection: OnUpgrade,
    first: Vec<u8>,
    parser: Parser,
    connect: C,
}

fn drive<C, F, G>(
    connection: OnUpgrade,
    first: Vec<u8>,
    parser: Parser,
    held: G,
    connect: C,
) -> impl Future<Output = ()> + Send
where
    C: FnOnce(RawTransport, RawWire) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
    G: Send + 'static,
{
    let pending = Box::new(Pending { connection, first, parser, connect });
    async move {
        let _held = held;
        let Some((connect, transport, wire)) = pending.open().await else { return };
        connect(transport, wire).await;
    }
}

impl<C> Pending<C> {
    /// Takes the socket out of hyper and lets go of everything else: even an empty read buffer would pin 8 KB.
    async fn open(mut self: Box<Self>) -> Option<(C, RawTransport, RawWire)> {
        match (&mut self.connection).await.map(Upgraded::downcast::<TokioIo<Patient<TcpStream>>>) {
            Ok(Ok(parts)) => {
                let ahead = [&self.first[..], &parts.read_buf].concat().into();
                let (transport, wire) = RawTransport::open(parts.io.into_inner().into_inner(), ahead, self.parser);
                Some((self.connect, transport, wire))
            }
            Ok(Err(_)) => {
                error!("a WebSocket was opened on something that is not a TCP stream");
                None
            }
            Err(error) => {
                debug!(%error, "client left before its WebSocket was open");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::identity;
    use std::mem::{size_of, size_of_val};
    use std::sync::Arc;

    use super::*;
    use crate::session::{self, Peer, Services};

    /// Per idle connection the task holds its session, the word that counts it, and next to nothing besides.
    #[tokio::test]
    async fn a_connection_costs_little_more_than_its_session() {
        const SESSION: usize = 500;
        let session = |_: RawTransport, _: RawWire| async {
            let state = identity([0_u8; SESSION]);
            std::future::pending::<()>().await;
            assert_eq!(state[0], 0);
        };
        let seat = Box::new(());
        let nobody = hyper::upgrade::on(hyper::Request::new(()));
        let handshake = [0_u8; 1000];
        let connection = drive(nobody, Vec::new(), Parser::new(1), seat, move |transport, wire| {
            assert_eq!(handshake[0], 0);
            session(transport, wire)
        });
        assert!(size_of_val(&connection) <= SESSION + 64, "{}", size_of_val(&connection));
        connection.await;
    }

    #[test]
    fn an_idle_session_stays_small() {
        fn size<F>(_: impl Fn(RawTransport, RawWire, Peer, Arc<Services>) -> F) -> usize {
            size_of::<F>()
        }
        let session = size(session::run);
        println!("session {session} B, transport {} B", size_of::<RawTransport>());
        assert!(session <= 800, "{session}");
        assert!(size_of::<RawTransport>() <= 64);
    }
}
