//! A backend that sends users away now and then; they come back.

use std::sync::Arc;
use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Backend;
use crate::journal::{Entry, Journal};

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
                self.send_away(&mut rng, user).await;
            }
            let pause = PACE.mul_f64(rng.random_range(0.5..1.5));
            let _ = timeout(pause, working.changed()).await;
        }
    }

    /// Sends everybody away, once.
    pub async fn send_all_away(&self) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        for user in &self.users {
            self.send_away(&mut rng, user).await;
        }
    }

    /// At most once: where no answer comes it is not ordered again.
    async fn send_away(&self, rng: &mut ChaCha8Rng, user: &str) {
        self.journal.write(Entry::OrderBegan { user: user.to_owned() });
        if self.backend.send_away(rng, user).await {
            self.journal.write(Entry::OrderAcked { user: user.to_owned() });
        }
    }
}
