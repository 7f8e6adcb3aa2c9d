//! What backends ask of a client's connection.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::protocol::Channel;
use crate::protocol::centrifuge::codes::Disconnect;

/// Something that a session does because somebody else wants it. Ending the connection, whoever is on it, is a
/// [`Control`](super::Control) of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// What the client of this id is to do. Others may be on its connection, of other users too, where that is one of Socket.IO.
    Client(Uuid, Errand),
    /// Look whether its tokens are still good: one may have been revoked.
    Recheck,
    /// Say what it is subscribed to.
    Describe(Asker),
}

/// What a backend wants of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// Subscribe it, server-side.
    Subscribe(Arc<Placement>),
    /// End its subscription, whoever made it; `None` is all of them.
    Unsubscribe(Option<Channel>),
    /// It expires then, in Unix seconds, `None` is never; and `conn_info` is another, where it is given.
    Refresh { expires_at: Option<u64>, info: Option<Bytes> },
    /// It goes for good, and its connection stays. Only connections of Socket.IO are of any use without it.
    Dismiss,
    /// It goes, and its connection with it unless there are others on it.
    Disconnect(Disconnect),
}

/// What a client is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub client: Uuid,
    pub channels: Vec<Channel>,
}

/// Whom a session tells about itself.
#[derive(Debug, Clone)]
pub struct Asker(pub mpsc::Sender<Description>);

impl PartialEq for Asker {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl Eq for Asker {}

impl Placement {
    /// In a channel, as its namespace has it.
    #[must_use]
    pub const fn plain(channel: Channel) -> Self {
        Self {
            channel,
            info: None,
            data: None,
            expires_at: None,
            since: None,
            force_recovery: None,
            force_positioning: None,
            presence: None,
            join_leave: None,
            force_push_join_leave: None,
        }
    }
}

/// A server-side subscription that a backend makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub channel: Channel,
    /// `chan_info` of the client in this channel.
    pub info: Option<Bytes>,
    /// Goes to the client with the subscription.
    pub data: Option<Bytes>,
    /// Unix seconds; `None` is never.
    pub expires_at: Option<u64>,
    /// What was published since this offset and epoch comes first.
    pub since: Option<(u64, String)>,
    /// In place of the namespace's, where given.
    pub force_recovery: Option<bool>,
    pub force_positioning: Option<bool>,
    pub presence: Option<bool>,
    pub join_leave: Option<bool>,
    pub force_push_join_leave: Option<bool>,
}
