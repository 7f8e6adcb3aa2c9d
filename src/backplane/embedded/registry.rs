//! A registry in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::backplane::registry::{Watchers, check_key};
use crate::backplane::{Change, Entry, Guard, Registry, RegistryError, Revision, SubscribeError, Watch};

/// One bucket. Values with an end go when it has come, by a task of their own: there are few.
#[derive(Default)]
pub(super) struct Shelf(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    watchers: Watchers,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, (Bytes, Revision)>,
    last: u64,
}

impl Shared {
    /// Writes and tells under one lock: changes are told in the order of their revisions.
    fn write(&self, key: &str, value: Option<Bytes>, guard: Guard) -> Result<Revision, RegistryError> {
        check_key(key)?;
        let mut state = self.state.lock();
        let present = state.values.get(key).map(|(_, revision)| *revision);
        let holds = match guard {
            Guard::Any => true,
            Guard::Absent => present.is_none(),
            Guard::Revision(expected) => present == Some(expected),
        };
        if !holds {
            return Err(RegistryError::Conflict(key.to_owned()));
        }
        state.last += 1;
        let revision = Revision(state.last);
        match value.clone() {
            Some(value) => state.values.insert(key.to_owned(), (value, revision)),
            None => state.values.remove(key),
        };
        self.watchers.tell(&Change::Entry { key: key.to_owned(), value, revision });
        Ok(revision)
    }
}

#[async_trait]
impl Registry for Shelf {
    async fn get(&self, key: &str) -> Result<Option<Entry>, RegistryError> {
        let state = self.0.state.lock();
        let value = state.values.get(key).cloned();
        Ok(value.map(|(value, revision)| Entry { key: key.to_owned(), value, revision }))
    }

    async fn list(&self) -> Result<Vec<Entry>, RegistryError> {
        let state = self.0.state.lock();
        let entries = state.values.iter();
        Ok(entries
            .map(|(key, (value, revision))| Entry { key: key.clone(), value: value.clone(), revision: *revision })
            .collect())
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        guard: Guard,
        ttl: Option<Duration>,
    ) -> Result<Revision, RegistryError> {
        let revision = self.0.write(key, Some(value), guard)?;
        if let Some(ttl) = ttl {
            let (shelf, key, end) = (Arc::downgrade(&self.0), key.to_owned(), Instant::now() + ttl);
            tokio::spawn(async move {
                sleep_until(end).await;
                if let Some(shelf) = shelf.upgrade() {
                    // It may have been written again.
                    let _ = shelf.write(&key, None, Guard::Revision(revision));
                }
            });
        }
        Ok(revision)
    }

    async fn delete(&self, key: &str, guard: Guard) -> Result<Revision, RegistryError> {
        self.0.write(key, None, guard)
    }

    async fn watch(&self) -> Result<Watch, SubscribeError> {
        Ok(self.0.watchers.open())
    }
}
