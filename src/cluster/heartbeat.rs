//! Heartbeats: over core NATS, since liveness must not depend on a stream that is electing its leader.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::entry::State;
use super::load::Load;
use super::view::Heard;
use super::{Life, Shared};
use crate::telemetry::{Heartbeat, Topic};

/// Where heartbeats are heard.
pub(super) const PATTERN: &str = "hb.*";

/// One heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Beat {
    pub(super) name: String,
    pub(super) process: String,
    pub(super) incarnation: u64,
    pub(super) state: State,
    /// It takes clients. Nodes that do not tell yet are held to.
    #[serde(default = "assumed_ready")]
    pub(super) ready: bool,
    #[serde(default)]
    pub(super) load: Load,
}

const fn assumed_ready() -> bool {
    true
}

impl Shared {
    /// Sends heartbeats until the end. Awaits nothing but the sending: what hangs elsewhere must not make this node dead.
    pub(super) async fn beat(self: Arc<Self>) {
        let mut ticks = interval(self.timing.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.wake.beat.notified() => {}
            }
            self.beat_once().await;
        }
    }

    pub(super) async fn beat_once(&self) {
        let Life { incarnation, state, ready, .. } = *self.life.lock();
        let beat = Beat {
            name: self.name.clone(),
            process: self.process.clone(),
            incarnation,
            state,
            ready,
            load: self.meter.load(),
        };
        let Ok(message) = serde_json::to_vec(&beat) else { return };
        let told = self.backplane.broadcast().tell(&format!("hb.{}", self.name), message.into()).await;
        let result = if told.is_ok() { Heartbeat::Sent } else { Heartbeat::Unsent };
        self.telemetry.cluster.heartbeats.of(result).increment(1);
        if let Err(error) = told {
            debug!(%error, "no heartbeat sent");
        }
    }

    /// Hears heartbeats until nobody brings them any more.
    pub(super) async fn hear(self: Arc<Self>, mut beats: mpsc::Receiver<Bytes>) {
        while let Some(message) = beats.recv().await {
            match serde_json::from_slice::<Beat>(&message) {
                Ok(beat) => self.heard(&beat),
                Err(_) => self.telemetry.cluster.not_understood(Topic::Heartbeat),
            }
        }
    }

    fn heard(&self, beat: &Beat) {
        let now = Instant::now();
        if beat.name == self.name {
            self.heard_own_name(beat, now);
        }
        let heard = self.view.lock().heard(beat, now);
        match heard {
            Heard::Known { silence, agrees, turned } => {
                let heartbeats = &self.telemetry.cluster.heartbeats;
                heartbeats.of(Heartbeat::Heard).increment(1);
                heartbeats.of(Heartbeat::Missed).increment(self.timing.missed_in(silence));
                if !agrees {
                    self.wake.list.notify_one();
                }
                if turned {
                    self.tell_change();
                }
            }
            Heard::Stranger => self.wake.list.notify_one(),
            Heard::Over => {}
        }
    }

    fn heard_own_name(&self, beat: &Beat, now: Instant) {
        if beat.process != self.process {
            if beat.incarnation > self.life.lock().incarnation {
                self.fence(beat.incarnation);
            }
            return;
        }
        let silence = {
            let mut vitals = self.vitals.lock();
            let silence = now.saturating_duration_since(vitals.echo);
            vitals.echo = now;
            silence
        };
        if silence > self.timing.echo() {
            warn!(?silence, "this node heard nobody for a while: everybody gets time to be heard again");
            self.telemetry.cluster.graces.increment(1);
            self.view.lock().forgive(&self.timing, now);
        }
    }
}
