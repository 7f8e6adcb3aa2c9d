//! This node among the others.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tracing::debug;

use crate::backplane::{Backplane, FeedSender};
use crate::cluster::{Cluster, Introduction, Reap, ReapError, Work};
use crate::hub::Connections;
use crate::presence::Presence;
use crate::relay::Relay;
use crate::settings::Settings;
use crate::socketio::SocketIo;
use crate::telemetry::Telemetry;

/// Makes this node, which listens on `bound`, a member of the cluster.
pub(super) async fn join(
    settings: &Settings,
    bound: SocketAddr,
    backplane: &Arc<dyn Backplane>,
    work: impl Fn() -> Work + Send + Sync + 'static,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<Cluster> {
    let introduction = Introduction {
        name: settings.node.name.clone(),
        address: settings.cluster.address.clone().unwrap_or_else(|| whereabouts(bound, host().as_deref())),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capacity: settings.http.max_connections.map(|most| most as u64),
    };
    let (backplane, telemetry) = (Arc::clone(backplane), Arc::clone(telemetry));
    Ok(Box::pin(Cluster::join(backplane, &settings.cluster, introduction, work, telemetry)).await?)
}

/// Where a node is that listens on `bound`. One that listens everywhere is told by the name of its `host`: 0.0.0.0 would
/// be the address of all.
fn whereabouts(bound: SocketAddr, host: Option<&str>) -> String {
    match host {
        Some(host) if bound.ip().is_unspecified() => format!("{host}:{}", bound.port()),
        _ => bound.to_string(),
    }
}

/// The name of this machine, or of the container, whose id it is with Docker. Linux tells it.
fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Counts what this node has to do.
pub(super) fn work(
    connections: &Arc<Connections>,
    relay: &Arc<Relay>,
    feed: FeedSender,
) -> impl Fn() -> Work + Send + Sync + 'static {
    let (connections, relay) = (Arc::clone(connections), Arc::clone(relay));
    move || Work {
        clients: connections.len() as u64,
        users: connections.users() as u64,
        channels: relay.tally().channels() as u64,
        subscriptions: relay.tally().subscriptions() as u64,
        sent: relay.tally().sent(),
        queue_bytes: (connections.backlog().load(Ordering::Relaxed) + feed.waiting()) as u64,
    }
}

/// What nodes leave behind: their clients, in presence, and sessions that these may come back to.
pub(super) struct Traces {
    pub(super) presence: Arc<Presence>,
    pub(super) sockets: Option<Arc<SocketIo>>,
}

#[async_trait]
impl Reap for Traces {
    async fn reap(&self, life: &str) -> Result<usize, ReapError> {
        let traces = self.presence.reap(life).await.map_err(|error| ReapError(error.to_string()))?;
        let Some(sockets) = &self.sockets else { return Ok(traces) };
        let sessions = sockets.bury(life).await.map_err(|error| ReapError(error.to_string()))?;
        Ok(traces + sessions)
    }

    async fn lives(&self) -> Result<BTreeSet<String>, ReapError> {
        let mut lives = self.presence.lives().await.map_err(|error| ReapError(error.to_string()))?;
        if let Some(sockets) = &self.sockets {
            // Presence is cleaned up all the same.
            match sockets.lives().await {
                Ok(with_sessions) => lives.extend(with_sessions),
                Err(error) => debug!(%error, "sessions cannot be listed"),
            }
        }
        Ok(lives)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_listen_everywhere_are_told_apart_by_their_hosts() {
        for everywhere in ["0.0.0.0:3001", "[::]:3001"] {
            assert_eq!(whereabouts(everywhere.parse().unwrap(), Some("5f2a6b1c9d3e")), "5f2a6b1c9d3e:3001");
        }
        assert_eq!(whereabouts("10.0.0.7:3001".parse().unwrap(), Some("5f2a6b1c9d3e")), "10.0.0.7:3001");
        assert_eq!(whereabouts("0.0.0.0:3001".parse().unwrap(), None), "0.0.0.0:3001");
    }
}
