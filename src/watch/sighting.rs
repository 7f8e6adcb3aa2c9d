//! What is watched, and what is seen of it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What somebody watches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Channel(String),
    /// `""` for all anonymous clients.
    User(String),
}

/// What happened to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Milliseconds since the Unix epoch, by the clock of its node.
    pub at: i64,
    pub node: String,
    pub user: String,
    pub client: Uuid,
    #[serde(flatten)]
    pub what: What,
}

/// What may happen to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    Connected {
        transport: String,
    },
    Closed {
        code: u16,
        reason: String,
    },
    Subscribed {
        channel: String,
    },
    Unsubscribed {
        channel: String,
    },
    /// It was subscribed when its connection closed. Told to who watches the channel: who watches the user is told of the close.
    Left {
        channel: String,
        code: u16,
        reason: String,
    },
}

impl Sighting {
    /// Whom it concerns: its user, and the channel if it is about one.
    pub(super) fn subjects(&self) -> impl Iterator<Item = Subject> + use<> {
        let (user, channel) = match &self.what {
            What::Connected { .. } | What::Closed { .. } => (true, None),
            What::Subscribed { channel } | What::Unsubscribed { channel } => (true, Some(channel)),
            What::Left { channel, .. } => (false, Some(channel)),
        };
        let user = user.then(|| Subject::User(self.user.clone()));
        user.into_iter().chain(channel.cloned().map(Subject::Channel))
    }
}
