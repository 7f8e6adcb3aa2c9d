//! A bridge to servers of Socket.IO that are joined by Redis, as `@socket.io/redis-adapter` joins them: both serve the same
//! rooms while a team moves from one to the other.
//!
//! One node of the cluster is the bridge at a time (`election`). It is one more server to those behind Redis: their events are
//! published here once (`inward`), so that order, history and recovery are those of the channel; what they ask of others all
//! nodes do, and it answers as one (`orders`); what is published here goes there once (`outward`). What came from there is
//! marked, and does not go back; what this cluster sent is known by its ids. Redis carries everything at most once: what is
//! sent while the bridge or Redis is away does not cross, and the metrics say that something did not.
//!
//! Nothing else depends on Redis: without it nodes stay ready, and deliver to each other.

mod crossing;
mod dial;
mod election;
mod inward;
mod orders;
mod outward;
mod publisher;
mod queue;
pub mod wire;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

pub use dial::DialError;

use crossing::Crossing;
use dial::Dialer;
use election::{Election, Over};
use wire::Channels;

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

/// A namespace that is bridged.
struct Space {
    name: Arc<str>,
    channels: Channels,
    /// This bridge's id in it.
    uid: String,
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
        let space = |name: &Arc<str>| Space {
            name: Arc::clone(name),
            channels: Channels::new(&settings.key_prefix, name),
            uid: format!("{OWN}{}", &Uuid::new_v4().simple().to_string()[..8]),
        };
        Ok(Arc::new(Self {
            election: Election::new(Arc::clone(&backplane), cluster.process().to_owned()),
            dialer: Dialer::new(settings)?,
            sockets,
            api,
            backplane,
            spaces: settings.namespaces.iter().map(space).collect(),
            telemetry,
            stop: CancellationToken::new(),
            resigned: Notify::new(),
        }))
    }

    /// Stands for election, and is the bridge whenever it wins, until it is asked to resign.
    pub async fn run(self: Arc<Self>) {
        self.stand().await;
        self.resigned.notify_one();
        std::future::pending().await
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
