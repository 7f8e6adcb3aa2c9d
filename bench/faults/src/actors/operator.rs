//! A backend that sends users away now and then, or out of a channel; they come back.

use std::sync::Arc;
use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Backend;
use crate::journal::{Entry, Journal, Order};

const PACE: Duration = Duration::from_secs(3);

pub struct Operator {
    pub users: Vec<String>,
    pub backend: Backend,
    pub journal: Arc<Journal>,
    pub seed: u64,
}

impl Operator {
    /// Until it is told to stop.
    pub async fn run(self, mut working: watch::Receiver<bool>) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        while *working.borrow_and_update() {
            if let Some(user) = self.users.choose(&mut rng) {
                let order = if rng.random_ratio(1, 2) { Order::Disconnect } else { Order::Unsubscribe };
                self.order(&mut rng, user, order).await;
            }
            let pause = PACE.mul_f64(rng.random_range(0.5..1.5));
            let _ = timeout(pause, working.changed()).await;
        }
    }

    /// Wants it of everybody, once.
    pub async fn order_all(&self, order: Order) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        for user in &self.users {
            self.order(&mut rng, user, order).await;
        }
    }

    /// At most once: where no answer comes it is not ordered again.
    async fn order(&self, rng: &mut ChaCha8Rng, user: &str, order: Order) {
        self.journal.write(Entry::OrderBegan { user: user.to_owned(), order });
        if self.backend.order(rng, user, order).await {
            self.journal.write(Entry::OrderAcked { user: user.to_owned(), order });
        }
    }
}
