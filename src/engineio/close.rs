//! How sessions end.

use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode};
use crate::protocol::socketio::{EngineError, PacketError};

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it, or its connection; with the WebSocket's code, where there was one.
    TransportClose(Option<u16>),
    /// The client's requests or connection broke the rules, or broke off.
    TransportError(&'static str),
    PingTimeout,
    /// What the client sent cannot be read; a WebSocket of it is closed with this code.
    ParseError {
        why: String,
        code: u16,
    },
    /// The node ends it, for this.
    Forced(Disconnect),
}

/// Unsupported data (RFC 6455, 7.4.1).
const UNREADABLE: u16 = 1003;

impl CloseReason {
    /// As servers of this protocol call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::TransportClose(_) => "transport close",
            Self::TransportError(_) => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError { .. } => "parse error",
            Self::Forced(disconnect) if *disconnect == DisconnectCode::Shutdown.into() => "server shutting down",
            Self::Forced(_) => "forced server close",
        }
    }

    /// What it is counted as, and what a WebSocket is closed with where that can be said.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::TransportClose(code) => code.unwrap_or(1005),
            Self::TransportError(_) => 1006,
            Self::PingTimeout => DisconnectCode::NoPong.code(),
            Self::ParseError { code, .. } => *code,
            Self::Forced(disconnect) => disconnect.code(),
        }
    }
}

impl From<PacketError> for CloseReason {
    fn from(error: PacketError) -> Self {
        Self::ParseError { why: error.to_string(), code: UNREADABLE }
    }
}

impl From<EngineError> for CloseReason {
    fn from(error: EngineError) -> Self {
        Self::ParseError { why: error.to_string(), code: UNREADABLE }
    }
}

impl From<DisconnectCode> for CloseReason {
    fn from(code: DisconnectCode) -> Self {
        Self::Forced(code.into())
    }
}
