//! Why a socket is there no more.

use crate::engineio::CloseReason;
use crate::protocol::centrifuge::codes::DisconnectCode;

/// Why a socket is gone.
pub(super) enum Gone<'a> {
    /// Its client has left the namespace.
    ByClient,
    /// It was sent away.
    ByServer,
    /// Its connection has ended.
    Closed(&'a CloseReason),
}

impl Gone<'_> {
    /// As servers of this protocol call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::ByClient => "client namespace disconnect",
            Self::ByServer => "server namespace disconnect",
            Self::Closed(reason) => reason.name(),
        }
    }

    /// Code and reason, as they are told to operators of any client.
    pub(super) fn told(&self) -> (u16, &str) {
        match self {
            Self::ByClient => (DisconnectCode::ConnectionClosed.code(), self.name()),
            Self::ByServer => (DisconnectCode::ForceNoReconnect.code(), self.name()),
            Self::Closed(CloseReason::Forced(disconnect)) => (disconnect.code(), disconnect.reason()),
            Self::Closed(reason) => (reason.code(), reason.name()),
        }
    }

    /// Whether clients may come back to the session of the socket.
    pub(super) fn may_return(&self) -> bool {
        match self {
            Self::ByClient | Self::ByServer | Self::Closed(CloseReason::ParseError { .. }) => false,
            Self::Closed(
                CloseReason::TransportClose(_) | CloseReason::TransportError(_) | CloseReason::PingTimeout,
            ) => true,
            // What was lost is not made good by coming back.
            Self::Closed(CloseReason::Forced(disconnect)) => {
                disconnect.reconnect() && *disconnect != DisconnectCode::InsufficientState.into()
            }
        }
    }
}
