//! The listener and its HTTP/1.1 connections. Unlike `axum::serve` it gives clients a deadline for their request heads.

use std::convert::Infallible;
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;
use tracing::{debug, warn};

use crate::socket::Leave;

/// HttpConnections the kernel completes before we accept them: a storm of reconnects must not be refused.
const BACKLOG: u32 = 4096;

/// HttpConnections that speak HTTP at one time, WebSockets not counted. At 16 KB each the worst case stays small; the rest
/// waits in the backlog.
const HTTP_CONNECTIONS: usize = 8192;

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

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    header_timeout: Duration,
}

impl Server {
    /// Binds `address`; port 0 takes a free one. A client that takes longer than `header_timeout` to send a request's
    /// head, or to begin one, is let go.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(address: SocketAddr, header_timeout: Duration) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restarted node finds its port still in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, header_timeout })
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
        let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS));
        let mut end = pin!(end);
        loop {
            let (stream, peer, place) = tokio::select! {
                end = &mut end => return (end, HttpConnections { connections, stopping }),
                accepted = self.accept(&places) => accepted,
            };
            let connection = Connection { peer, router: router.clone(), header_timeout: self.header_timeout };
            connections.spawn(connection.serve(stream, stopping.clone(), place));
        }
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Fails only on a socket that is gone already.
                    let _ = stream.set_nodelay(true);
                    return (stream, peer, place);
                }
                Err(error) if client_left(&error) => {}
                Err(error) => {
                    // Out of descriptors, most likely: accepting again at once would spin.
                    warn!(%error, "cannot accept connections");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// HttpConnections that speak HTTP.
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
    header_timeout: Duration,
}

impl Connection {
    async fn serve(self, stream: TcpStream, stopping: CancellationToken, _place: OwnedSemaphorePermit) {
        let Self { peer, router, header_timeout } = self;
        let leaving = Leaving::default();
        let service = service_fn({
            let leaving = leaving.clone();
            move |request| answer(router.clone(), peer, leaving.clone(), request)
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let outcome = tokio::select! {
            outcome = leaving.or_end(&mut connection) => outcome,
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
                let stream = parts.io.into_inner();
                drop(parts.read_buf);
                drop(parts.service);
                leave.go(head, stream).await;
            }
            Err(error) => debug!(%peer, %error, "HTTP connection failed"),
        }
    }
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
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = router.call(request).await?;
    if let Some(leave) = Leave::of(&mut response) {
        *leaving.0.lock() = Some((leave, response));
        return std::future::pending().await;
    }
    Ok(response)
}
