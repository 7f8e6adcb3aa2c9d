//! Engine.IO packets, as text and as WebSocket frames.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::protocol::websocket::{Opcode, server_frame, server_frame_of};

/// Packets are padded; whoever leaves that out is understood.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the transport carries for the layer above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// UTF-8.
    Text(Bytes),
    Binary(Bytes),
}

/// A packet of the transport session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnginePacket {
    /// The server's first, with its [`Handshake`](super::Handshake).
    Open(Bytes),
    Close,
    /// From the server, and as a `probe` from a client that upgrades.
    Ping(Bytes),
    Pong(Bytes),
    Message(Message),
    Upgrade,
    /// Ends a request that waits, and means nothing.
    Noop,
}

/// Why something is no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("a packet without a type")]
    Empty,
    #[error("unknown packet type {0:?}")]
    UnknownType(char),
    #[error("binary that is not base64")]
    Base64,
    #[error("text that is not UTF-8")]
    NotUtf8,
}

impl EnginePacket {
    /// Reads a packet in its text form, which holds binary as base64. `text` is UTF-8.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn decode(text: &Bytes) -> Result<Self, EngineError> {
        let kind = *text.first().ok_or(EngineError::Empty)?;
        let data = text.slice(1..);
        match kind {
            b'0' => Ok(Self::Open(data)),
            b'1' => Ok(Self::Close),
            b'2' => Ok(Self::Ping(data)),
            b'3' => Ok(Self::Pong(data)),
            b'4' => Ok(Self::Message(Message::Text(data))),
            b'5' => Ok(Self::Upgrade),
            b'6' => Ok(Self::Noop),
            b'b' => {
                let binary = BASE64.decode(&data).map_err(|_| EngineError::Base64)?;
                Ok(Self::Message(Message::Binary(binary.into())))
            }
            _ => {
                let first = String::from_utf8_lossy(text).chars().next();
                Err(EngineError::UnknownType(first.unwrap_or_default()))
            }
        }
    }

    /// The packet as the WebSocket frame that a server sends.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        let text = |kind: &[u8], data: &[u8]| server_frame_of(Opcode::Text, &[kind, data]);
        match self {
            Self::Open(data) => text(b"0", data),
            Self::Close => text(b"1", b""),
            Self::Ping(data) => text(b"2", data),
            Self::Pong(data) => text(b"3", data),
            Self::Message(Message::Text(data)) => text(b"4", data),
            Self::Message(Message::Binary(data)) => server_frame(Opcode::Binary, data),
            Self::Upgrade => text(b"5", b""),
            Self::Noop => text(b"6", b""),
        }
    }
}
