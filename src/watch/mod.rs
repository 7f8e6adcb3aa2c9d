//! What operators watch live: a channel or a user, wherever in the cluster something happens to it.
//!
//! A node whose operator watches tells all nodes what is [wanted](leases), again and again while that lasts. Sessions, and
//! sockets of Socket.IO, note what happens to a wanted channel or user as [sightings](sighting); one task tells these to all
//! nodes, and whoever has a [watcher] for them passes them on. While nobody watches a session looks at one flag, and nothing
//! is told. A channel's publications need no word: a [watcher's stream](live) joins its audience as any listener does.
//!
//! Everything here is bounded, and for people: what finds no room is left out and counted, and the watcher is told.

mod leases;
mod live;
mod pipe;
mod sighting;
#[cfg(test)]
mod tests;
mod watcher;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use live::{Live, Refused};
pub use sighting::{Sighting, Subject, What};

use leases::Leases;
use watcher::Watchers;

use crate::backplane::Backplane;
use crate::clock::unix_millis;
use crate::relay::Relay;
use crate::settings::Channels;
use crate::telemetry::{Overflow, Telemetry, Topic};

/// The topic on which nodes tell what is wanted, and what they have seen.
pub const WATCH: &str = "watch";
/// Sightings that wait to be told.
const WAITING: usize = 1024;
/// Sightings told at once.
const BATCH: usize = 64;
/// How often leases that are over are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// What nodes tell each other.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Word {
    #[serde(skip_serializing_if = "Option::is_none")]
    want: Option<Subject>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seen: Vec<Sighting>,
    /// Sightings for which there was no room.
    missed: u64,
}

/// What is watched, and by whom.
pub struct Lookout {
    node: String,
    backplane: Arc<dyn Backplane>,
    relay: Arc<Relay>,
    channels: Channels,
    leases: Leases,
    watchers: Watchers,
    waiting: mpsc::Sender<Sighting>,
    missed: AtomicU64,
    stopping: CancellationToken,
    telemetry: Arc<Telemetry>,
}

impl Lookout {
    /// With what it sees; that is for [`run`](Self::run).
    #[must_use]
    pub fn new(
        node: String,
        backplane: Arc<dyn Backplane>,
        relay: Arc<Relay>,
        channels: Channels,
        telemetry: Arc<Telemetry>,
    ) -> (Arc<Self>, mpsc::Receiver<Sighting>) {
        let (waiting, seen) = mpsc::channel(WAITING);
        let watch = Self {
            node,
            backplane,
            relay,
            channels,
            leases: Leases::default(),
            watchers: Watchers::default(),
            waiting,
            missed: AtomicU64::new(0),
            stopping: CancellationToken::new(),
            telemetry,
        };
        (Arc::new(watch), seen)
    }

    /// Whether anybody watches anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.leases.any()
    }

    /// Notes what happened to a client of `user`, if somebody watches that. Never waits.
    pub fn saw(&self, user: &str, client: Uuid, what: What) {
        let sighting = Sighting { at: unix_millis(), node: self.node.clone(), user: user.to_owned(), client, what };
        if self.leases.want(&sighting) && self.waiting.try_send(sighting).is_err() {
            self.miss(1);
        }
    }

    /// Ends what is being watched here: the node stops.
    pub fn end(&self) {
        self.stopping.cancel();
    }

    /// Tells what was seen, and takes in what others tell, until they do no longer.
    pub async fn run(self: Arc<Self>, mut heard: mpsc::Receiver<Bytes>, mut seen: mpsc::Receiver<Sighting>) {
        let mut sweep = interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                word = heard.recv() => match word {
                    Some(word) => self.hear(&word),
                    None => return,
                },
                Some(first) = seen.recv() => {
                    let mut batch = vec![first];
                    while batch.len() < BATCH && let Ok(next) = seen.try_recv() {
                        batch.push(next);
                    }
                    self.tell_seen(batch).await;
                }
                _ = sweep.tick() => self.leases.sweep(),
            }
        }
    }

    fn hear(&self, word: &[u8]) {
        let Ok(Word { want, seen, missed }) = serde_json::from_slice(word) else {
            self.telemetry.cluster.not_understood(Topic::Watch);
            return;
        };
        if let Some(subject) = want {
            self.leases.grant(subject);
        }
        self.watchers.pass_on(&seen, missed);
    }

    async fn tell_seen(&self, seen: Vec<Sighting>) {
        let count = seen.len() as u64;
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if !self.tell(&Word { want: None, seen, missed }).await {
            self.missed.fetch_add(missed, Ordering::Relaxed);
            self.miss(count);
        }
    }

    /// Says what a watcher of this node wants.
    async fn ask_for(&self, subject: &Subject) {
        // Said again soon.
        let _ = self.tell(&Word { want: Some(subject.clone()), ..Word::default() }).await;
    }

    async fn tell(&self, word: &Word) -> bool {
        let word = serde_json::to_vec(word).expect("a word has only fields that JSON knows");
        self.backplane.broadcast().tell(WATCH, word.into()).await.is_ok()
    }

    fn miss(&self, sightings: u64) {
        self.missed.fetch_add(sightings, Ordering::Relaxed);
        self.telemetry.queues.overflows.of(Overflow::Watch).increment(sightings);
    }
}
