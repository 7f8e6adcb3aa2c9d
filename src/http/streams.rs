//! `/connection/http_stream`, `/connection/sse` and their unidirectional kin: requests whose answer is a connection.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::emulation::Emulation;
use crate::http::connection::Edge;
use crate::http::limits::{Seat, body};
use crate::http::refusal::Refusal;
use crate::protocol::centrifuge::{Encoding, Format, decode_introduction};
use crate::session::{Mailbox, Peer};
use crate::settings::Transports;
use crate::socket::{Leave, StreamTransport, StreamWire};

/// Where a GET carries the client's first message.
const CONNECT: &str = "cf_connect";

/// One of these transports, as it is offered.
#[derive(Debug, Clone, Copy)]
struct Offer {
    /// For JSON; clients of `http_stream` may ask for Protobuf.
    format: Format,
    /// Bytes of a request's body.
    limit: usize,
}

/// A request that passed, before anything is begun.
struct Opening {
    format: Format,
    /// The client's first message.
    request: Bytes,
    peer: Peer,
    seat: Seat,
    patience: Duration,
}

/// The routes of those transports that are on; each request becomes a task that runs what `connect` returns.
pub fn routes<C, F>(edge: &Arc<Edge>, emulation: &Arc<Emulation>, transports: &Transports, connect: C) -> Router
where
    C: Fn(StreamTransport, StreamWire, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let offers = [
        ("/connection/http_stream", transports.http_stream, Format::HttpStreamJson),
        ("/connection/sse", transports.sse, Format::Sse),
        ("/connection/uni_http_stream", transports.uni_http_stream, Format::UniHttpStream),
        ("/connection/uni_sse", transports.uni_sse, Format::UniSse),
    ];
    let mut router = Router::new();
    for (path, transport, format) in offers.into_iter().filter(|(_, transport, _)| transport.enabled) {
        let offer = Offer { format, limit: transport.request_limit };
        let (edge, emulation, connect) = (Arc::clone(edge), Arc::clone(emulation), connect.clone());
        let handler = move |request: Request| {
            let (edge, emulation, connect) = (Arc::clone(&edge), Arc::clone(&emulation), connect.clone());
            async move {
                match offer.check(&edge, request).await {
                    Ok(opening) => opening.answer(&emulation, connect),
                    Err(refusal) => refusal.into_response(),
                }
            }
        };
        router = router.route(path, any(handler));
    }
    router
}

impl Offer {
    /// Checks in the order of their price, and takes a place last.
    async fn check(self, edge: &Arc<Edge>, request: Request) -> Result<Opening, Refusal> {
        let (head, body) = request.into_parts();
        if !edge.origins.allow(&head.headers) || edge.origins.embeds(&head.headers) {
            return Err(Refusal::Origin);
        }
        let format = self.format_of(&head)?;
        let request = self.first_message(&head, body).await?;
        let peer = edge.peer(&head, format, format.is_websocket());
        let seat = edge.seat()?;
        Ok(Opening { format, request, peer, seat, patience: edge.patience })
    }

    fn format_of(self, head: &Parts) -> Result<Format, Refusal> {
        let may_get = matches!(self.format, Format::Sse | Format::UniSse);
        match head.method {
            Method::GET if may_get => Ok(self.format),
            Method::POST if self.format == Format::HttpStreamJson && is_protobuf(head) => {
                Ok(Format::HttpStreamProtobuf)
            }
            Method::POST => Ok(self.format),
            _ => Err(Refusal::MethodNotAllowed),
        }
    }

    /// What the client says first: in the query of a GET, else in the body.
    async fn first_message(self, head: &Parts, body: Body) -> Result<Bytes, Refusal> {
        let message = if head.method == Method::GET {
            in_query(head.uri.query())
        } else {
            Some(body::take(head, body, self.limit, body::TIMEOUT).await?)
        };
        let unidirectional = self.format.is_unidirectional();
        match message {
            // Who only listens need not say anything.
            None if unidirectional => Ok(Bytes::from_static(b"{}")),
            None => Err(Refusal::Plain(StatusCode::BAD_REQUEST, "no connect command in the query (cf_connect)")),
            Some(message) if unidirectional && decode_introduction(&message).is_err() => {
                Err(Refusal::Plain(StatusCode::BAD_REQUEST, "not a connect request"))
            }
            Some(message) => Ok(message),
        }
    }
}

impl Opening {
    fn answer<C, F>(self, emulation: &Emulation, connect: C) -> Response
    where
        C: Fn(StreamTransport, StreamWire, Peer) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { format, request, mut peer, seat, patience } = self;
        let inbox = (!format.is_unidirectional()).then(|| emulation.open());
        let session = inbox.as_ref().map_or_else(Uuid::new_v4, |inbox| inbox.session());
        peer.mailbox = Some(Mailbox { session, node: emulation.node() });
        Leave::response(content_type(format), move |stream: TcpStream| {
            let (transport, wire) = StreamTransport::open(stream, request, inbox, patience);
            let session = connect(transport, wire, peer);
            tokio::spawn(async move {
                let _seat = seat;
                session.await;
            });
        })
    }
}

const fn content_type(format: Format) -> &'static str {
    match (format, format.encoding()) {
        (Format::Sse | Format::UniSse, _) => "text/event-stream; charset=utf-8",
        (_, Encoding::Protobuf) => "application/octet-stream",
        (_, Encoding::Json) => "application/x-ndjson; charset=utf-8",
    }
}

/// Whether a request's body is Protobuf.
pub(super) fn is_protobuf(head: &Parts) -> bool {
    head.headers.get(header::CONTENT_TYPE).is_some_and(|given| given == "application/octet-stream")
}

/// The client's first message in a query; `None` where there is none, or nothing in it.
pub(super) fn in_query(query: Option<&str>) -> Option<Bytes> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let (_, message) = pairs.find(|(name, _)| name == CONNECT)?;
    (!message.is_empty()).then(|| message.into_owned().into())
}
