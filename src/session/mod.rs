//! One connection, one owner task: what its client asks for, what it may have, and when it is over.
//!
//! [`run`] owns everything about the connection; others reach it only through its outbox. Commands run one after
//! another, so their replies come in order and no two of them can disagree about a subscription; what is owed to others
//! is done between two of them. The socket is a [`Transport`]; what goes out goes through the outbox.

mod admission;
mod attend;
mod commands;
mod connect;
mod counted;
mod deadlines;
mod heart;
mod hooked;
mod obey;
mod permissions;
mod rate;
mod refresh;
mod revoked;
mod run;
mod seen;
mod services;
mod state;
mod strangers;
mod subscribe;
mod subscription;
pub mod transport;
mod unidirectional;
mod work;

pub use admission::NotAdmitted;
pub use permissions::is_open_to;
pub use rate::{Bucket, FORGET_EVERY, Places, UserRates};
pub use run::run;
// Handshakes wait with those who connect.
pub use crate::hub::Turnstile;
pub use services::{Limits, NodeInfo, Services};
pub use strangers::{Stranger, Strangers};
pub use subscription::moment;
pub use transport::{Event, Inbound, Transport, TransportError, write_out};

use std::fmt;
use std::net::IpAddr;

use uuid::Uuid;

use crate::protocol::centrifuge::Format;
use crate::protocol::centrifuge::codes::{ClientError, Disconnect, DisconnectCode, ErrorCode};

/// What is known of a client before it has said a word.
#[derive(Debug, Clone)]
pub struct Peer {
    /// How messages to it are written.
    pub format: Format,
    /// It asked for WebSocket pings in place of the protocol's.
    pub frame_pings: bool,
    /// Where it posts what it cannot send on its connection.
    pub mailbox: Option<Mailbox>,
    pub remote: IpAddr,
    /// The handshake's headers that hooks want.
    pub headers: Vec<(String, String)>,
}

/// What a client must know to post to its session. Does not print it.
#[derive(Clone, Copy)]
pub struct Mailbox {
    /// A secret between the client and us.
    pub session: Uuid,
    /// Where the session is. Another one after each start of a node.
    pub node: Uuid,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Why a command has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// Said in the reply; the connection goes on.
    Error(ClientError),
    /// The connection ends.
    Disconnect(Disconnect),
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code.into())
    }
}

impl From<Disconnect> for Failure {
    fn from(disconnect: Disconnect) -> Self {
        Self::Disconnect(disconnect)
    }
}

impl From<DisconnectCode> for Failure {
    fn from(code: DisconnectCode) -> Self {
        Self::Disconnect(code.into())
    }
}
