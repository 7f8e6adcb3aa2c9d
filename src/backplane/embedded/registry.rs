//! A registry in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::backplane::registry::{Watchers, check_key};
use crate::backplane::{Change, Entry, Guard, Registry, RegistryError, Revision, SubscribeError, Watch};

/// One bucket. Values with an end go when it has come: whoever looks finds them gone, and watchers hear of it with the next
/// [`expire`](Self::expire).
#[derive(Default)]
pub(super) struct Shelf {
    state: Mutex<State>,
    watchers: Watchers,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, Value>,
    /// The keys of values with an end, in that order.
    ends: BTreeMap<(Instant, Revision), String>,
    last: u64,
}

struct Value {
    data: Bytes,
    revision: Revision,
    end: Option<Instant>,
}

impl Shelf {
    /// Lets go of what has come to its end, and tells.
    pub(super) fn expire(&self) {
        drop(self.current());
    }

    /// What there is now.
    fn current(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        let now = Instant::now();
        while let Some(ended) = state.ends.first_entry().filter(|first| first.key().0 <= now) {
            let key = ended.remove();
            self.set(&mut state, &key, None, None);
        }
        state
    }

    /// Writes and tells under one lock: changes are told in the order of their revisions.
    fn write(
        &self,
        key: &str,
        data: Option<Bytes>,
        guard: Guard,
        ttl: Option<Duration>,
    ) -> Result<Revision, RegistryError> {
        check_key(key)?;
        let mut state = self.current();
        let present = state.values.get(key).map(|value| value.revision);
        let holds = match guard {
            Guard::Any => true,
            Guard::Absent => present.is_none(),
            Guard::Revision(expected) => present == Some(expected),
        };
        if !holds {
            return Err(RegistryError::Conflict(key.to_owned()));
        }
        Ok(self.set(&mut state, key, data, ttl.map(|ttl| Instant::now() + ttl)))
    }

    fn set(&self, state: &mut State, key: &str, data: Option<Bytes>, end: Option<Instant>) -> Revision {
        state.last += 1;
        let revision = Revision(state.last);
        let before = match data.clone() {
            Some(data) => state.values.insert(key.to_owned(), Value { data, revision, end }),
            None => state.values.remove(key),
        };
        if let Some(Value { end: Some(end), revision, .. }) = before {
            state.ends.remove(&(end, revision));
        }
        if let Some(end) = end {
            state.ends.insert((end, revision), key.to_owned());
        }
        self.watchers.tell(&Change::Entry { key: key.to_owned(), value: data, revision });
        revision
    }
}

impl Value {
    fn entry(&self, key: &str) -> Entry {
        Entry { key: key.to_owned(), value: self.data.clone(), revision: self.revision }
    }
}

#[async_trait]
impl Registry for Shelf {
    async fn get(&self, key: &str) -> Result<Option<Entry>, RegistryError> {
        Ok(self.current().values.get(key).map(|value| value.entry(key)))
    }

    async fn list(&self) -> Result<Vec<Entry>, RegistryError> {
        Ok(self.current().values.iter().map(|(key, value)| value.entry(key)).collect())
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        guard: Guard,
        ttl: Option<Duration>,
    ) -> Result<Revision, RegistryError> {
        self.write(key, Some(value), guard, ttl)
    }

    async fn delete(&self, key: &str, guard: Guard) -> Result<Revision, RegistryError> {
        self.write(key, None, guard, None)
    }

    async fn watch(&self) -> Result<Watch, SubscribeError> {
        Ok(self.watchers.open())
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;

    const TTL: Option<Duration> = Some(Duration::from_secs(120));

    #[tokio::test(start_paused = true)]
    async fn each_value_with_an_end_had_a_task_that_slept_until_then() {
        let shelf = Shelf::default();
        let tasks = Handle::current().metrics().num_alive_tasks();
        for number in 0..100 {
            shelf.put(&format!("session.{number}"), "ended".into(), Guard::Any, TTL).await.unwrap();
        }
        assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks);
        let renewed = shelf.put("session.7", "anew".into(), Guard::Any, None).await.unwrap();
        let mut watch = shelf.watch().await.unwrap();
        tokio::time::advance(TTL.unwrap()).await;
        shelf.expire();
        let told = watch.next().await.unwrap();
        assert_eq!(told, Change::Entry { key: "session.0".to_owned(), value: None, revision: Revision(renewed.0 + 1) });
        let left = shelf.list().await.unwrap();
        assert_eq!(left.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["session.7"]);
        assert!(shelf.state.lock().ends.is_empty(), "what was written again has no end any more");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_looks_finds_gone_what_has_ended() {
        let shelf = Shelf::default();
        for key in ["read", "listed", "taken"] {
            shelf.put(key, "mine".into(), Guard::Absent, TTL).await.unwrap();
        }
        tokio::time::advance(TTL.unwrap() - Duration::from_secs(1)).await;
        assert!(shelf.get("read").await.unwrap().is_some());
        assert!(shelf.put("taken", "yours".into(), Guard::Absent, None).await.is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(shelf.put("taken", "yours".into(), Guard::Absent, None).await.is_ok());
        assert!(shelf.get("read").await.unwrap().is_none());
        assert_eq!(shelf.list().await.unwrap().len(), 1);
    }
}
