//! What all nodes share of this: values in one registry, each read anew where a change of it may have been missed.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::Operate;
use crate::backplane::{Bucket, Change, Guard, Registry, RegistryError, Revision, SubscribeError, Watch};

/// Before a value is read again.
const PAUSE: Duration = Duration::from_millis(500);
/// Within this every node is told of a registry that was lost. A value that was missing for longer was taken away.
const DOUBT: Duration = Duration::from_secs(60);

/// The value that stands, as far as this node knows.
#[derive(Default)]
struct Known {
    value: Option<Bytes>,
    /// Since when a read finds nothing: somebody took it away unheard, or the registry was lost.
    missing_since: Option<Instant>,
}

impl Known {
    /// A change was told.
    fn tell(&mut self, value: Option<&[u8]>) {
        *self = Self { value: value.map(Bytes::copy_from_slice), missing_since: None };
    }

    fn find(&mut self, value: Option<&[u8]>) {
        match value {
            Some(_) => self.tell(value),
            None => _ = self.missing_since.get_or_insert_with(Instant::now),
        }
    }

    /// What stood in a registry that was lost.
    fn stood(&self) -> Option<Bytes> {
        let taken_away = self.missing_since.is_some_and(|since| since.elapsed() >= DOUBT);
        self.value.clone().filter(|_| !taken_away)
    }
}

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
        let known = Mutex::new(Known::default());
        let find = |value: Option<&[u8]>| {
            known.lock().find(value);
            take(value);
        };
        let mut newest = self.read(key, &find).await;
        while let Some(change) = watch.next().await {
            match change {
                Change::Entry { key: other, .. } if other != key => {}
                Change::Entry { value, revision, .. } if revision >= newest => {
                    newest = revision;
                    known.lock().tell(value.as_deref());
                    take(value.as_deref());
                }
                // Late word, or revisions that begin anew where the registry was lost.
                Change::Missed | Change::Entry { .. } => newest = self.read(key, &find).await,
                Change::Lost => {
                    let value = known.lock().stood();
                    self.write_again(key, value).await;
                    newest = self.read(key, &find).await;
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

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wish_that_was_withdrawn_unheard_came_back_where_its_registry_was_lost_later() {
        let mut known = Known::default();
        known.tell(Some(b"ten nodes"));
        known.find(None);
        advance(DOUBT / 2).await;
        known.find(None);
        assert_eq!(known.stood().as_deref(), Some(&b"ten nodes"[..]), "the loss may have been read before it is told");
        advance(DOUBT / 2).await;
        assert_eq!(known.stood(), None, "somebody took it away");
        known.find(Some(b"two nodes"));
        assert_eq!(known.stood().as_deref(), Some(&b"two nodes"[..]));
        known.tell(None);
        assert_eq!(known.stood(), None);
    }
}
