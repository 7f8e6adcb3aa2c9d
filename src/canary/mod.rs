//! The delivery canary: each node publishes a word now and then, through the store and back to itself, and hears those of
//! the others.
//!
//! Sockets that are open while nothing is delivered look healthy to everything else. A word that the store acknowledged
//! and that does not come back takes the node out of service, as one does that the store refuses for good; one that it does
//! not acknowledge is only counted: publishers are told of that, and an election of NATS must not close every node at once.
//! The word goes the way of every stored publication as far as the relay's pump; it is in no chain, so what is lost on the
//! way is not healed before anybody sees it. A pump that hangs, this word's or another, fills its bounded feed, and behind a
//! full feed nothing is delivered to any; one that ends is noticed as every task is.

mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use self::state::{Heard, State};
use crate::backplane::{Backplane, Health, Incoming, Outgoing, PublishError};
use crate::clock::unix_time;
use crate::cluster::{self, Cluster};
use crate::lifecycle::Readiness;
use crate::protocol::Channel;
use crate::settings::{Canary as Options, HistoryOptions, Namespace};
use crate::telemetry::{CanaryFailure, Pace, Telemetry};

/// The namespace of the words. Nobody may subscribe to it, and no other may have its name.
pub const NAMESPACE: &str = crate::settings::CANARY_NAMESPACE;

/// What stands in the way of being ready while words do not come back.
const OBSTACLE: &str = "canary";
/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_secs(1);
/// How long the store keeps words: nobody reads them.
const KEPT: Duration = Duration::from_secs(60);
/// What a word may take to be acknowledged before the next one is tried.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);

/// One word.
#[derive(Serialize, Deserialize)]
struct Word<'a> {
    process: &'a str,
    number: u64,
    /// Known to nobody before the word is spoken. Of other nodes' it proves nothing, and those of older versions have none.
    #[serde(default)]
    nonce: Uuid,
}

/// This node's canary.
pub struct Canary {
    backplane: Arc<dyn Backplane>,
    cluster: Cluster,
    readiness: Arc<Readiness>,
    options: Options,
    channel: Channel,
    state: Mutex<State>,
    /// Of lines about nodes that are not heard.
    complaints: Pace,
    /// Of lines about words that this node never spoke.
    forgeries: Pace,
    telemetry: Arc<Telemetry>,
}

/// The namespace that the backplane must know for it.
#[must_use]
pub fn namespace() -> Namespace {
    Namespace::closed(NAMESPACE, HistoryOptions { size: 1, ttl: KEPT, horizon: KEPT })
}

impl Canary {
    #[must_use]
    pub fn new(
        backplane: Arc<dyn Backplane>,
        cluster: Cluster,
        readiness: Arc<Readiness>,
        options: Options,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        let channel = Channel::parse(&format!("{NAMESPACE}:word"), usize::MAX).expect("a channel's name");
        let (complaints, forgeries) = (Pace::default(), Pace::default());
        let state = Mutex::default();
        Arc::new(Self { backplane, cluster, readiness, options, channel, state, complaints, forgeries, telemetry })
    }

    /// Takes a word that came; what is none is left alone. Never blocks.
    pub fn hear(&self, message: &Incoming) {
        if message.channel != self.channel {
            return;
        }
        let Ok(word) = serde_json::from_slice::<Word<'_>>(&message.data) else {
            debug!("a word of a canary that this node does not understand");
            return;
        };
        let now = Instant::now();
        if word.process != self.cluster.process() {
            return self.state.lock().heard_peer(word.process, now);
        }
        let heard = self.state.lock().heard(word.number, word.nonce, now);
        match heard {
            Heard::Back(took) => {
                self.telemetry.node.canary_duration.record(took);
                self.telemetry.node.canary_last_success.set(unix_time().as_secs_f64());
            }
            Heard::Again => {}
            Heard::NeverSpoken => {
                self.count(CanaryFailure::Forged);
                if let Some(left_out) = self.forgeries.due() {
                    warn!(left_out, "somebody speaks in the name of this node's canary: not believed");
                }
            }
        }
    }

    /// Speaks and listens, for ever.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.speak(), self.watch());
    }

    async fn speak(&self) {
        let mut ticks = interval(self.options.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut subscribed = false;
        for number in 1.. {
            ticks.tick().await;
            if !subscribed {
                match self.backplane.subscribe(&self.channel).await {
                    Ok(()) => subscribed = true,
                    Err(error) => {
                        debug!(%error, "the canary does not listen yet");
                        continue;
                    }
                }
            }
            let nonce = Uuid::new_v4();
            let word = Word { process: self.cluster.process(), number, nonce };
            let data = serde_json::to_vec(&word).expect("a word has only fields that JSON knows").into();
            self.state.lock().speaks(number, nonce, Instant::now());
            let spoken = self.backplane.publish(&self.channel, Outgoing { data, ..Outgoing::default() });
            match timeout(ACKNOWLEDGED_WITHIN, spoken).await {
                Ok(Ok(_)) => self.state.lock().acknowledged(number, Instant::now()),
                Ok(Err(error)) => {
                    if matches!(error, PublishError::Refused(_) | PublishError::TooLarge { .. }) {
                        self.state.lock().refused(Instant::now());
                    }
                    debug!(%error, "a word of the canary is not acknowledged");
                    self.count(CanaryFailure::Unpublished);
                }
                Err(_) => self.count(CanaryFailure::Unpublished),
            }
        }
    }

    async fn watch(&self) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let now = Instant::now();
            if *self.backplane.health().borrow() != Health::Ready {
                // That stands in the way by itself, and explains every silence.
                self.state.lock().forgive(now);
                continue;
            }
            let waits = self.state.lock().waits(now);
            // Once it fails only a word that comes back ends it.
            let fails = waits.is_some_and(|waits| failing || waits >= self.options.fail_after);
            if fails {
                self.count(CanaryFailure::Undelivered);
                let waits = waits.unwrap_or_default().as_secs();
                self.readiness.hold(OBSTACLE, format!("what is published has not been delivered for {waits} s"));
            } else if self.state.lock().is_refused(self.options.fail_after, now) {
                self.readiness.hold(OBSTACLE, "the store refuses what is published".to_owned());
            } else {
                self.readiness.clear(OBSTACLE);
            }
            self.listen_to_peers(now);
            if fails != failing {
                match fails {
                    true => error!("deliveries stopped although the store acknowledges: not serving"),
                    false => info!("deliveries come again"),
                }
            }
            failing = fails;
        }
    }

    /// Counts the nodes that serve and of whom nothing is heard any more although this node hears itself.
    fn listen_to_peers(&self, now: Instant) {
        let hears_itself = self.state.lock().hears_itself(self.options.fail_after, now);
        if !hears_itself {
            self.telemetry.node.canary_silent_peers.set(0.0);
            return;
        }
        let up: Vec<_> = self.cluster.members().into_iter().map(|member| member.entry).collect();
        let up = up.iter().filter(|entry| entry.state == cluster::State::Up && entry.process != self.cluster.process());
        let up: Vec<_> = up.map(|entry| (entry.process.as_str(), entry.name.as_str())).collect();
        let patience = self.options.fail_after + ACKNOWLEDGED_WITHIN * 2;
        let silent = self.state.lock().silent_peers(&up, patience, now);
        self.telemetry.node.canary_silent_peers.set(silent.len() as f64);
        if silent.is_empty() {
            self.complaints.over();
        } else if self.complaints.due().is_some() {
            warn!(nodes = ?silent, "what these nodes publish is not delivered here");
        }
    }

    fn count(&self, failure: CanaryFailure) {
        self.telemetry.node.canary_failures.of(failure).increment(1);
    }
}
