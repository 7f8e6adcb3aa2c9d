//! `/connection/websocket`: who passes every check leaves HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::http::limits::{Admission, Origins, TrustedProxies, rate};
use crate::http::refusal::Refusal;
use crate::session::Peer;
use crate::settings::{Rate, Settings};
use crate::socket::{RawTransport, RawWire, Upgrade};

/// Messages up to so many times the limit of a publication are read: clients that come back batch their subscribes, and
/// what is too large can be answered with an error.
const READABLE: usize = 4;

/// What stands between a handshake and its session.
pub struct Edge {
    pub admission: Arc<Admission>,
    pub origins: Origins,
    pub proxies: Arc<TrustedProxies>,
    pub handshake_rate: Option<Rate>,
    /// Bytes of an inbound message that is read at all.
    pub message_limit: usize,
    /// Headers that hooks want of the handshake, in lower case.
    pub headers: Vec<String>,
}

impl Edge {
    #[must_use]
    pub fn new(settings: &Settings) -> Arc<Self> {
        let hooks = &settings.hooks;
        let hooks = [&hooks.connect, &hooks.refresh, &hooks.subscribe, &hooks.publish, &hooks.sub_refresh];
        let wanted = hooks.into_iter().flatten().flat_map(|hook| &hook.http_headers);
        let mut headers: Vec<_> = wanted.map(|name| name.to_ascii_lowercase()).collect();
        headers.sort_unstable();
        headers.dedup();
        Arc::new(Self {
            admission: Admission::new(settings.http.max_connections),
            origins: Origins::new(&settings.client.allowed_origins, settings.development),
            proxies: Arc::new(TrustedProxies::new(settings.http.trusted_proxies.clone())),
            handshake_rate: settings.http.handshake_rate,
            message_limit: settings.client.message_size_limit.saturating_mul(READABLE),
            headers,
        })
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
        let ConnectInfo(address) = head.extensions.get::<ConnectInfo<SocketAddr>>().expect("put there by the server");
        let remote = self.proxies.client(address.ip(), &head.headers);
        let upgrade = Upgrade::of(&mut head).map_err(Refusal::Handshake)?;
        let seat = self.admission.enter().map_err(Refusal::Turned)?;
        let peer = upgrade.peer(remote, &self.headers);
        Ok(upgrade.accept(self.message_limit, seat, move |transport, wire| connect(transport, wire, peer)))
    }
}

/// The route of WebSockets; each becomes a task that runs what `connect` returns.
pub fn routes<C, F>(edge: &Arc<Edge>, connect: C) -> Router
where
    C: Fn(RawTransport, RawWire, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let shared = Arc::clone(edge);
    let handler = move |request: Request| {
        let (edge, connect) = (Arc::clone(&shared), connect.clone());
        async move { edge.open(request, connect).unwrap_or_else(IntoResponse::into_response) }
    };
    let routes = Router::new().route("/connection/websocket", get(handler));
    match edge.handshake_rate {
        Some(rate) => rate::limited(routes, rate, Arc::clone(&edge.proxies)),
        None => routes,
    }
}
