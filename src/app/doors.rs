//! Where a node listens.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::routes::Served;
use crate::http::{Bounds, Server};
use crate::settings::Http;
use crate::telemetry::Telemetry;

/// The listener of clients, and that of operators and backends, where they do not come to the first.
pub(super) struct Doors {
    pub(super) public: Server,
    pub(super) internal: Option<Server>,
}

/// Doors that are open; [`close`](Open::close) waits for the requests in flight.
pub(super) struct Open {
    serving: CancellationToken,
    servers: Vec<JoinHandle<()>>,
}

impl Doors {
    pub(super) fn bind(http: &Http, telemetry: &Arc<Telemetry>) -> anyhow::Result<Self> {
        let listen = |key, at, hint| listen(key, at, Bounds::from(http), telemetry, hint);
        let another = format!(" (PORT={} takes another port)", http.bind.port().wrapping_add(1));
        let public = listen("http.bind", http.bind, another.as_str())?;
        let internal = http.internal_bind.map(|at| listen("http.internal_bind", at, ""));
        let internal = internal.transpose()?;
        Ok(Self { public, internal })
    }

    /// Serves `served` while `work` is done, and goes on listening afterwards.
    pub(super) async fn serve_while<T>(&self, served: &Served, work: impl Future<Output = T>) -> T {
        let work = pin!(work);
        match self.internal.as_ref().zip(served.internal.as_ref()) {
            None => self.public.serve_while(&served.public, work).await,
            Some((internal, router)) => {
                let work = Box::pin(internal.serve_while(router, work));
                self.public.serve_while(&served.public, work).await
            }
        }
    }

    /// Serves `served` from here on.
    pub(super) fn open(self, served: Served) -> Open {
        let serving = CancellationToken::new();
        let internal = self.internal.zip(served.internal);
        let doors = [(self.public, served.public)].into_iter().chain(internal);
        let servers = doors
            .map(|(server, router)| tokio::spawn(server.serve(router, serving.clone().cancelled_owned())))
            .collect();
        Open { serving, servers }
    }
}

impl Open {
    /// Takes no further request, and waits for those in flight, until `deadline` at the latest.
    pub(super) async fn close(self, deadline: Instant) {
        self.serving.cancel();
        for server in self.servers {
            // A server that panicked is reported by the runtime; there is nothing left to stop then.
            let _ = timeout_at(deadline, server).await;
        }
    }
}

/// A listener at `at`, as `key` says; `hint` is what helps where another process was faster.
fn listen(key: &str, at: SocketAddr, bounds: Bounds, telemetry: &Arc<Telemetry>, hint: &str) -> anyhow::Result<Server> {
    Server::bind(at, bounds, telemetry).map_err(|error| {
        let taken = error.kind() == std::io::ErrorKind::AddrInUse;
        let why = if taken { format!(", taken by another process{hint}") } else { String::new() };
        anyhow::Error::new(error).context(format!("{key} = {at}{why}"))
    })
}
