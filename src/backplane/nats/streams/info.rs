//! A stream as its leader describes it.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::backplane::nats::headers::nanoseconds;

/// A stream as its leader describes it.
#[derive(Debug, Deserialize)]
pub struct Info {
    #[serde(default)]
    pub(super) config: Map<String, Value>,
    /// When it was created: with its name, what tells it from a stream that took its place.
    pub created: String,
    pub state: State,
    #[serde(default)]
    pub cluster: Copies,
    /// When it was described, by the leader's clock.
    #[serde(default)]
    ts: String,
}

/// The copies of a stream beside the leader's.
#[derive(Debug, Default, Deserialize)]
pub struct Copies {
    #[serde(default)]
    pub replicas: Vec<CopyOfStream>,
}

#[derive(Debug, Deserialize)]
pub struct CopyOfStream {
    name: String,
    #[serde(default)]
    current: bool,
    #[serde(default)]
    offline: bool,
}

impl Copies {
    /// The servers of those that are behind or away.
    pub fn lagging(&self) -> Vec<String> {
        let lagging = self.replicas.iter().filter(|copy| copy.offline || !copy.current);
        lagging.map(|copy| copy.name.clone()).collect()
    }
}

impl Info {
    /// When it was described, by the leader's clock: nanoseconds since the Unix epoch.
    pub fn described_at(&self) -> Option<i64> {
        nanoseconds(&self.ts)
    }

    /// Whether messages may have to go for want of room.
    pub fn is_cramped(&self) -> bool {
        self.limit("max_bytes") > 0 || self.limit("max_msgs") > 0
    }

    /// Messages that it keeps of one subject.
    pub fn depth(&self) -> usize {
        match self.limit("max_msgs_per_subject") {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        }
    }

    /// A limit of the stream, 0 for none.
    pub fn limit(&self, field: &str) -> u64 {
        self.config.get(field).and_then(Value::as_u64).unwrap_or(0)
    }
}

/// What a stream holds.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct State {
    pub messages: u64,
    #[serde(default)]
    pub bytes: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    #[serde(default)]
    pub last_ts: String,
}
