//! Brings the records in line with the roster.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::Presence;
use super::roster::Key;
use crate::backplane::{Occupant, PresenceError, Word};
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
            Some((key, outcome)) = writes.next(), if !writes.is_empty() => {
                take_in(&presence, key, outcome).into_iter().for_each(|written| pause.note(written));
                presence.telemetry.presence.owed.set(presence.roster.owed() as f64);
            }
            () = presence.roster.wake(), if !paused && writes.len() < IN_FLIGHT => {}
            () = sleep_until(pause.until), if paused => {}
            Ok(()) = lives.changed() => {
                // Nothing of the life that is over may be written once it is said that none is.
                while let Some((key, outcome)) = writes.next().await {
                    take_in(&presence, key, outcome);
                }
                life = Arc::clone(&lives.borrow_and_update());
                presence.writes_under.send_replace(Arc::clone(&life));
                presence.roster.rewrite_all();
            }
        }
    }
}

async fn write(presence: &Presence, life: Arc<str>, key: Key, word: Word) -> (Key, Result<u64, PresenceError>) {
    let occupant = Occupant { node: life, channel: key.0.clone(), client: key.1 };
    let outcome = match presence.records() {
        Ok(records) => records.record(&occupant, word).await,
        Err(error) => Err(error),
    };
    (key, outcome)
}

/// Notes what became of a record; whether records are written now, where that shows it. One that is refused for good does
/// not: the others go on.
fn take_in(presence: &Presence, key: Key, outcome: Result<u64, PresenceError>) -> Option<bool> {
    match outcome {
        Ok(revision) => {
            presence.roster.written(key, Some(revision));
            Some(true)
        }
        Err(PresenceError::Refused(why)) => {
            presence.note_refused(&key.0, key.1, &why);
            presence.roster.refused(key);
            None
        }
        Err(error @ PresenceError::Unavailable(_)) => {
            debug!(channel = %key.0, client = %key.1, %error, "not recorded yet");
            presence.roster.written(key, None);
            Some(false)
        }
    }
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
