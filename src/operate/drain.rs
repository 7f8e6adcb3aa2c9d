//! `POST /cluster/drain`: a node is to let go of its clients. Orders stand in one value that all nodes share, written under
//! the revision that was read: of two who would drain the last two nodes at once one is refused. Each node obeys what
//! stands there, so no order is lost on the way; that it does is seen by what it then tells of itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::{info, warn};

use super::Operate;
use crate::backplane::{Guard, RegistryError, Watch};
use crate::cluster::{Member, State};

/// Where the orders stand.
pub(super) const KEY: &str = "drain";
/// What the node gets to show that it obeys.
const OBEYS_WITHIN: Duration = Duration::from_secs(5);

/// Who is to drain, by process: a node that starts anew serves again.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Orders {
    processes: BTreeSet<String>,
}

/// Why a node does not drain.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    #[error("no node {0:?} is there")]
    Unknown(String),
    #[error("no other node could take the clients of {0:?}; \"force\": true drains it all the same")]
    Last(String),
    #[error(
        "no other node could take the clients of {node:?}: {}, told to drain as well; \"force\": true drains it all the same",
        .leaving.join(", ")
    )]
    AllLeave { node: String, leaving: Vec<String> },
    #[error("{0:?} was told to drain and does not show it yet; see /cluster/nodes")]
    Silent(String),
    #[error("the order may not be recorded: {0}")]
    Unrecorded(#[from] RegistryError),
}

impl Operate {
    /// Has a node let go of its clients, for good: it serves again only once it is started anew. Returns once it is
    /// seen to obey.
    ///
    /// # Errors
    /// When there is no such node, no other one would serve (unless forced), or it does not show that it obeys.
    pub async fn drain(&self, node: &str, force: bool) -> Result<(), DrainError> {
        let mut changes = self.cluster.changes();
        let process = self.order(node, force).await?;
        let seen = async {
            while self.stays(&process) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(OBEYS_WITHIN, seen).await.map_err(|_| DrainError::Silent(node.to_owned()))
    }

    /// Records that a node is to drain, unless nobody would serve then; returns its process.
    async fn order(&self, node: &str, force: bool) -> Result<String, DrainError> {
        let scaling = self.scaling();
        loop {
            let found = scaling.get(KEY).await?;
            let members = self.cluster.members();
            let guard = found.as_ref().map_or(Guard::Absent, |found| Guard::Revision(found.revision));
            let mut orders = Orders::read(found.as_ref().map(|found| &*found.value));
            let process = orders.add(node, force, &members)?;
            let value = serde_json::to_vec(&orders).expect("orders have only fields that JSON knows");
            match scaling.put(KEY, value.into(), guard, None).await {
                // Somebody else ordered meanwhile: what that leaves is weighed anew.
                Err(RegistryError::Conflict(_)) => {}
                written => return written.map(|_| process).map_err(DrainError::from),
            }
        }
    }

    /// Whether a node is there and does not drain.
    fn stays(&self, process: &str) -> bool {
        let stays = |member: &Member| member.entry.process == process && member.entry.state == State::Up;
        self.cluster.members().iter().any(stays)
    }

    /// Obeys orders that mean this node, for ever. Takes a watch of its own.
    pub async fn obey(self: Arc<Self>, watch: Watch) {
        self.follow_key(KEY, watch, |value| {
            if Orders::read(value).processes.contains(self.cluster.process()) && !self.readiness.is_draining() {
                info!("told to drain");
                self.readiness.drain();
            }
        })
        .await;
    }
}

impl Orders {
    fn read(value: Option<&[u8]>) -> Self {
        let orders = value.map(serde_json::from_slice).transpose().unwrap_or_else(|error| {
            warn!(%error, "orders to drain that this node does not understand");
            None
        });
        orders.unwrap_or_default()
    }

    /// Adds an order for `node`, unless it is the last of `members` that would serve. What was ordered of processes that are
    /// no more is struck out.
    pub(super) fn add(&mut self, node: &str, force: bool, members: &[Member]) -> Result<String, DrainError> {
        let live = || members.iter().filter(|member| member.entry.is_live());
        let found = live().find(|member| member.entry.name == node);
        let found = found.ok_or_else(|| DrainError::Unknown(node.to_owned()))?;
        let others = || live().filter(|member| member.entry.name != node && member.serves());
        let leaves = |member: &&Member| self.processes.contains(&member.entry.process);
        if !force && others().all(|member| leaves(&member)) {
            let leaving: Vec<_> = others().map(|member| member.entry.name.clone()).collect();
            let node = node.to_owned();
            return Err(if leaving.is_empty() {
                DrainError::Last(node)
            } else {
                DrainError::AllLeave { node, leaving }
            });
        }
        self.processes.retain(|process| live().any(|member| member.entry.process == *process));
        self.processes.insert(found.entry.process.clone());
        Ok(found.entry.process.clone())
    }
}
