//! What clients of a swarm say when they come.

use serde_json::{Value, json};

/// What a client says once its socket is open.
pub enum Hello {
    /// Connects with a token of its own.
    Connect,
    /// And subscribes, with one of these parameters after the other.
    Subscribe(Vec<Value>),
    /// And subscribes to all that this says for its number in the swarm.
    Own(Box<dyn Fn(usize) -> Vec<Value>>),
}

impl Hello {
    /// All subscribe to one channel.
    pub fn to(channel: &str) -> Self {
        Self::Subscribe(vec![json!({ "channel": channel })])
    }

    /// What the client with this number subscribes to.
    pub fn subscriptions(&self, index: usize) -> Vec<Value> {
        match self {
            Self::Connect => Vec::new(),
            Self::Subscribe(all) => all.get(index % all.len().max(1)).cloned().into_iter().collect(),
            Self::Own(of) => of(index),
        }
    }

    /// What stands in the replies without which a client is not ready.
    pub const fn last_reply(&self) -> &'static [u8] {
        match self {
            Self::Connect => b"\"connect\"",
            Self::Subscribe(_) | Self::Own(_) => b"\"subscribe\"",
        }
    }
}
