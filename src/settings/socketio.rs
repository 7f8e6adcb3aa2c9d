//! Socket.IO as it is configured.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::channels::Namespace;
use crate::protocol::socketio::RoomRule;

/// Socket.IO. Nothing of it is served where no namespaces are declared.
#[derive(Debug, Clone)]
pub struct SocketIo {
    pub namespaces: Vec<Arc<SocketIoNamespace>>,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    /// How long a WebSocket may take to become a session's transport.
    pub upgrade_timeout: Duration,
    /// How long a connection may be in no namespace, or hold half a packet.
    pub connect_timeout: Duration,
    /// Bytes of one message or request of a client.
    pub max_payload: usize,
    /// Bytes from which on answers of long-polling are compressed; `None` never are.
    pub http_compression_threshold: Option<usize>,
    /// The name of a cookie with a session's id.
    pub cookie: Option<String>,
    /// Whether pages find the client here.
    pub serve_client: bool,
}

/// One of its namespaces.
#[derive(Debug, Clone)]
pub struct SocketIoNamespace {
    /// Begins with a slash.
    pub name: Arc<str>,
    /// The channels that are its rooms.
    pub rooms: Option<Arc<Namespace>>,
    /// Rooms that everybody is in.
    pub join: Vec<String>,
    /// Events that go to a room, by name.
    pub relay: HashMap<String, RoomRule>,
    /// Events by which clients join rooms and leave them.
    pub join_on: Option<String>,
    pub leave_on: Option<String>,
    /// Rooms that they may join.
    pub may_join: Vec<RoomRule>,
    /// Where a client's token, or the connect hook, names others: a member of its `meta`.
    pub may_join_claim: Option<String>,
    /// How long a service may take to acknowledge an event.
    pub ack_timeout: Duration,
    /// How long a client may be away and still come back to its session; `None` where it cannot.
    pub recovery: Option<Duration>,
    /// What services are told of its sockets.
    pub tell: Vec<SocketIoNotice>,
}

/// Something that services can be told of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketIoNotice {
    /// One has come into the namespace.
    Connect,
    /// One is there no more.
    Disconnect,
    /// One has entered a room.
    Join,
    /// One has left a room.
    Leave,
    /// A room has its first socket on a node.
    Create,
    /// A room has no socket on a node any more.
    Delete,
}
