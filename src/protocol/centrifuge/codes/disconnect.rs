//! Why connections end.

use std::borrow::Cow;
use std::fmt;

use serde::de::IgnoredAny;

use super::CodeRefused;

/// The protocol's own reasons to end a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectCode {
    /// 3000: the client went away. For logs and metrics; never sent.
    ConnectionClosed,
    /// 3001: the node stops.
    Shutdown,
    /// 3004: the server's fault.
    ServerError,
    /// 3005: the token or the identity ran out, and was not renewed in time.
    Expired,
    /// 3006: the same of a server-side subscription.
    SubscriptionExpired,
    /// 3008: the client reads too slowly for what it has asked for.
    Slow,
    /// 3009: a write failed or took too long.
    WriteError,
    /// 3010: publications of a server-side subscription were lost; the client recovers by connecting again.
    InsufficientState,
    /// 3011: come again, perhaps to another node.
    ForceReconnect,
    /// 3012: a ping was not answered in time.
    NoPong,
    /// 3013: more than there is room for at the moment.
    TooManyRequests,
    /// 3014: the client must drop its token and its positions.
    StateInvalidated,
    /// 3500, final: the token is no good.
    InvalidToken,
    /// 3501, final: the client broke the protocol.
    BadRequest,
    /// 3502, final: no connect command in time.
    Stale,
    /// 3503, final: the application ended it.
    ForceNoReconnect,
    /// 3504, final: the user has too many connections.
    ConnectionLimit,
    /// 3505, final: the token lists too many channels.
    ChannelLimit,
    /// 3506, final: data that the client's wire cannot carry.
    InappropriateProtocol,
    /// 3507, final: this user may not connect.
    PermissionDenied,
    /// 3508, final: nobody handles what the client sends.
    NotAvailable,
    /// 3509, final: the client did not stop when its limits refused what it sent.
    TooManyErrors,
}

impl DisconnectCode {
    /// The whole table.
    pub const ALL: [Self; 22] = [
        Self::ConnectionClosed,
        Self::Shutdown,
        Self::ServerError,
        Self::Expired,
        Self::SubscriptionExpired,
        Self::Slow,
        Self::WriteError,
        Self::InsufficientState,
        Self::ForceReconnect,
        Self::NoPong,
        Self::TooManyRequests,
        Self::StateInvalidated,
        Self::InvalidToken,
        Self::BadRequest,
        Self::Stale,
        Self::ForceNoReconnect,
        Self::ConnectionLimit,
        Self::ChannelLimit,
        Self::InappropriateProtocol,
        Self::PermissionDenied,
        Self::NotAvailable,
        Self::TooManyErrors,
    ];

    /// The number on the wire: a WebSocket close code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::ConnectionClosed => 3000,
            Self::Shutdown => 3001,
            Self::ServerError => 3004,
            Self::Expired => 3005,
            Self::SubscriptionExpired => 3006,
            Self::Slow => 3008,
            Self::WriteError => 3009,
            Self::InsufficientState => 3010,
            Self::ForceReconnect => 3011,
            Self::NoPong => 3012,
            Self::TooManyRequests => 3013,
            Self::StateInvalidated => 3014,
            Self::InvalidToken => 3500,
            Self::BadRequest => 3501,
            Self::Stale => 3502,
            Self::ForceNoReconnect => 3503,
            Self::ConnectionLimit => 3504,
            Self::ChannelLimit => 3505,
            Self::InappropriateProtocol => 3506,
            Self::PermissionDenied => 3507,
            Self::NotAvailable => 3508,
            Self::TooManyErrors => 3509,
        }
    }

    /// The text on the wire.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ConnectionClosed => "connection closed",
            Self::Shutdown => "shutdown",
            Self::ServerError => "internal server error",
            Self::Expired => "connection expired",
            Self::SubscriptionExpired => "subscription expired",
            Self::Slow => "slow",
            Self::WriteError => "write error",
            Self::InsufficientState => "insufficient state",
            Self::ForceReconnect => "force reconnect",
            Self::NoPong => "no pong",
            Self::TooManyRequests => "too many requests",
            Self::StateInvalidated => "state invalidated",
            Self::InvalidToken => "invalid token",
            Self::BadRequest => "bad request",
            Self::Stale => "stale",
            Self::ForceNoReconnect => "force disconnect",
            Self::ConnectionLimit => "connection limit",
            Self::ChannelLimit => "channel limit",
            Self::InappropriateProtocol => "inappropriate protocol",
            Self::PermissionDenied => "permission denied",
            Self::NotAvailable => "not available",
            Self::TooManyErrors => "too many errors",
        }
    }

    /// Whether clients come back by themselves.
    #[must_use]
    pub const fn reconnect(self) -> bool {
        reconnects(self.code())
    }

    /// The table's entry for a number.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }
}

/// An end as the client is told: a code of the table with its text, or a hook's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    code: u16,
    reason: Cow<'static, str>,
}

impl Disconnect {
    /// The codes that applications may define.
    pub const CUSTOM: std::ops::RangeInclusive<u16> = 4000..=4999;
    /// Bytes that fit behind the code in a close frame (RFC 6455, 5.5).
    pub const MAX_REASON: usize = 123;

    /// An end that a hook or the server API asks for.
    ///
    /// # Errors
    /// A code that is neither in [`CUSTOM`](Self::CUSTOM) nor in the table (3000 is never sent, so it is refused too);
    /// a reason that is empty, longer than a close frame holds, or JSON (some SDKs would take it for an object).
    pub fn custom(code: u32, reason: impl Into<String>) -> Result<Self, CodeRefused> {
        let known = u16::try_from(code).ok().filter(|code| {
            let sent = DisconnectCode::from_code(*code).is_some_and(|known| known != DisconnectCode::ConnectionClosed);
            sent || Self::CUSTOM.contains(code)
        });
        let Some(number) = known else {
            let (from, to) = (Self::CUSTOM.start(), Self::CUSTOM.end());
            return Err(CodeRefused::OutOfRange { code, from: (*from).into(), to: (*to).into() });
        };
        let reason = reason.into();
        if reason.is_empty() {
            return Err(CodeRefused::Empty { code });
        }
        if reason.len() > Self::MAX_REASON {
            return Err(CodeRefused::TooLong { code, length: reason.len(), limit: Self::MAX_REASON });
        }
        if serde_json::from_str::<IgnoredAny>(&reason).is_ok() {
            return Err(CodeRefused::LooksLikeJson { code });
        }
        Ok(Self { code: number, reason: reason.into() })
    }

    /// The number on the wire: a WebSocket close code.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The text on the wire: words, never empty, at most [`MAX_REASON`](Self::MAX_REASON) bytes.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether clients come back by themselves.
    #[must_use]
    pub const fn reconnect(&self) -> bool {
        reconnects(self.code)
    }
}

impl From<DisconnectCode> for Disconnect {
    fn from(code: DisconnectCode) -> Self {
        Self { code: code.code(), reason: Cow::Borrowed(code.reason()) }
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}

/// The second half of each thousand is final.
const fn reconnects(code: u16) -> bool {
    !matches!(code, 3500..=3999 | 4500..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_reason_may_be_sent() {
        for known in DisconnectCode::ALL {
            let Disconnect { code, reason } = known.into();
            assert_eq!(DisconnectCode::from_code(code), Some(known));
            let custom = Disconnect::custom(code.into(), reason);
            assert_eq!(custom.is_ok(), known != DisconnectCode::ConnectionClosed, "{known:?}");
        }
    }

    #[test]
    fn clients_return_in_the_first_half_of_a_thousand() {
        for (code, reconnect) in [(3001, true), (3014, true), (3500, false), (3509, false)] {
            assert_eq!(DisconnectCode::from_code(code).unwrap().reconnect(), reconnect, "{code}");
        }
        assert!(Disconnect::custom(4499, "later").unwrap().reconnect());
        assert!(!Disconnect::custom(4500, "never").unwrap().reconnect());
    }

    #[test]
    fn a_reason_is_words() {
        for reason in ["123", "{\"a\":1}", "null", " \"quoted\" "] {
            assert_eq!(Disconnect::custom(4000, reason), Err(CodeRefused::LooksLikeJson { code: 4000 }), "{reason}");
        }
        assert_eq!(Disconnect::custom(4000, ""), Err(CodeRefused::Empty { code: 4000 }));
        assert!(Disconnect::custom(4000, "ä".repeat(61)).is_ok());
        assert!(matches!(Disconnect::custom(4000, "ä".repeat(62)), Err(CodeRefused::TooLong { length: 124, .. })));
        for code in [0, 1000, 2999, 3000, 3002, 3999, 5000, 69_536] {
            assert!(matches!(Disconnect::custom(code, "x"), Err(CodeRefused::OutOfRange { .. })), "{code}");
        }
    }
}
