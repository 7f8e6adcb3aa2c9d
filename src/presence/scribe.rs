//! Brings the records in line with the roster.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::Presence;
use super::roster::Key;
use crate::backplane::{Occupant, Word};
use crate::telemetry::Pace;

/// Records that await their acknowledgement at one time.
const IN_FLIGHT: usize = 256;
/// How long nothing is written after a failure, at first and at most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Writes what the roster wants written, for ever.
pub(super) async fn run(presence: Arc<Presence>) {
    let mut writes = FuturesUnordered::new();
    let mut lives = presence.life.clone();
    let mut life = Arc::clone(&lives.borrow_and_update());
    let mut pause = Pause::default();
    loop {
        let paused = !pause.is_over();
        while !paused
            && writes.len() < IN_FLIGHT
            && let Some((key, word)) = presence.roster.take()
        {
            writes.push(write(&presence, Arc::clone(&life), key, word));
        }
        tokio::select! {
            Some((key, written)) = writes.next(), if !writes.is_empty() => {
                presence.roster.written(key, written);
                pause.note(written.is_some());
                presence.telemetry.presence.owed.set(presence.roster.owed() as f64);
            }
            () = presence.roster.wake(), if !paused && writes.len() < IN_FLIGHT => {}
            () = sleep_until(pause.until), if paused => {}
            Ok(()) = lives.changed() => {
                // Nothing of the life that is over may be written once it is said that none is.
                while let Some((key, written)) = writes.next().await {
                    presence.roster.written(key, written);
                }
                life = Arc::clone(&lives.borrow_and_update());
                presence.writes_under.send_replace(Arc::clone(&life));
                presence.roster.rewrite_all();
            }
        }
    }
}

async fn write(presence: &Presence, life: Arc<str>, key: Key, word: Word) -> (Key, Option<u64>) {
    let occupant = Occupant { node: life, channel: key.0.clone(), client: key.1 };
    let outcome = match presence.records() {
        Ok(records) => records.record(&occupant, word).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &outcome {
        debug!(channel = %key.0, client = %key.1, %error, "not recorded yet");
    }
    (key, outcome.ok())
}

/// After a failure the backplane is left in peace for a while.
struct Pause {
    until: Instant,
    length: Duration,
    said: Pace,
}

impl Default for Pause {
    fn default() -> Self {
        Self { until: Instant::now(), length: PAUSE, said: Pace::default() }
    }
}

impl Pause {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn note(&mut self, written: bool) {
        if written {
            self.length = PAUSE;
            if let Some(after) = self.said.over() {
                tracing::info!(?after, "presence is recorded again");
            }
            return;
        }
        // Those that were under way together fail together, and make one pause.
        if self.is_over() {
            self.until = Instant::now() + self.length;
            self.length = (self.length * 2).min(LONGEST_PAUSE);
        }
        if self.said.due().is_some() {
            warn!("presence cannot be recorded; what happens meanwhile is recorded later");
        }
    }
}
