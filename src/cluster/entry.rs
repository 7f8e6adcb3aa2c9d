//! What the registry holds of a node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::unix_time;
use crate::telemetry::NodeState;

/// How long nodes that are no more stay visible.
pub(super) const MEMORY: Duration = Duration::from_secs(600);

/// A node, or what is left of it. Its key is its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    /// Which life of this name: higher than that of every earlier one.
    pub incarnation: u64,
    /// Another one for each start of a process.
    pub process: String,
    /// Where others reach it, for people.
    pub address: String,
    pub version: String,
    /// Connections that it takes; `None` is without limit.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// Seconds since the Unix epoch, by its own clock.
    pub joined_at: u64,
    pub state: State,
    /// Lives of this name that ended and whose traces are not removed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub debts: Vec<Debt>,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Up,
    /// It takes no clients any more and lets go of those that it has.
    Draining,
    /// Others declared it dead.
    Failed,
    /// It said goodbye.
    Left,
}

/// A life that ended, and who removes its traces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debt {
    pub incarnation: u64,
    /// The incarnation id of the node that has taken it on; nobody has where there is none.
    #[serde(default)]
    pub reaper: Option<String>,
}

impl Entry {
    /// One life of one node: `<name>~<number>`, a single valid token of a subject.
    #[must_use]
    pub fn id(&self) -> Arc<str> {
        incarnation_id(&self.name, self.incarnation)
    }

    /// Whether it is there.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.state.is_live()
    }

    /// How long the registry keeps it: what is alive, or has left traces, until somebody writes it anew.
    pub(super) fn ttl(&self) -> Option<Duration> {
        (!self.is_live() && self.debts.is_empty()).then_some(MEMORY)
    }

    /// Notes that a life has ended; once.
    pub(super) fn owe(&mut self, incarnation: u64, reaper: Option<&str>) {
        if self.debts.iter().all(|debt| debt.incarnation != incarnation) {
            self.debts.push(Debt { incarnation, reaper: reaper.map(str::to_owned) });
        }
    }

    /// Notes that a life has ended, and that `reaper` removes its traces, whoever was to do it before.
    pub(super) fn take_on(&mut self, incarnation: u64, reaper: &str) {
        self.debts.retain(|debt| debt.incarnation != incarnation);
        self.owe(incarnation, Some(reaper));
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("an entry has only fields that JSON knows").into()
    }

    pub(super) fn from_bytes(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }
}

impl State {
    #[must_use]
    pub const fn is_live(self) -> bool {
        match self {
            Self::Up | Self::Draining => true,
            Self::Failed | Self::Left => false,
        }
    }

    pub(super) const fn label(self) -> NodeState {
        match self {
            Self::Up => NodeState::Up,
            Self::Draining => NodeState::Draining,
            Self::Failed => NodeState::Failed,
            Self::Left => NodeState::Left,
        }
    }
}

pub(super) fn incarnation_id(name: &str, incarnation: u64) -> Arc<str> {
    format!("{name}~{incarnation}").into()
}

/// The number of a life that follows `previous`. It is also a time, so that a number is not used twice when the registry
/// has forgotten a name, or everything; clocks need not agree for that it grows.
pub(super) fn next_incarnation(previous: u64) -> u64 {
    (previous + 1).max(unix_time().as_millis() as u64)
}
