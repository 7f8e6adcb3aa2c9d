//! Messages as the backplane carries them: the data untouched, metadata beside it.

use bytes::Bytes;

use crate::clock::unix_time;
use crate::protocol::{Channel, Offset, Position};

/// What travels beside a publication's data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// JSON `ClientInfo` of the client that published; `None` for backends.
    pub info: Option<Bytes>,
    pub tags: Vec<(String, String)>,
    /// Not a publication: everything before it in the channel was removed on purpose. Never delivered; it keeps the
    /// chain whole, and whoever missed it learns that what came before can no longer be had.
    pub tombstone: bool,
    /// Its publisher wants it sent as a patch to those who read patches, also where the namespace does not say so.
    pub delta: bool,
    /// It came over a bridge, and is not passed on over it again. A publisher who says so keeps its own from there.
    pub bridged: bool,
}

impl Meta {
    /// Bytes that it takes, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let tags = self.tags.iter().map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>());
        self.info.as_ref().map_or(0, Bytes::len) + tags.sum::<usize>()
    }
}

/// Guards against older state overwriting newer state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Greater than 0.
    pub number: u64,
    /// Versions are compared within one epoch only; empty compares with any.
    pub epoch: String,
}

/// A publication on its way out.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    pub data: Bytes,
    pub meta: Meta,
    /// A repeat under the same key in the same channel returns the first result and delivers nothing.
    pub idempotency_key: Option<String>,
    pub version: Option<Version>,
    /// Deliver only: neither stored nor given an offset, also where the namespace has history.
    pub skip_history: bool,
}

/// What became of a publication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// Where it stands; absent in namespaces without history. For a dropped version the channel's top.
    pub position: Option<Position>,
    /// Nothing was delivered by this call: the key was used before, or the version was not newer.
    pub suppressed: bool,
}

/// A delivered publication.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub channel: Channel,
    pub data: Bytes,
    pub meta: Meta,
    /// Its place in the chain; `None` where it was not stored.
    pub link: Option<Link>,
}

/// Chains a stored message to the one before it in the same channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub offset: Offset,
    /// The offset before it in this channel; [`Offset::NONE`] means "nothing older is stored", never "no gap".
    pub previous: Offset,
    /// When it was stored, by the store's clock: nanoseconds since the Unix epoch.
    pub stored_at: i64,
}

/// The time by this host's clock, as [`Stored::stored_at`] gives it by the store's. They may differ by hours: what is
/// stored is measured by [`History::now`](super::History::now).
#[must_use]
pub fn now() -> i64 {
    i64::try_from(unix_time().as_nanos()).unwrap_or(i64::MAX)
}

/// A message read back from history.
#[derive(Debug, Clone)]
pub struct Stored {
    pub offset: Offset,
    /// When it was stored, by the store's clock: nanoseconds since the Unix epoch.
    pub stored_at: i64,
    pub data: Bytes,
    pub meta: Meta,
}
