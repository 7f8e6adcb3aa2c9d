//! Engine.IO over HTTP: handshakes, the requests of long-polling, and WebSockets, all on one path.
//!
//! What is refused before there is a session is told as the protocol has it, a number and a text; a WebSocket that is refused
//! gets the text alone.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tower::ServiceExt;

use crate::engineio::{Engine, Layer, Refused, Way};
use crate::http::connection::{self, Edge};
use crate::http::gzip;
use crate::http::limits::{AddressLimit, Misses, body, rate};
use crate::http::places;
use crate::http::refusal::Refusal;
use crate::protocol::centrifuge::Format;
use crate::protocol::socketio::Sid;
use crate::settings::Rate;
use crate::socket::Upgrade;

pub mod client;
mod query;
mod refused;

use self::query::{Carrier, Query};
use self::refused::Fault;

const TEXT: &str = "text/plain; charset=UTF-8";
const HTML: &str = "text/html";

/// How requests of long-polling are answered.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Bytes from which on what waits is compressed, for clients that take it; `None` never is.
    pub compress_from: Option<usize>,
    /// The cookie that a session's first answer sets to its id, for proxies that send its requests to one node by that.
    pub cookie: Option<String>,
}

/// What a request meets.
struct Service<L> {
    edge: Arc<Edge>,
    engine: Arc<Engine>,
    layer: Arc<L>,
    answers: Answers,
    /// Requests for sessions of other nodes that those do not have.
    misses: Option<Arc<Misses>>,
}

/// The route at `path`, which ends with a slash; without that it is the same. Handshakes have the rate of `edge`, WebSockets
/// for sessions on long-polling the same once more, and requests that bring packets `posts`; so do requests for sessions that
/// other nodes do not have.
pub fn routes<L: Layer>(
    path: &str,
    edge: &Arc<Edge>,
    engine: &Arc<Engine>,
    layer: &Arc<L>,
    posts: Option<Rate>,
    answers: &Answers,
) -> Router {
    let misses = posts.map(|rate| Arc::new(Misses::new(rate)));
    let service = || Service {
        edge: Arc::clone(edge),
        engine: Arc::clone(engine),
        layer: Arc::clone(layer),
        answers: answers.clone(),
        misses: misses.clone(),
    };
    let served = |service: Service<L>| {
        let service = Arc::new(service);
        Router::new().fallback(move |request: Request| {
            let service = Arc::clone(&service);
            async move { service.answer(request).await }
        })
    };
    let [opening] = connection::limited(edge, [served(service())]);
    // Buckets of its own: else an address had only half as many sessions.
    let [upgrading] = connection::limited(edge, [served(service())]);
    let [posting] = rate::limited([served(service())], AddressLimit::Posts, posts, &edge.proxies);
    let polling = served(service());
    let handler = move |request: Request| {
        let session = Query::of(request.uri()).sid.is_some();
        let router = match (session, request.method()) {
            (false, _) => opening.clone(),
            (true, &Method::POST) => posting.clone(),
            (true, _) if is_upgrade(request.headers()) => upgrading.clone(),
            (true, _) => polling.clone(),
        };
        async move { router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {}) }
    };
    Router::new().route(path, any(handler.clone())).route(path.trim_end_matches('/'), any(handler))
}

impl<L: Layer> Service<L> {
    async fn answer(&self, request: Request) -> Response {
        let (mut head, body) = request.into_parts();
        let websocket = is_upgrade(&head.headers);
        match self.checked(&mut head, body).await {
            Ok(response) => response,
            Err(fault) => fault.answer(websocket),
        }
    }

    /// Checks in the protocol's order.
    async fn checked(&self, head: &mut Parts, body: Body) -> Result<Response, Fault> {
        let query = Query::of(&head.uri);
        let carrier = query.transport.ok_or(Fault::UnknownTransport)?;
        let readable = |origin: &header::HeaderValue| origin.to_str().is_ok();
        if !head.headers.get(header::ORIGIN).is_none_or(readable) {
            return Err(Fault::BadRequest);
        }
        let Some(sid) = query.sid else { return self.open(head, carrier, query.version_is_4) };
        let way = sid.parse().ok().and_then(|sid: Sid| self.engine.find(sid)).ok_or(Fault::UnknownSession)?;
        if !self.edge.origins.allow(&head.headers) {
            return Err(Fault::Forbidden);
        }
        // To ask another node is not for nothing.
        let asks = self.misses.as_ref().filter(|_| matches!(way, Way::Elsewhere(_)));
        let Some(misses) = asks else { return self.serve(head, body, carrier, &way).await };
        let address = self.edge.address(head);
        misses.admit(address).map_err(Fault::Turned)?;
        let served = self.serve(head, body, carrier, &way).await;
        if served.as_ref().err().is_some_and(Fault::is_miss) {
            misses.count(address);
        }
        served
    }

    /// What is asked of a session.
    async fn serve(&self, head: &mut Parts, body: Body, carrier: Carrier, way: &Way) -> Result<Response, Fault> {
        match (carrier, is_upgrade(&head.headers)) {
            (Carrier::WebSocket, true) => self.take_over(head, way).await,
            (Carrier::Polling, false) if !way.has_moved() => self.request(head, body, way).await,
            (Carrier::WebSocket, false) | (Carrier::Polling, _) => Err(Fault::BadRequest),
        }
    }

    /// A client that has no session yet.
    fn open(&self, head: &mut Parts, carrier: Carrier, version_is_4: bool) -> Result<Response, Fault> {
        if head.method != Method::GET {
            return Err(Fault::HandshakeMethod);
        }
        if (carrier == Carrier::WebSocket) != is_upgrade(&head.headers) {
            return Err(Fault::BadRequest);
        }
        let origins = &self.edge.origins;
        if !origins.allow(&head.headers) || origins.embeds(&head.headers) {
            return Err(Fault::Forbidden);
        }
        if !version_is_4 {
            return Err(Fault::UnsupportedVersion);
        }
        let peer = self.edge.peer(head, Format::SocketIo, false);
        match carrier {
            Carrier::Polling => {
                let seat = self.edge.seat().map_err(Fault::Turned)?;
                let (sid, body) = self.engine.begin_polling(&*self.layer, peer, seat);
                let mut response = ([(header::CONTENT_TYPE, TEXT)], body).into_response();
                if let Some(cookie) = self.answers.cookie.as_ref().and_then(|name| cookie(name, sid)) {
                    response.headers_mut().insert(header::SET_COOKIE, cookie);
                }
                Ok(response)
            }
            Carrier::WebSocket => {
                let upgrade = Upgrade::of(head, None).map_err(|refused| Fault::Turned(Refusal::Handshake(refused)))?;
                let seat = self.edge.seat().map_err(Fault::Turned)?;
                let (engine, layer) = (Arc::clone(&self.engine), Arc::clone(&self.layer));
                let limit = engine.options().max_payload;
                Ok(upgrade.accept(None, limit, seat, move |transport, wire| async move {
                    // Its future is large until the session has begun.
                    Box::pin(engine.run_websocket(&*layer, transport, wire, peer)).await;
                }))
            }
        }
    }

    /// A WebSocket for a session on long-polling. One too many is accepted, as the protocol has it, and closed at once: the
    /// session must not hear of it. One of another node takes the session here with it.
    async fn take_over(&self, head: &mut Parts, way: &Way) -> Result<Response, Fault> {
        let upgrade = Upgrade::of(head, None).map_err(|refused| Fault::Turned(Refusal::Handshake(refused)))?;
        let engine = Arc::clone(&self.engine);
        let limit = engine.options().max_payload;
        match way {
            Way::Here(door) => {
                let candidate = door.claim();
                Ok(upgrade.accept(None, limit, (), move |transport, wire| async move {
                    Box::pin(engine.probe(transport, wire, candidate)).await;
                }))
            }
            Way::Elsewhere(remote) => {
                let seat = self.edge.seat().map_err(Fault::Turned)?;
                let claim = remote.claim().await?;
                let layer = Arc::clone(&self.layer);
                Ok(upgrade.accept(None, limit, seat, move |transport, wire| async move {
                    Box::pin(engine.take_here(&*layer, transport, wire, claim)).await;
                }))
            }
        }
    }

    /// A request of a session on long-polling.
    async fn request(&self, head: &Parts, body: Body, way: &Way) -> Result<Response, Fault> {
        match head.method {
            Method::GET => {
                let mut aside = None;
                let body = way.poll(|| aside = places::aside(head)).await?;
                drop(aside);
                let mut response = gzip::answer(&head.headers, body, self.answers.compress_from);
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT));
                Ok(response)
            }
            Method::POST => {
                if head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream") {
                    way.misuse().await;
                    return Err(Fault::Session(Refused::Closed));
                }
                let post = way.begin_post().await?;
                let limit = self.engine.options().max_payload;
                let body = body::take(head, body, limit, body::TIMEOUT).await.map_err(Fault::Body)?;
                post.bring(body).await?;
                Ok(([(header::CONTENT_TYPE, HTML)], "ok").into_response())
            }
            _ => Err(Fault::BadRequest),
        }
    }
}

/// As servers of this protocol write it.
fn cookie(name: &str, sid: Sid) -> Option<HeaderValue> {
    let mut cookie = HeaderValue::from_str(&format!("{name}={}; Path=/; HttpOnly; SameSite=Lax", sid.secret())).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Moved => Self::BadRequest,
            Refused::Unknown | Refused::NoNode => Self::UnknownSession,
            Refused::Busy => {
                let why = "too many requests wait at the session's node";
                Self::Turned(Refusal::Plain(StatusCode::SERVICE_UNAVAILABLE, why))
            }
            Refused::TooLarge { limit } => Self::Body(Refusal::TooLarge { limit }),
            Refused::Closed | Refused::Timeout | Refused::Unavailable => Self::Session(refused),
        }
    }
}

/// What is said without a word more: clients read the status.
fn bare(status: StatusCode) -> Response {
    status.into_response()
}
