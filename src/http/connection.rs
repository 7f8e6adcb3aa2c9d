//! `/connection/websocket` and `/connection/uni_websocket`: who passes every check leaves HTTP. What stands before every
//! kind of connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use uuid::Uuid;

use crate::http::limits::{AddressLimit, Admission, Origins, Seat, TrustedProxies, Turned, rate};
use crate::http::refusal::Refusal;
use crate::http::streams;
use crate::protocol::centrifuge::{Format, decode_introduction};
use crate::protocol::websocket::Deflate;
use crate::session::{Mailbox, Peer, Turnstile};
use crate::settings::{Rate, Settings, Transport};
use crate::socket::{RawTransport, RawWire, Upgrade};

/// What stands between a handshake and its session.
pub struct Edge {
    pub admission: Arc<Admission>,
    /// Clients that connect now.
    pub connects: Arc<Turnstile>,
    pub origins: Arc<Origins>,
    pub proxies: Arc<TrustedProxies>,
    pub handshake_rate: Option<Rate>,
    /// Bytes of an inbound message that is read at all.
    pub message_limit: usize,
    /// How messages are compressed for clients that offer it; `None` where they are not.
    pub deflate: Option<Deflate>,
    /// How long a client that cannot answer pings may take to acknowledge what is sent.
    pub patience: Duration,
    /// Headers that hooks want of the handshake.
    pub headers: Vec<HeaderName>,
}

impl Edge {
    #[must_use]
    pub fn new(settings: &Settings, connects: Arc<Turnstile>) -> Arc<Self> {
        let hooks = &settings.hooks;
        let hooks = [&hooks.connect, &hooks.refresh, &hooks.subscribe, &hooks.publish, &hooks.sub_refresh];
        let wanted = hooks.into_iter().flatten().flat_map(|hook| &hook.http_headers);
        let mut headers: Vec<_> = wanted.cloned().collect();
        headers.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        headers.dedup();
        Arc::new(Self {
            admission: Admission::new(settings.http.max_connections),
            connects,
            origins: Arc::new(Origins::new(&settings.client.allowed_origins, settings.development)),
            proxies: Arc::new(TrustedProxies::new(settings.http.trusted_proxies.clone())),
            handshake_rate: settings.http.handshake_rate,
            patience: settings.client.pong_timeout.unwrap_or(settings.client.ping_interval),
            deflate: settings.transports.websocket_deflate,
            message_limit: settings.client.largest_message(),
            headers,
        })
    }

    /// What a session is told of who opened it.
    pub(super) fn peer(&self, head: &Parts, format: Format, frame_pings: bool) -> Peer {
        let remote = self.address(head);
        let header = |name: &HeaderName| {
            let value = head.headers.get(name)?.to_str().ok()?;
            Some((name.to_string(), value.to_owned()))
        };
        let headers = self.headers.iter().filter_map(header).collect();
        Peer { format, frame_pings, mailbox: None, remote, headers }
    }

    /// The client's own, behind whichever proxies.
    pub(super) fn address(&self, head: &Parts) -> IpAddr {
        let ConnectInfo(peer) = head.extensions.get::<ConnectInfo<SocketAddr>>().expect("put there by the server");
        self.proxies.client(peer.ip(), &head.headers)
    }

    /// Takes a place, where there is one and its client would come to connect.
    pub(super) fn seat(&self) -> Result<Seat, Refusal> {
        if self.connects.is_full() {
            return Err(Refusal::Turned(Turned::Busy));
        }
        self.admission.enter().map_err(Refusal::Turned)
    }

    /// Checks in the order of their price, and takes a place last.
    fn open<C, F>(&self, request: Request, connect: C) -> Result<Response, Refusal>
    where
        C: FnOnce(RawTransport, RawWire, Peer) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (mut head, _) = request.into_parts();
        if !self.origins.allow(&head.headers) {
            return Err(Refusal::Origin);
        }
        let upgrade = Upgrade::of(&mut head, self.deflate).map_err(Refusal::Handshake)?;
        let format = Format::from(upgrade.encoding()).deflated(upgrade.deflate());
        let peer = self.peer(&head, format, upgrade.frame_pings());
        let seat = self.seat()?;
        Ok(upgrade.accept(None, self.message_limit, seat, move |transport, wire| connect(transport, wire, peer)))
    }

    /// As [`open`](Self::open), for a client that only listens. `node` is this one.
    fn open_unidirectional<C, F>(
        &self,
        request: Request,
        limit: usize,
        node: Uuid,
        connect: C,
    ) -> Result<Response, Refusal>
    where
        C: FnOnce(RawTransport, RawWire, Peer) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (mut head, _) = request.into_parts();
        if !self.origins.allow(&head.headers) {
            return Err(Refusal::Origin);
        }
        let introduction = streams::in_query(head.uri.query());
        if introduction.as_ref().is_some_and(|introduction| decode_introduction(introduction).is_err()) {
            return Err(Refusal::Plain(StatusCode::BAD_REQUEST, "not a connect request"));
        }
        let upgrade = Upgrade::of(&mut head, self.deflate).map_err(Refusal::Handshake)?;
        let mut peer = self.peer(&head, Format::UniWebSocket.deflated(upgrade.deflate()), true);
        peer.mailbox = Some(Mailbox { session: Uuid::new_v4(), node });
        let seat = self.seat()?;
        let connect = move |transport, wire| connect(transport, wire, peer);
        Ok(upgrade.accept(introduction.as_deref(), limit, seat, connect))
    }
}

/// The route of WebSockets; each becomes a task that runs what `connect` returns.
pub fn routes<C, F>(edge: &Arc<Edge>, connect: C) -> Router
where
    C: Fn(RawTransport, RawWire, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let edge = Arc::clone(edge);
    let handler = move |request: Request| {
        let (edge, connect) = (Arc::clone(&edge), connect.clone());
        async move { edge.open(request, connect).unwrap_or_else(IntoResponse::into_response) }
    };
    Router::new().route("/connection/websocket", get(handler))
}

/// The route of WebSockets for clients that only listen, if it is on. `node` is this one.
pub fn unidirectional<C, F>(edge: &Arc<Edge>, offered: Transport, node: Uuid, connect: C) -> Router
where
    C: Fn(RawTransport, RawWire, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    if !offered.enabled {
        return Router::new();
    }
    let edge = Arc::clone(edge);
    let handler = move |request: Request| {
        let (edge, connect) = (Arc::clone(&edge), connect.clone());
        let opened = move || edge.open_unidirectional(request, offered.request_limit, node, connect);
        async move { opened().unwrap_or_else(IntoResponse::into_response) }
    };
    Router::new().route("/connection/uni_websocket", get(handler))
}

/// Puts the rate of handshakes in front of all routes of `routers`.
pub fn limited<const N: usize>(edge: &Edge, routers: [Router; N]) -> [Router; N] {
    rate::limited(routers, AddressLimit::Handshakes, edge.handshake_rate, &edge.proxies)
}
