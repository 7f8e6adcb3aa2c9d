//! How a node that starts waits for a NATS that starts as well.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::settings;

/// How long a starting node waits for a NATS that is starting as well: a cold cluster elects for seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(250);
/// How often it says that it waits.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Tries again while that may help, until the deadline.
pub struct Patience {
    /// For the log.
    pub servers: String,
    deadline: Instant,
}

impl Patience {
    pub fn new(options: &settings::Nats) -> Self {
        Self { servers: options.server_names(), deadline: Instant::now() + PATIENCE }
    }

    /// What `attempt` says at last. A `transient` error is no last word.
    pub async fn with<T, E: Display>(
        &self,
        transient: impl Fn(&E) -> bool,
        mut attempt: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut said = None;
        loop {
            match attempt().await {
                Err(error) if transient(&error) && Instant::now() < self.deadline => {
                    if said.is_none_or(|said: Instant| said.elapsed() >= SAY_EVERY) {
                        said = Some(Instant::now());
                        let left = self.deadline.saturating_duration_since(Instant::now());
                        warn!(servers = self.servers, "NATS is not ready yet, waiting {left:.0?} more: {error}");
                    }
                    sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }
}
