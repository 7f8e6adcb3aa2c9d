//! Registries whose lists, watches and writes fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Faults;
use crate::backplane::{Backplane, Bucket, Entry, Guard, Registry, RegistryError, Revision, SubscribeError, Watch};

/// One registry of the backplane within.
pub(super) struct FaultyRegistry {
    bucket: Bucket,
    inner: Arc<dyn Backplane>,
    faults: Arc<Faults>,
}

impl FaultyRegistry {
    pub(super) fn new(bucket: Bucket, inner: Arc<dyn Backplane>, faults: Arc<Faults>) -> Self {
        Self { bucket, inner, faults }
    }

    fn inner(&self) -> &dyn Registry {
        self.inner.registry(self.bucket)
    }

    async fn may_write(&self, key: &str) -> Result<(), RegistryError> {
        // The sender lives as long as the faults.
        let _ = self.faults.writes_held.subscribe().wait_for(|held| !held).await;
        match self.faults.refused_key.lock().as_deref() == Some(key) {
            true => Err(RegistryError::Refused("on purpose".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Registry for FaultyRegistry {
    async fn get(&self, key: &str) -> Result<Option<Entry>, RegistryError> {
        self.inner().get(key).await
    }

    async fn list(&self) -> Result<Vec<Entry>, RegistryError> {
        if takes_one(&self.faults.lists_failing) {
            Err(RegistryError::Unavailable("on purpose".to_owned()))
        } else {
            let entries = self.inner().list().await;
            // The sender lives as long as the faults.
            let _ = self.faults.lists_held.subscribe().wait_for(|held| !held).await;
            entries
        }
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        guard: Guard,
        ttl: Option<Duration>,
    ) -> Result<Revision, RegistryError> {
        self.may_write(key).await?;
        self.inner().put(key, value, guard, ttl).await
    }

    async fn delete(&self, key: &str, guard: Guard) -> Result<Revision, RegistryError> {
        self.may_write(key).await?;
        self.inner().delete(key, guard).await
    }

    async fn watch(&self) -> Result<Watch, SubscribeError> {
        if takes_one(&self.faults.watches_failing) {
            return Err(SubscribeError::Unavailable("on purpose".to_owned()));
        }
        self.inner().watch().await
    }
}

/// Whether there was one left.
fn takes_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
