//! Idempotency keys used lately, with the result of their first use.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::{Channel, Position};

/// How long a key is remembered.
const WINDOW: Duration = Duration::from_secs(300);
/// How many are remembered; beyond it the oldest go early.
const LIMIT: usize = 100_000;

type Key = (Channel, String);

/// Results by key.
#[derive(Default)]
pub(in crate::backplane) struct Recent {
    results: HashMap<Key, Option<Position>>,
    order: VecDeque<(Instant, Key)>,
}

impl Recent {
    /// The position that the key's first use got.
    pub(in crate::backplane) fn get(&mut self, key: &Key) -> Option<Option<Position>> {
        self.expire();
        self.results.get(key).cloned()
    }

    pub(in crate::backplane) fn insert(&mut self, key: Key, position: Option<Position>) {
        if self.results.contains_key(&key) {
            // Whoever was first: an entry of its own would forget the other's too early.
            return;
        }
        if self.order.len() >= LIMIT {
            self.forget_oldest();
        }
        self.order.push_back((Instant::now(), key.clone()));
        self.results.insert(key, position);
    }

    pub(in crate::backplane) fn expire(&mut self) {
        while self.order.front().is_some_and(|(used, _)| used.elapsed() > WINDOW) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.results.remove(&key);
        }
    }
}
