//! `POST /cluster/drain`: a node is to let go of its clients. The node is told by a word that all hear; that it obeys is
//! seen by what it then tells of itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use super::Operate;
use crate::backplane::PublishError;
use crate::cluster::{Member, State};

/// The topic on which nodes are told to drain.
pub const DRAINS: &str = "drain";
/// What the node gets to show that it obeys.
const OBEYS_WITHIN: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct Order<'a> {
    process: &'a str,
}

/// Why a node does not drain.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    #[error("no node {0:?} is there")]
    Unknown(String),
    #[error("no other node could take the clients of {0:?}; \"force\": true drains it all the same")]
    Last(String),
    #[error("{0:?} was told to drain and does not show it yet; see /cluster/nodes")]
    Silent(String),
    #[error("the node could not be told: {0}")]
    Untold(#[from] PublishError),
}

impl Operate {
    /// Has a node let go of its clients, for good: it serves again only once it is started anew. Returns once it is
    /// seen to obey.
    ///
    /// # Errors
    /// When there is no such node, it is the last one that serves (unless forced), or it does not show that it obeys.
    pub async fn drain(&self, node: &str, force: bool) -> Result<(), DrainError> {
        let members = self.cluster.members();
        let found = members.iter().find(|member| member.entry.name == node && member.entry.is_live());
        let found = found.ok_or_else(|| DrainError::Unknown(node.to_owned()))?;
        let others = members.iter().any(|member| member.serves() && member.entry.name != node);
        if !others && !force {
            return Err(DrainError::Last(node.to_owned()));
        }
        let process = found.entry.process.as_str();
        let order = serde_json::to_vec(&Order { process }).expect("an order has only fields that JSON knows");
        let mut changes = self.cluster.changes();
        self.backplane.broadcast().tell(DRAINS, order.into()).await?;
        let seen = async {
            while self.stays(process) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(OBEYS_WITHIN, seen).await.map_err(|_| DrainError::Silent(node.to_owned()))
    }

    /// Whether a node is there and does not drain.
    fn stays(&self, process: &str) -> bool {
        let stays = |member: &Member| member.entry.process == process && member.entry.state == State::Up;
        self.cluster.members().iter().any(stays)
    }

    /// Obeys orders that mean this node, for ever.
    pub async fn obey(self: Arc<Self>, mut orders: mpsc::Receiver<Bytes>) {
        while let Some(order) = orders.recv().await {
            match serde_json::from_slice::<Order<'_>>(&order) {
                Ok(order) if order.process == self.cluster.process() => {
                    info!("told to drain");
                    self.readiness.drain();
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "an order that this node does not understand"),
            }
        }
    }
}
