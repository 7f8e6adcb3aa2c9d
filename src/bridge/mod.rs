//! A bridge to servers of Socket.IO that are joined by Redis, as `@socket.io/redis-adapter` joins them: both serve the same
//! rooms while a team moves from one to the other.
//!
//! One node of the cluster is the bridge at a time (`election`). It is one more server to those behind Redis: their events are
//! published here once (`inward`), so that order, history and recovery are those of the channel; what they ask of others all
//! nodes do, and it answers as one (`orders`); what is published here goes there once (`outward`). What came from there is
//! marked, and does not go back; what this cluster sent is known by its ids. Redis carries everything at most once: what is
//! sent while the bridge or Redis is away does not cross, and the metrics say that something did not.
//!
//! The servers speak one of two dialects, as their adapter has it. A namespace (`space`) says where something is said in theirs,
//! and the connection that hears (`ear`) where it is heard. In one of them a room can have a channel of its own, so the
//! bridge has to know which rooms are here (`rooms`), and all nodes tell it (`names`).
//!
//! Nothing else depends on Redis: without it nodes stay ready, and deliver to each other.

mod crossing;
mod dial;
mod ear;
mod election;
mod inward;
mod line;
mod names;
mod orders;
mod outward;
mod queue;
mod rooms;
mod space;
pub mod wire;

use std::future::pending;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use dial::DialError;

use crossing::Crossing;
use dial::Dialer;
use election::{Election, Over};
use space::Space;

use crate::api::Api;
use crate::backplane::Backplane;
use crate::cluster::Cluster;
use crate::settings::Redis;
use crate::socketio::SocketIo;
use crate::telemetry::Telemetry;

/// What every id of this project's bridges begins with.
const OWN: &str = "mp-";

/// This node's part in bridging.
pub struct Bridge {
    election: Election,
    dialer: Dialer,
    sockets: Arc<SocketIo>,
    api: Arc<Api>,
    backplane: Arc<dyn Backplane>,
    spaces: Vec<Space>,
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
    resigned: Notify,
}

/// Whether the settings can be used, as far as that can be said without connecting.
///
/// # Errors
/// When a certificate cannot be read.
pub fn check(settings: &Redis) -> Result<(), DialError> {
    Dialer::new(settings).map(drop)
}

impl Bridge {
    /// # Errors
    /// When a certificate cannot be read.
    pub fn new(
        settings: &Redis,
        cluster: &Cluster,
        sockets: Arc<SocketIo>,
        api: Arc<Api>,
        backplane: Arc<dyn Backplane>,
        telemetry: Arc<Telemetry>,
    ) -> Result<Arc<Self>, DialError> {
        telemetry.bridge.enabled.set(1.0);
        Ok(Arc::new(Self {
            election: Election::new(Arc::clone(&backplane), cluster.process().to_owned()),
            dialer: Dialer::new(settings)?,
            sockets,
            api,
            backplane,
            spaces: settings.namespaces.iter().map(|name| Space::new(settings, name)).collect(),
            telemetry,
            stop: CancellationToken::new(),
            resigned: Notify::new(),
        }))
    }

    /// Stands for election, and is the bridge whenever it wins, until it is asked to resign. Tells whichever node is the bridge
    /// what comes up on this one, from the call on.
    pub fn run(self: Arc<Self>) -> impl Future<Output = ()> + Send {
        let names = self.spaces.iter().any(Space::has_channels).then(|| self.sockets.watch_names());
        async move {
            let telling = async {
                match names {
                    Some(names) => names::tell(&self.sockets, names).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.stand() => {}
                () = telling => {}
            }
            self.resigned.notify_one();
            pending().await
        }
    }

    /// Leaves it to another node; returns once that can begin.
    pub async fn resign(&self) {
        self.stop.cancel();
        self.resigned.notified().await;
    }

    async fn stand(&self) {
        while let Some(mut term) = self.stop.run_until_cancelled(self.election.win()).await {
            info!("this node is the bridge to Redis now");
            self.telemetry.bridge.leading.set(1.0);
            let crossing = Crossing::new(self);
            let over = tokio::select! {
                () = crossing.run() => unreachable!("it goes on for ever"),
                over = self.election.hold(&mut term, &self.stop) => over,
            };
            drop(crossing);
            self.telemetry.bridge.connected.set(0.0);
            self.telemetry.bridge.leading.set(0.0);
            match over {
                Over::Lost => warn!("this node is the bridge to Redis no more: its term could not be prolonged"),
                Over::Asked => self.election.resign(term).await,
            }
        }
    }
}
