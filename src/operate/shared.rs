//! What all nodes share of this: values in one registry, each read anew where a change of it may have been missed.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::sleep;
use tracing::{debug, info};

use super::Operate;
use crate::backplane::{Bucket, Change, Guard, Registry, RegistryError, Revision, SubscribeError, Watch};

/// Before a value is read again.
const PAUSE: Duration = Duration::from_millis(500);

impl Operate {
    pub(super) fn scaling(&self) -> &dyn Registry {
        self.backplane.registry(Bucket::Scaling)
    }

    /// Asks for changes from now on: once for each that follows them.
    ///
    /// # Errors
    /// When the backplane does not accept it.
    pub async fn watch(&self) -> Result<Watch, SubscribeError> {
        self.scaling().watch().await
    }

    /// Takes the value of `key`, now and whenever it changes, for ever.
    pub(super) async fn follow_key(&self, key: &str, mut watch: Watch, take: impl Fn(Option<&[u8]>) + Sync) {
        let known = Mutex::new(None);
        let take = |value: Option<&[u8]>| {
            // Where nothing is read the registry may have been lost. That somebody took the value away is told.
            if let Some(value) = value {
                *known.lock() = Some(Bytes::copy_from_slice(value));
            }
            take(value);
        };
        let mut newest = self.read(key, &take).await;
        while let Some(change) = watch.next().await {
            match change {
                Change::Entry { key: other, .. } if other != key => {}
                Change::Entry { value, revision, .. } if revision >= newest => {
                    newest = revision;
                    if value.is_none() {
                        *known.lock() = None;
                    }
                    take(value.as_deref());
                }
                // Late word, or revisions that begin anew where the registry was lost.
                Change::Missed | Change::Entry { .. } => newest = self.read(key, &take).await,
                Change::Lost => {
                    let value = known.lock().clone();
                    self.write_again(key, value).await;
                    newest = self.read(key, &take).await;
                }
            }
        }
    }

    /// Writes what stood before the registry was lost, until it succeeds or another has.
    async fn write_again(&self, key: &str, value: Option<Bytes>) {
        let Some(value) = value else { return };
        loop {
            match self.scaling().put(key, value.clone(), Guard::Absent, None).await {
                Ok(_) => return info!(key, "written again: the registry was lost"),
                Err(RegistryError::Conflict(_)) => return,
                Err(error) => debug!(key, %error, "not written again yet"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Reads what stands, until it succeeds.
    async fn read(&self, key: &str, take: &(impl Fn(Option<&[u8]>) + Sync)) -> Revision {
        loop {
            match self.scaling().get(key).await {
                Ok(found) => {
                    take(found.as_ref().map(|entry| &*entry.value));
                    return found.map_or(Revision::default(), |entry| entry.revision);
                }
                Err(error) => debug!(key, %error, "not read yet"),
            }
            sleep(PAUSE).await;
        }
    }
}
