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
        let mut newest = Revision::default();
        self.read(&mut newest).await;
        while let Some(change) = watch.next().await {
            match change {
                Change::Missed => self.read(&mut newest).await,
                Change::Entry { key, value, revision } if key == KEY => {
                    self.take(value.as_deref(), revision, &mut newest);
                }
                Change::Entry { .. } => {}
            }
        }
    }

    /// Records a wish over every earlier one.
    pub(super) async fn record(&self, wish: &Wish) -> Result<(), RegistryError> {
        let value = serde_json::to_vec(wish).expect("a wish has only fields that JSON knows");
        self.backplane.registry(Bucket::Scaling).put(KEY, value.into(), Guard::Any, None).await?;
        Ok(())
    }

    /// Reads until it succeeds.
    async fn read(&self, newest: &mut Revision) {
        loop {
            match self.backplane.registry(Bucket::Scaling).get(KEY).await {
                Ok(Some(entry)) => return self.take(Some(&entry.value), entry.revision, newest),
                Ok(None) => return,
                Err(error) => debug!(%error, "the wished size is not read yet"),
            }
            sleep(PAUSE).await;
        }
    }

    fn take(&self, value: Option<&[u8]>, revision: Revision, newest: &mut Revision) {
        if revision < *newest {
            return;
        }
        *newest = revision;
        let wish = value.map(serde_json::from_slice::<Wish>).transpose().unwrap_or_else(|error| {
            warn!(%error, "a wished size that this node does not understand");
            None
        });
        let desired = wish.as_ref().map_or(0, |wish| wish.target_instances);
        self.telemetry.cluster.desired_nodes.set(desired as f64);
        self.wish.send_replace(wish);
    }
}
