//! What is said to an outbox and what it answers.

use std::sync::Arc;

use bytes::Bytes;

use crate::hub::orders::Order;
use crate::protocol::Channel;
use crate::protocol::centrifuge::codes::Disconnect;

/// What other tasks want from the session that owns the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Deliveries of this channel were lost for good: the client must start over from history.
    Lost(Channel),
    /// End the connection.
    Close(Disconnect),
    /// Do what a backend wants.
    Obey(Arc<Order>),
    /// End the connection: more was asked of it than waits for one. It connects anew.
    Overrun,
    /// What waited has been read, so that there is room again for what was refused.
    Drained,
}

/// What became of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits.
    Empty,
    /// The socket is full: the session is told, and flushes once it is writable.
    Blocked,
    /// The connection is gone.
    Gone,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The first since the last flush: somebody has to flush.
    First,
    /// Others wait with it already.
    Again,
    /// It waits alone for the socket, and took the place of an older one if there was one.
    Replaced,
    /// Refused: too much waits. [`Control::Drained`] tells when that is over.
    Full,
    /// Refused for good: something waits.
    Dropped,
    /// Too much waited: the connection is being closed as slow.
    Overflow,
    /// The connection is over.
    Closed,
}

/// What is done with a delivery that its reader is too slow for.
#[derive(Debug, Clone, Copy)]
pub enum Spill<'a> {
    /// Beyond the limit the connection is closed.
    Close,
    /// While the socket is full only the newest delivery of this key waits, in the form that stands alone.
    Replace { key: u64, alone: &'a Bytes },
    /// Beyond half the limit it is refused. The other half is for whatever cannot be.
    Refuse,
    /// It is dropped where anything waits.
    Drop,
}
