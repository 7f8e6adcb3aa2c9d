//! How much, and how safely, a stream keeps.
//!
//! Nodes of one cluster may want different amounts: in the middle of a deploy, or by mistake. If each made the streams as it
//! wants them they would take turns, and what the lesser removes is gone. So a node raises what a stream keeps to what it
//! wants itself, and leaves alone what is more; it lowers only what it is told to, once, when it starts.

use std::fmt;

use serde_json::{Map, Value};

use crate::telemetry::{Label as _, StreamLimit};

impl StreamLimit {
    /// How a stream's configuration says it.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Replicas => "num_replicas",
            Self::Depth => "max_msgs_per_subject",
            Self::Age => "max_age",
            Self::Bytes => "max_bytes",
            Self::Messages => "max_msgs",
            Self::Ids => "duplicate_window",
        }
    }

    /// The setting that says it.
    const fn key(self) -> &'static str {
        match self {
            Self::Replicas => "nats.replicas",
            // One more is stored than readers get.
            Self::Depth => "history_size + 1",
            Self::Age => "history_meta_ttl",
            Self::Bytes => "nats.max_bytes",
            Self::Messages => "(no setting)",
            Self::Ids => "nats.duplicate_window",
        }
    }

    /// Its value in a configuration; what has no limit is more than anything.
    pub(super) fn of(self, config: &Map<String, Value>) -> u64 {
        let value = config.get(self.field()).and_then(Value::as_u64).unwrap_or(0);
        if value == 0 { u64::MAX } else { value }
    }

    /// A value for people.
    fn shown(self, value: u64) -> String {
        match self {
            _ if value == u64::MAX => "without limit".to_owned(),
            Self::Age | Self::Ids => humantime::format_duration(std::time::Duration::from_nanos(value)).to_string(),
            Self::Replicas | Self::Depth | Self::Bytes | Self::Messages => value.to_string(),
        }
    }
}

/// A limit that is not what this node's settings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deviation {
    pub limit: StreamLimit,
    pub has: u64,
    pub wants: u64,
}

impl Deviation {
    /// Less is kept than is wanted.
    pub const fn is_less(&self) -> bool {
        self.has < self.wants
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, has, wants } = self;
        write!(f, "{} is {}, {} of this node is {}", limit.field(), limit.shown(*has), limit.key(), limit.shown(*wants))
    }
}

/// Where a stream and what a node wants of it differ in how much is kept. (Buckets and records keep one message of each
/// subject: that is what they are, and no limit.)
pub(super) fn deviations(has: &Map<String, Value>, wants: &Map<String, Value>) -> Vec<Deviation> {
    let compared = StreamLimit::ALL.iter().filter(|limit| wants.contains_key(limit.field()));
    let deviations = compared.map(|&limit| Deviation { limit, has: limit.of(has), wants: limit.of(wants) });
    deviations.filter(|it| it.has != it.wants && !(it.limit == StreamLimit::Depth && it.wants == 1)).collect()
}
