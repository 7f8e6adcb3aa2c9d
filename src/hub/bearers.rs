//! Who on this node holds which token, so that whoever came with one that is revoked is found at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::outbox::Outbox;

/// Spreads the lock: a connect storm meets it.
const SHARDS: usize = 16;

/// A token's id, and a number that tells its bearers apart: several connections may come with one token.
type Key = (u128, u64);

/// Connections by the id of a token that they hold, for the connection or for a subscription.
#[derive(Default)]
pub struct Bearers {
    shards: [Mutex<BTreeMap<Key, Arc<Outbox>>>; SHARDS],
    next: AtomicU64,
}

/// Holding a token; ends on drop.
pub struct Borne {
    bearers: Arc<Bearers>,
    key: Key,
}

impl Bearers {
    /// Notes that the connection holds the token `id`.
    #[must_use]
    pub fn enter(self: &Arc<Self>, id: u128, outbox: &Arc<Outbox>) -> Borne {
        let key = (id, self.next.fetch_add(1, Ordering::Relaxed));
        self.shard(id).lock().insert(key, Arc::clone(outbox));
        Borne { bearers: Arc::clone(self), key }
    }

    /// The connections that hold the token; one that holds it twice is there twice.
    #[must_use]
    pub fn of(&self, id: u128) -> Vec<Arc<Outbox>> {
        self.shard(id).lock().range((id, 0)..=(id, u64::MAX)).map(|(_, outbox)| Arc::clone(outbox)).collect()
    }

    const fn shard(&self, id: u128) -> &Mutex<BTreeMap<Key, Arc<Outbox>>> {
        &self.shards[(id % SHARDS as u128) as usize]
    }
}

impl Borne {
    /// The token's id.
    #[must_use]
    pub const fn id(&self) -> u128 {
        self.key.0
    }
}

impl Drop for Borne {
    fn drop(&mut self) {
        self.bearers.shard(self.key.0).lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::centrifuge::Encoding;

    #[test]
    fn a_token_s_bearers_are_found_as_long_as_they_hold_it() {
        let bearers = Arc::new(Bearers::default());
        let outbox = || Outbox::new(Encoding::Json, 1024, Arc::default());
        let (ann, bob) = (outbox(), outbox());
        let first = bearers.enter(7, &ann);
        let second = bearers.enter(7, &bob);
        let _other = bearers.enter(7 + SHARDS as u128, &bob);
        assert_eq!(bearers.of(7).len(), 2);
        drop(first);
        assert!(Arc::ptr_eq(&bearers.of(7)[0], &bob));
        drop(second);
        assert!(bearers.of(7).is_empty());
    }
}
