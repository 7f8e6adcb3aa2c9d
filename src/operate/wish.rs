//! How many nodes somebody wants: one value that all nodes share.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Operate;
use crate::backplane::{Guard, RegistryError, Watch};

const KEY: &str = "wish";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    pub target_instances: usize,
    /// In the words of who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The node that was asked.
    pub asked_at: String,
    /// RFC 3339, by the clock of the node that was asked.
    pub timestamp: String,
}

impl Operate {
    /// Knows the wish that stands, for ever. Takes a watch of its own.
    pub async fn follow(self: Arc<Self>, watch: Watch) {
        self.follow_key(KEY, watch, |value| self.take(value)).await;
    }

    /// Records a wish over every earlier one.
    pub(super) async fn record(&self, wish: &Wish) -> Result<(), RegistryError> {
        let value = serde_json::to_vec(wish).expect("a wish has only fields that JSON knows");
        self.scaling().put(KEY, value.into(), Guard::Any, None).await?;
        Ok(())
    }

    fn take(&self, value: Option<&[u8]>) {
        let wish = value.map(serde_json::from_slice::<Wish>).transpose().unwrap_or_else(|error| {
            warn!(%error, "a wished size that this node does not understand");
            None
        });
        let desired = wish.as_ref().map_or(0, |wish| wish.target_instances);
        self.telemetry.cluster.desired_nodes.set(desired as f64);
        self.wish.send_replace(wish);
    }
}
