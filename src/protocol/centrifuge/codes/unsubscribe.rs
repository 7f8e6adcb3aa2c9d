//! Why the server ends subscriptions.

/// The protocol's own reasons to end a subscription by a push.
///
/// From 2500 on the client subscribes again, with recovery if it has a position; below it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnsubscribeCode {
    /// 2000, final: the application ended it.
    Server,
    /// 2500: publications were lost; the client recovers them by subscribing again.
    Insufficient,
    /// 2501: the subscription's token ran out.
    Expired,
    /// 2502: the client must drop the subscription's token and position.
    StateInvalidated,
}

impl UnsubscribeCode {
    /// The whole table.
    pub const ALL: [Self; 4] = [Self::Server, Self::Insufficient, Self::Expired, Self::StateInvalidated];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Server => 2000,
            Self::Insufficient => 2500,
            Self::Expired => 2501,
            Self::StateInvalidated => 2502,
        }
    }

    /// The text on the wire. Without one, some SDKs end the whole connection for good.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Server => "server unsubscribe",
            Self::Insufficient => "insufficient state",
            Self::Expired => "subscription expired",
            Self::StateInvalidated => "state invalidated",
        }
    }

    /// Whether clients subscribe again by themselves.
    #[must_use]
    pub const fn resubscribe(self) -> bool {
        self.code() >= 2500
    }
}
