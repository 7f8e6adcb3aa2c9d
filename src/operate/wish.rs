//! How many nodes somebody wants: one value that all nodes share.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::Operate;
use crate::backplane::{Bucket, Change, Guard, RegistryError, Revision, SubscribeError, Watch};

const KEY: &str = "wish";
/// Before the wish is read again.
const PAUSE: Duration = Duration::from_millis(500);

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
    /// Asks for changes from now on. Before [`follow`](Self::follow).
    ///
    /// # Errors
    /// When the backplane does not accept it.
    pub async fn watch(&self) -> Result<Watch, SubscribeError> {
        self.backplane.registry(Bucket::Scaling).watch().await
    }

    /// Knows the wish that stands, for ever.
    pub async fn follow(self: Arc<Self>, mut watch: Watch) {
        let mut newest = self.read().await;
        while let Some(change) = watch.next().await {
            match change {
                Change::Entry { key, .. } if key != KEY => {}
                Change::Entry { value, revision, .. } if revision >= newest => {
                    newest = revision;
                    self.take(value.as_deref());
                }
                // Late word, or revisions that begin anew where the registry was lost.
                Change::Missed | Change::Entry { .. } => newest = self.read().await,
            }
        }
    }

    /// Records a wish over every earlier one.
    pub(super) async fn record(&self, wish: &Wish) -> Result<(), RegistryError> {
        let value = serde_json::to_vec(wish).expect("a wish has only fields that JSON knows");
        self.backplane.registry(Bucket::Scaling).put(KEY, value.into(), Guard::Any, None).await?;
        Ok(())
    }

    /// Reads what stands, until it succeeds.
    async fn read(&self) -> Revision {
        loop {
            match self.backplane.registry(Bucket::Scaling).get(KEY).await {
                Ok(found) => {
                    self.take(found.as_ref().map(|entry| &*entry.value));
                    return found.map_or(Revision::default(), |entry| entry.revision);
                }
                Err(error) => debug!(%error, "the wished size is not read yet"),
            }
            sleep(PAUSE).await;
        }
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
