//! What a believed token grants.

use bytes::Bytes;

/// What a connection token grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionGrant {
    /// `""` is an anonymous user.
    pub user: String,
    /// `conn_info` of the client: JSON on one line, or whatever `b64info` held.
    pub info: Option<Bytes>,
    /// JSON for hooks only, never for clients.
    pub meta: Option<Bytes>,
    /// When the connection expires, in Unix seconds; `None` is never. May lie in the past by as much as the leeway.
    pub expires_at: Option<u64>,
    /// Server-side subscriptions, each channel once, as the token names them: neither parsed nor known to exist.
    pub subs: Vec<ServerSub>,
    /// `jti`, for revocation.
    pub token_id: Option<String>,
    /// `iat`, for revocation: Unix seconds.
    pub issued_at: Option<u64>,
}

/// A server-side subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSub {
    pub channel: String,
    /// `chan_info` of the client in this channel: JSON on one line, or whatever `b64info` held.
    pub info: Option<Bytes>,
    /// Goes to the client with the subscription: JSON on one line, or whatever `b64data` held.
    pub data: Option<Bytes>,
    pub overrides: Overrides,
}

/// What a subscription token grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriptionGrant {
    /// The only user who may use it.
    pub user: String,
    /// The only channel it opens.
    pub channel: String,
    /// The only client who may use it, where the token names one.
    pub client: Option<String>,
    /// `chan_info` of the client in this channel: JSON on one line, or whatever `b64info` held.
    pub info: Option<Bytes>,
    /// Goes to the client with the subscription: JSON on one line, or whatever `b64data` held.
    pub data: Option<Bytes>,
    /// When the subscription expires, in Unix seconds; `None` is never. May lie in the past by as much as the leeway.
    pub expires_at: Option<u64>,
    pub overrides: Overrides,
    /// `jti`, for revocation.
    pub token_id: Option<String>,
    /// `iat`, for revocation: Unix seconds.
    pub issued_at: Option<u64>,
}

/// Options that take the place of the namespace's for one subscription; `None` leaves the namespace's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    pub presence: Option<bool>,
    pub join_leave: Option<bool>,
    pub force_push_join_leave: Option<bool>,
    pub force_positioning: Option<bool>,
    pub force_recovery: Option<bool>,
}
