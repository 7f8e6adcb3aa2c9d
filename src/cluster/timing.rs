//! How long things may take.

use std::time::Duration;

use crate::settings;

/// The shortest fresh timeout after a loss of contact: everybody needs a moment to reconnect.
const GRACE: Duration = Duration::from_secs(5);
/// The longest time between two writes of a node's own entry.
const MIRROR: Duration = Duration::from_secs(10);
/// Of the time between two heartbeats, after how many without one's own coming back a node does not hear.
const ECHO: f64 = 2.5;

/// Derived from the settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Between two heartbeats.
    pub(super) interval: Duration,
    /// Within this after its last sign of life a dead node is noticed.
    pub(super) timeout: Duration,
    /// Between two writes of the own entry: often enough for two of them within the timeout.
    pub(super) mirror: Duration,
    /// How long everybody has after a loss of contact.
    pub(super) grace: Duration,
    /// How long a reaper may take before another does it.
    pub(super) reaping: Duration,
    /// Between two searches for lives that left something behind and that nobody answers for. A life has as long to be
    /// answered for: a registry that was lost is written anew within that.
    pub(super) orphans: Duration,
}

impl Timing {
    pub(super) fn new(options: &settings::Cluster) -> Self {
        let (interval, timeout) = (options.heartbeat_interval, options.failure_detection_timeout);
        Self {
            interval,
            timeout,
            mirror: MIRROR.min(timeout.mul_f64(0.4)),
            grace: timeout.max(GRACE),
            reaping: (timeout * 3).max(Duration::from_secs(30)),
            orphans: timeout * 6,
        }
    }

    /// The silence after which a peer is dead: half an interval short of the timeout, so that the verdict is known when it
    /// ends.
    pub(super) fn patience(&self) -> Duration {
        self.timeout - self.interval / 2
    }

    /// Heartbeats that did not come in this silence, before the one that ended it.
    pub(super) fn missed_in(&self, silence: Duration) -> u64 {
        let intervals = (silence.as_secs_f64() / self.interval.as_secs_f64() - 0.5).max(0.0);
        intervals as u64
    }

    /// How often silence is looked at.
    pub(super) fn tick(&self) -> Duration {
        self.interval / 4
    }

    /// How long this node's own heartbeat may not have come back.
    pub(super) fn echo(&self) -> Duration {
        self.interval.mul_f64(ECHO)
    }
}
