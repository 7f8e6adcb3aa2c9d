//! Errors in replies.

use std::borrow::Cow;
use std::fmt;

use super::CodeRefused;

/// The protocol's own errors.
///
/// A client tries again after a temporary one, and after [`TokenExpired`](Self::TokenExpired) with a new token; all
/// others are final for the command, the subscription or the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 100, temporary: the server's fault, or the backplane's.
    Internal,
    /// 101: the request needs an identity.
    Unauthorized,
    /// 102: no such channel, or no such namespace.
    UnknownChannel,
    /// 103: not for this client.
    PermissionDenied,
    /// 104: nobody serves the RPC method.
    MethodNotFound,
    /// 105: the session has this subscription already.
    AlreadySubscribed,
    /// 106: more than one session may have.
    LimitExceeded,
    /// 107: the request contradicts itself or the channel's rules.
    BadRequest,
    /// 108: the feature is off for this channel.
    NotAvailable,
    /// 109: the client fetches a new token and comes back.
    TokenExpired,
    /// 110: the identity has expired, and no token can renew it.
    Expired,
    /// 111, temporary: slower, please.
    TooManyRequests,
    /// 112: history does not reach back to the position asked for.
    UnrecoverablePosition,
    /// 113, temporary: another page of the same channel is being read.
    ConcurrentPagination,
}

impl ErrorCode {
    /// The whole table.
    pub const ALL: [Self; 14] = [
        Self::Internal,
        Self::Unauthorized,
        Self::UnknownChannel,
        Self::PermissionDenied,
        Self::MethodNotFound,
        Self::AlreadySubscribed,
        Self::LimitExceeded,
        Self::BadRequest,
        Self::NotAvailable,
        Self::TokenExpired,
        Self::Expired,
        Self::TooManyRequests,
        Self::UnrecoverablePosition,
        Self::ConcurrentPagination,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Internal => 100,
            Self::Unauthorized => 101,
            Self::UnknownChannel => 102,
            Self::PermissionDenied => 103,
            Self::MethodNotFound => 104,
            Self::AlreadySubscribed => 105,
            Self::LimitExceeded => 106,
            Self::BadRequest => 107,
            Self::NotAvailable => 108,
            Self::TokenExpired => 109,
            Self::Expired => 110,
            Self::TooManyRequests => 111,
            Self::UnrecoverablePosition => 112,
            Self::ConcurrentPagination => 113,
        }
    }

    /// The text on the wire.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Internal => "internal server error",
            Self::Unauthorized => "unauthorized",
            Self::UnknownChannel => "unknown channel",
            Self::PermissionDenied => "permission denied",
            Self::MethodNotFound => "method not found",
            Self::AlreadySubscribed => "already subscribed",
            Self::LimitExceeded => "limit exceeded",
            Self::BadRequest => "bad request",
            Self::NotAvailable => "not available",
            Self::TokenExpired => "token expired",
            Self::Expired => "expired",
            Self::TooManyRequests => "too many requests",
            Self::UnrecoverablePosition => "unrecoverable position",
            Self::ConcurrentPagination => "concurrent pagination",
        }
    }

    /// Whether the client may try the same again.
    #[must_use]
    pub const fn temporary(self) -> bool {
        matches!(self, Self::Internal | Self::TooManyRequests | Self::ConcurrentPagination)
    }

    /// The table's entry for a number.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }
}

/// An error as it goes into a reply: one of the table, or a hook's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientError {
    code: u32,
    message: Cow<'static, str>,
    temporary: bool,
}

impl ClientError {
    /// The codes that applications may define.
    pub const CUSTOM: std::ops::RangeInclusive<u32> = 400..=1999;

    /// An error that a hook asks for.
    ///
    /// # Errors
    /// A code that is neither in [`CUSTOM`](Self::CUSTOM) nor in the protocol's table; an empty message.
    pub fn custom(code: u32, message: impl Into<String>, temporary: bool) -> Result<Self, CodeRefused> {
        if !Self::CUSTOM.contains(&code) && ErrorCode::from_code(code).is_none() {
            return Err(CodeRefused::OutOfRange { code, from: *Self::CUSTOM.start(), to: *Self::CUSTOM.end() });
        }
        let message = message.into();
        if message.is_empty() {
            return Err(CodeRefused::Empty { code });
        }
        Ok(Self { code, message: message.into(), temporary })
    }

    /// The number on the wire.
    #[must_use]
    pub const fn code(&self) -> u32 {
        self.code
    }

    /// The text on the wire, never empty.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the client may try the same again.
    #[must_use]
    pub const fn temporary(&self) -> bool {
        self.temporary
    }
}

impl From<ErrorCode> for ClientError {
    fn from(code: ErrorCode) -> Self {
        Self { code: code.code(), message: Cow::Borrowed(code.message()), temporary: code.temporary() }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_run_from_100_without_a_hole() {
        let codes: Vec<_> = ErrorCode::ALL.iter().map(|known| known.code()).collect();
        assert_eq!(codes, (100..=113).collect::<Vec<_>>());
        assert!(ErrorCode::ALL.iter().all(|known| ErrorCode::from_code(known.code()) == Some(*known)));
    }

    #[test]
    fn only_passing_troubles_are_temporary() {
        let temporary: Vec<_> = ErrorCode::ALL.iter().filter(|code| code.temporary()).map(|code| code.code()).collect();
        assert_eq!(temporary, [100, 111, 113]);
    }

    #[test]
    fn a_hook_may_use_its_own_codes_and_the_tables_but_must_say_something() {
        assert_eq!(ClientError::custom(1000, "no credit", true).unwrap().to_string(), "1000 no credit");
        assert!(ClientError::custom(103, "not you", false).is_ok());
        assert_eq!(ClientError::custom(1000, "", false), Err(CodeRefused::Empty { code: 1000 }));
        for code in [0, 99, 114, 399, 2000] {
            assert!(matches!(ClientError::custom(code, "x", false), Err(CodeRefused::OutOfRange { .. })), "{code}");
        }
    }
}
