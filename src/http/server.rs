//! The listener and its HTTP/1.1 connections. Unlike `axum::serve` it gives clients a deadline for their request heads, and
//! one for reading what they get.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;
use tracing::{debug, warn};

use super::places::{Held, Place, Places};
use crate::settings;
use crate::socket::{Leave, Patient};
use crate::telemetry::{Cut, Pace, Telemetry};

/// Connections the kernel completes before we accept them: a storm of reconnects must not be refused.
const BACKLOG: u32 = 4096;

/// Connections that speak HTTP at one time; WebSockets, streams and long-polls that wait are not counted, since they are
/// clients' connections. At 16 KB each the worst case stays small.
const PLACES: usize = 8192;

/// Bytes of a request's head.
const HEAD_LIMIT: usize = 32 * 1024;

/// How long requests in flight may take to finish once the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// Where this machine reaches a listener that is bound to `address`.
#[must_use]
pub fn here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long to send a request's head, or to begin one.
    pub header_timeout: Duration,
    /// How long to read nothing of what is written.
    pub write_timeout: Duration,
    /// Connections that speak HTTP at one time; beyond it those go that have asked for nothing longest.
    pub places: usize,
}

impl From<&settings::Http> for Bounds {
    fn from(http: &settings::Http) -> Self {
        Self { header_timeout: http.header_timeout, write_timeout: http.write_timeout, places: PLACES }
    }
}

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    bounds: Bounds,
    places: Arc<Places>,
    telemetry: Arc<Telemetry>,
    /// That no connection can be accepted.
    told: Pace,
}

impl Server {
    /// Binds `address`; port 0 takes a free one. Who goes beyond `bounds` is let go.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(address: SocketAddr, bounds: Bounds, telemetry: &Arc<Telemetry>) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restarted node finds its port still in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let telemetry = Arc::clone(telemetry);
        let places = Places::new(bounds.places, Arc::clone(&telemetry));
        Ok(Self { listener, address, bounds, places, telemetry, told: Pace::default() })
    }

    /// The address that it really listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; then accepts nothing more and waits a little for the requests in flight. WebSockets live on
    /// beside it: who closes them is not decided here.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()> + Send) {
        let ((), connections) = self.accept_until(&router, stop).await;
        drop(self.listener);
        connections.finish().await;
    }

    /// Serves `router` while `work` is done, and goes on listening afterwards.
    pub async fn serve_while<T>(&self, router: &Router, work: impl Future<Output = T>) -> T {
        let (done, connections) = self.accept_until(router, work).await;
        connections.finish().await;
        done
    }

    async fn accept_until<T>(&self, router: &Router, end: impl Future<Output = T>) -> (T, HttpConnections) {
        let connections = TaskTracker::new();
        let stopping = CancellationToken::new();
        let mut end = pin!(end);
        loop {
            let (stream, peer) = tokio::select! {
                end = &mut end => return (end, HttpConnections { connections, stopping }),
                accepted = self.accept() => accepted,
            };
            let connection = Connection {
                peer,
                router: router.clone(),
                bounds: self.bounds,
                place: self.places.take(),
                telemetry: Arc::clone(&self.telemetry),
            };
            connections.spawn(connection.serve(stream, stopping.clone()));
        }
    }

    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Fails only on a socket that is gone already.
                    let _ = stream.set_nodelay(true);
                    return (stream, peer);
                }
                Err(error) if client_left(&error) => {}
                Err(error) => {
                    if let Some(left_out) = self.told.due() {
                        warn!(%error, left_out, "cannot accept connections");
                    }
                    // Out of descriptors, most likely: accepting again at once would spin.
                    self.places.make_room();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Connections that speak HTTP.
struct HttpConnections {
    connections: TaskTracker,
    stopping: CancellationToken,
}

impl HttpConnections {
    /// Takes no further request on them, and waits a little for those in flight.
    async fn finish(self) {
        self.stopping.cancel();
        self.connections.close();
        if tokio::time::timeout(GRACE, self.connections.wait()).await.is_err() {
            warn!(requests = self.connections.len(), "stopped with requests in flight");
        }
    }
}

fn client_left(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// One connection while it speaks HTTP.
struct Connection {
    peer: SocketAddr,
    router: Router,
    bounds: Bounds,
    place: Arc<Place>,
    telemetry: Arc<Telemetry>,
}

impl Connection {
    async fn serve(self, stream: TcpStream, stopping: CancellationToken) {
        let Self { peer, router, bounds, place, telemetry } = self;
        let leaving = Leaving::default();
        let service = service_fn({
            let (leaving, place) = (leaving.clone(), Arc::clone(&place));
            move |request| answer(router.clone(), peer, leaving.clone(), Arc::clone(&place), request)
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.header_timeout)
            .max_buf_size(HEAD_LIMIT)
            .serve_connection(TokioIo::new(Patient::new(stream, bounds.write_timeout)), service)
            .with_upgrades();
        let outcome = tokio::select! {
            outcome = leaving.or_end(&mut connection) => outcome,
            () = place.displaced() => return,
            () = stopping.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                leaving.or_end(&mut connection).await
            }
        };
        match outcome {
            Ok(None) => {}
            Ok(Some((leave, head))) => {
                // Whatever HTTP held for the connection goes here, before its stream begins.
                let parts = connection.into_parts().expect("it did not become a WebSocket");
                let stream = parts.io.into_inner().into_inner();
                drop((parts.read_buf, parts.service, place));
                leave.go(head, stream).await;
            }
            Err(error) => {
                if is_unread(&error) {
                    telemetry.http.cut.of(Cut::Unread).increment(1);
                }
                debug!(%peer, %error, "HTTP connection failed");
            }
        }
    }
}

/// Whether the client read nothing of its answer for too long.
fn is_unread(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

/// Where a request's answer says that its connection leaves HTTP. The request, and the connection's task that polls it,
/// then do not go on.
#[derive(Clone, Default)]
struct Leaving(Arc<Mutex<Option<(Leave, Response)>>>);

impl Leaving {
    /// Polls a connection until it ends, or leaves.
    async fn or_end<C>(&self, connection: &mut C) -> hyper::Result<Option<(Leave, Response)>>
    where
        C: Future<Output = hyper::Result<()>> + Unpin,
    {
        poll_fn(|cx| {
            let polled = Pin::new(&mut *connection).poll(cx);
            // A request is polled by its connection, so it cannot leave at another time than now.
            if let Some(leave) = self.0.lock().take() {
                return Poll::Ready(Ok(Some(leave)));
            }
            polled.map_ok(|()| None)
        })
        .await
    }
}

async fn answer(
    mut router: Router,
    peer: SocketAddr,
    leaving: Leaving,
    place: Arc<Place>,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    place.renew();
    request.extensions_mut().insert(Held(place));
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = router.call(request).await?;
    if let Some(leave) = Leave::of(&mut response) {
        *leaving.0.lock() = Some((leave, response));
        return std::future::pending().await;
    }
    Ok(response)
}
