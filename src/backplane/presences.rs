//! Who is in which channel, for all nodes to see: each node's last word on each of its clients.
//!
//! What is recorded stays until it is recorded as gone, also when its node is. A departure can be read for
//! [`DEPARTED_FOR`], so whoever looks at [what changed](Presences::page) more often than that misses none.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::SubscribeError;
use crate::protocol::Channel;

/// How long a departure can be read.
pub const DEPARTED_FOR: Duration = Duration::from_secs(300);

/// Changes that wait for whoever reads them; beyond it they are in doubt.
pub const CHANGES: usize = 4096;

/// One client in one channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Occupant {
    /// The life of the node that it is connected to: no other life of any node has that name. Letters, digits, `-`, `_`
    /// and `~`.
    pub node: Arc<str>,
    pub channel: Channel,
    pub client: Uuid,
}

/// What is to be recorded of an occupant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It is there: JSON `ClientInfo`.
    Here(Bytes),
    /// It has left: what it was, where that is known.
    Left(Option<Bytes>),
}

/// A word on an occupant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub occupant: Occupant,
    /// JSON `ClientInfo`; `None` once it has left.
    pub info: Option<Bytes>,
    /// Who has left, where the record says so.
    pub departed: Option<Departed>,
    /// Greater than that of every record before it, as long as the records are the same ([`Roll::identity`]).
    pub revision: u64,
}

/// Somebody who has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departed {
    /// JSON `ClientInfo`.
    pub info: Bytes,
    /// How long before it was read, by the clock of whoever keeps the records.
    pub ago: Duration,
}

/// Of whom records are read.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    Everybody,
    Channel(&'a Channel),
    Node(&'a str),
}

/// The records as a whole, as their authority knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roll {
    /// Another one says that they were lost and begun anew.
    pub identity: Arc<str>,
    /// The last revision.
    pub last: u64,
}

/// Some records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordPage {
    /// Ascending; one for each occupant, its last.
    pub records: Vec<Record>,
    /// Where the next page begins.
    pub next: u64,
    /// There is one.
    pub more: bool,
}

/// What is in doubt: each number grows with every reason to doubt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Some changes may not have come: those who want all must read.
    pub changes: u64,
    /// Some records may not be there that were acknowledged, or may be there that were not.
    pub records: u64,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Anybody: quick, and may lag by a moment.
    Replica,
    /// Whoever knows best: never stale.
    Authority,
}

/// Why records cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    /// Trying again may help.
    #[error("presence unavailable: {0}")]
    Unavailable(String),
    /// This one record will never be taken as it is; others may be.
    #[error("presence record refused: {0}")]
    Refused(String),
}

/// Records who is where.
#[async_trait]
pub trait Presences: Send + Sync {
    /// Records the last word on an occupant. Returns its revision.
    ///
    /// After an error it may be recorded all the same, also later.
    async fn record(&self, occupant: &Occupant, word: Word) -> Result<u64, PresenceError>;

    /// The records of `whose` from the revision `from` on (inclusive), at most `limit` (at least 1). What a replica says
    /// must be compared with [`newest`](Self::newest).
    async fn page(
        &self,
        whose: Whose<'_>,
        from: u64,
        limit: usize,
        source: Source,
    ) -> Result<RecordPage, PresenceError>;

    /// The revision of the newest record of `whose`, from its authority: never stale. 0 without any.
    async fn newest(&self, whose: Whose<'_>) -> Result<u64, PresenceError>;

    /// What the authority knows now.
    async fn roll(&self) -> Result<Roll, PresenceError>;

    /// Asks for the changes of `channel`; returns once the other side accepted. Idempotent.
    async fn watch(&self, channel: &Channel) -> Result<(), SubscribeError>;

    /// Ends the changes of `channel`. A few may still be on their way.
    fn unwatch(&self, channel: &Channel);

    /// The changes of all watched channels. Given out once.
    fn changes(&self) -> Option<mpsc::Receiver<Record>>;

    /// What is in doubt; changes with every new reason.
    fn doubts(&self) -> watch::Receiver<Doubts>;
}
