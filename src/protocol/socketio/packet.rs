//! Socket.IO packets.

use std::borrow::Cow;

use bytes::Bytes;

use super::Arguments;

/// The namespace that packets belong to which name none.
pub const MAIN_NAMESPACE: &str = "/";

/// A packet with its attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Begins with a slash.
    pub namespace: Cow<'static, str>,
    pub body: Body,
}

/// What a packet is about. Payloads are JSON on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The client asks to come in, with an object of its own; the server lets it in, with its id.
    Connect(Option<Bytes>),
    Disconnect,
    /// With a number where an acknowledgement is asked for.
    Event {
        id: Option<u64>,
        arguments: Arguments,
    },
    Ack {
        id: u64,
        arguments: Arguments,
    },
    /// An object, or a string.
    ConnectError(Bytes),
}
