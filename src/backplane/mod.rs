//! The backplane carries publications between nodes. It knows channels and bytes, never sockets.
//!
//! An implementation is split by what it *can* do: every one publishes and subscribes; history and
//! requests are capabilities that may be absent. What it delivers comes out of [`Feed`]s, in which
//! loss is a value beside the messages, so that nobody can forget to handle it.
//!
//! `embedded` keeps everything in this process; `nats` joins nodes to a cluster; `faults` wraps either
//! and loses, doubles and delays on purpose. One conformance suite holds all of them to this contract.

mod depths;
pub mod embedded;
pub mod faults;
pub mod feed;
pub mod message;
pub mod nats;
pub mod presences;
mod recent;
pub mod registry;
mod store_clock;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

pub use depths::Depths;
pub use feed::{Delivery, Feed, FeedSender, Gap, GapCause, Scope};
pub use message::{Incoming, Link, Meta, Outgoing, Published, Stored, Version};
pub use presences::{
    Departed, Doubts, Occupant, PresenceError, Presences, Record, RecordPage, Roll, Source, Whose, Word,
};
pub use registry::{Bucket, Change, Entry, Guard, Registry, RegistryError, Revision, Watch};

use crate::protocol::{Channel, Epoch, Offset, Position};

/// Carries publications between nodes.
#[async_trait]
pub trait Backplane: Send + Sync + 'static {
    /// Publishes to everybody who subscribed to `channel`, on any node, this one included.
    ///
    /// In a namespace with history it returns once the message is stored; order of calls for one channel is order of
    /// offsets only if the caller awaits each before the next.
    async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Published, PublishError>;

    /// Asks for the deliveries of `channel`; returns once the other side accepted. Idempotent.
    async fn subscribe(&self, channel: &Channel) -> Result<(), SubscribeError>;

    /// Ends the deliveries of `channel`. A few may still be on their way.
    fn unsubscribe(&self, channel: &Channel);

    /// Everything that is published in a namespace from now on, for whoever passes it on elsewhere; until it is dropped. At
    /// most once, in the order of each channel: what its reader is too slow for is lost, and counted.
    async fn overhear(&self, namespace: &str) -> Result<mpsc::Receiver<Delivery>, SubscribeError>;

    /// Stored messages, where this backplane keeps any.
    fn history(&self) -> Option<&dyn History>;

    /// Questions to and from services outside, where this backplane reaches any.
    fn requests(&self) -> Option<&dyn Requests>;

    /// Word to and from every node of the cluster.
    fn broadcast(&self) -> &dyn Broadcast;

    /// Small state that all nodes share.
    fn registry(&self, bucket: Bucket) -> &dyn Registry;
    /// Who is where, for all nodes; `None` where no namespace asks for it.
    fn presences(&self) -> Option<&dyn Presences>;

    /// Whether it can do its work now.
    fn health(&self) -> watch::Receiver<Health>;

    /// Finishes what was accepted, then lets go. Nothing may be called afterwards.
    async fn close(&self);
}

/// Reads what was published in namespaces with history. Every call names a channel of such a namespace.
#[async_trait]
pub trait History: Send + Sync {
    /// What the authority over the channel knows now: never stale.
    async fn top(&self, channel: &Channel) -> Result<Top, HistoryError>;

    /// The channel's stored messages from `from` on (inclusive), ascending, at most `limit` (at least 1).
    ///
    /// May come from a replica that lags: compare with [`top`](Self::top) where completeness matters.
    async fn page(&self, channel: &Channel, from: Offset, limit: usize) -> Result<Page, HistoryError>;

    /// Whether the message at `offset` of `channel` is stored, from its authority.
    async fn holds(&self, channel: &Channel, offset: Offset) -> Result<bool, HistoryError>;

    /// First and last offset stored in the namespace, from its authority.
    async fn bounds(&self, namespace: &str) -> Result<Bounds, HistoryError>;

    /// Those of `channels` (all of `namespace`) whose newest message lies above `floor`.
    ///
    /// Never misses a message that was stored before the call.
    async fn newer(&self, namespace: &str, channels: &[Channel], floor: Offset) -> Result<Newer, HistoryError>;

    /// How long a message of `namespace` surely stays, unless newer ones of its channel push it out or somebody removes
    /// it. Zero where it may have to go for want of room.
    fn retention(&self, namespace: &str) -> Duration;

    /// The time by the clock that stamps the messages of `namespace`: nanoseconds since the Unix epoch. This host's clock
    /// is another, which may be hours off: what is stored is never measured by it.
    fn now(&self, namespace: &str) -> i64;

    /// Forgets the channel's messages: stores a tombstone ([`Meta::tombstone`]), then removes what lies before it.
    /// Offsets go on. Without the tombstone nobody could tell "nothing was missed" from "what was missed is gone".
    async fn remove(&self, channel: &Channel) -> Result<(), HistoryError>;
}

/// Request and reply with services outside midplane. Subjects are given without the configured prefix: `rpc.sum`.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Asks whoever serves `subject` and waits for one answer.
    async fn request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, RequestError>;

    /// Tells whoever listens to `subject`, at most once; nobody knows whether anybody did.
    async fn tell(&self, subject: &str, headers: &[(&str, &str)], body: Bytes) -> Result<(), RequestError>;

    /// Serves `pattern` (`api.*`) together with all other nodes: each request reaches one of them. `at_once` of them wait
    /// for their answers at a time.
    async fn serve(&self, pattern: &str, at_once: usize) -> Result<mpsc::Receiver<Request>, SubscribeError>;
}

/// Word from node to node, at most once. A topic is one or more tokens (letters, digits, `-`, `_`, `~`) with dots between
/// them: `control`, `hb.node-1~7`.
#[async_trait]
pub trait Broadcast: Send + Sync {
    /// Tells every node that hears `topic`, this one included.
    async fn tell(&self, topic: &str, message: Bytes) -> Result<(), PublishError>;

    /// What nodes tell on `pattern`, from now on: a topic, in which `*` stands for any one token.
    async fn hear(&self, pattern: &str) -> Result<mpsc::Receiver<Bytes>, SubscribeError>;
}

/// What somebody outside answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Services say here that they failed.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// A question from outside.
#[derive(Debug)]
pub struct Request {
    /// Without the prefix: `api.publish`.
    pub subject: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Bytes that an answer may have.
    pub room: usize,
    /// Where the answer goes; dropping it leaves the asker to its timeout.
    pub reply: oneshot::Sender<Bytes>,
}

/// What is known of a channel at its authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    pub epoch: Epoch,
    /// The channel's newest stored message; `None` when nothing of it is stored.
    pub newest: Option<Offset>,
    /// The last offset given out in the whole namespace: not 0, also where nothing was published yet.
    pub last: Offset,
    /// Up to here the channel has nothing behind `newest`. At most `last`.
    pub through: Offset,
}

impl Top {
    /// Where a reader that has seen everything stands. Never 0: clients of the protocol take 0 for "no position".
    #[must_use]
    pub fn position(&self) -> Position {
        Position { offset: self.newest.unwrap_or(self.last), epoch: self.epoch.clone() }
    }
}

/// Some of a channel's stored messages.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Ascending by offset.
    pub messages: Vec<Stored>,
    /// Whether more follow behind the last.
    pub more: bool,
}

/// What of a namespace is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    pub epoch: Epoch,
    /// From here on nothing was removed, unless newer messages of its channel pushed it out or somebody removed it.
    pub first: Offset,
    pub last: Offset,
    /// How many messages of one channel were kept, up to now.
    pub depths: Depths,
}

/// Channels that go on above a floor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Newer {
    /// Each with its newest message.
    pub tops: Vec<(Channel, Offset)>,
    /// The namespace's last offset when this was asked: no other channel has anything between the floor and it.
    pub last: Offset,
}

/// Whether a backplane can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// It was lost; `why` is for people.
    Lost {
        why: String,
    },
}

/// Why a publication was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Certainly not published; trying again may help.
    #[error("backplane unavailable: {0}")]
    Unavailable(String),
    /// No acknowledgement came in time: it may be stored all the same.
    #[error("no acknowledgement from the backplane within {0:?}: the publication may or may not be stored")]
    Unknown(Duration),
    #[error("publication of {size} bytes, the backplane takes at most {limit}")]
    TooLarge { size: usize, limit: usize },
    /// Refused for good: permissions, a stream that does not fit.
    #[error("backplane refused the publication: {0}")]
    Refused(String),
}

/// Why a subscription was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    #[error("backplane unavailable: {0}")]
    Unavailable(String),
    #[error("backplane refused the subscription to {subject}: {why}")]
    Refused { subject: String, why: String },
}

/// Why history could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("history unavailable: {0}")]
    Unavailable(String),
    #[error("no answer from history within {0:?}")]
    Timeout(Duration),
    /// The namespace has no history.
    #[error("namespace {0:?} keeps no history")]
    Absent(String),
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("nobody serves {0}")]
    NoResponder(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// For good.
    #[error("more than the {limit} bytes of one message (max_payload of NATS)")]
    TooLarge { limit: usize },
    #[error("backplane unavailable: {0}")]
    Unavailable(String),
}
