//! Calls as they are read from JSON.
//!
//! As in Go, unknown fields are ignored and `null` is a field's zero value. It is none of a whole call.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Method;
use super::busiest::BusiestRequest;
use super::channels::ChannelsRequest;
use super::connections::ConnectionsRequest;
use super::history::HistoryRemoveRequest;
use super::presence::PresenceRequest;
use super::publish::PublishRequest;
use super::revocations::{InvalidateUserTokensRequest, RevokeTokenRequest};
use super::rpc::RpcRequest;
use crate::protocol::centrifuge::HistoryRequest;

/// One call, read; a batch is none, it holds them.
#[derive(Debug)]
pub(super) enum Command {
    Publish(Box<PublishRequest>),
    Broadcast(Box<PublishRequest>),
    History(HistoryRequest),
    HistoryRemove(HistoryRemoveRequest),
    Channels(ChannelsRequest),
    Connections(ConnectionsRequest),
    BusiestChannels(BusiestRequest),
    Namespaces,
    Info,
    Rpc(RpcRequest),
    /// About a user's connections: a method, and its parameters as they came.
    Sessions(Method, Box<RawValue>),
    /// About sockets: the same.
    SocketIo(Method, Box<RawValue>),
    RevokeToken(RevokeTokenRequest),
    InvalidateUserTokens(InvalidateUserTokensRequest),
    Presence(PresenceRequest),
    PresenceStats(PresenceRequest),
}

/// The body is not the JSON that is wanted, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed body: {0}")]
pub(super) struct Malformed(pub(super) String);

impl Command {
    /// Reads the body of a call to `method`.
    pub(super) fn decode(method: Method, body: &[u8]) -> Result<Self, Malformed> {
        Ok(match method {
            Method::Publish => Self::Publish(decode(body)?),
            Method::Broadcast => Self::Broadcast(decode(body)?),
            Method::History => Self::History(decode(body)?),
            Method::HistoryRemove => Self::HistoryRemove(decode(body)?),
            Method::Channels => Self::Channels(decode(body)?),
            Method::Connections => Self::Connections(decode(body)?),
            Method::BusiestChannels => Self::BusiestChannels(decode(body)?),
            Method::Namespaces => decode(body).map(|Nothing {}| Self::Namespaces)?,
            Method::Info => decode(body).map(|Nothing {}| Self::Info)?,
            Method::Rpc => Self::Rpc(decode(body)?),
            Method::Subscribe | Method::Unsubscribe | Method::Disconnect | Method::Refresh => {
                Self::Sessions(method, decode(body)?)
            }
            Method::SocketIoEmit
            | Method::SocketIoJoin
            | Method::SocketIoLeave
            | Method::SocketIoDisconnect
            | Method::SocketIoSockets => Self::SocketIo(method, decode(body)?),
            Method::RevokeToken => Self::RevokeToken(decode(body)?),
            Method::InvalidateUserTokens => Self::InvalidateUserTokens(decode(body)?),
            Method::Presence => Self::Presence(decode(body)?),
            Method::PresenceStats => Self::PresenceStats(decode(body)?),
            Method::Batch => return Err(Malformed("a batch holds calls, and is none".to_owned())),
        })
    }

    /// The method that is called.
    pub(super) const fn method(&self) -> Method {
        match self {
            Self::Publish(_) => Method::Publish,
            Self::Broadcast(_) => Method::Broadcast,
            Self::History(_) => Method::History,
            Self::HistoryRemove(_) => Method::HistoryRemove,
            Self::Channels(_) => Method::Channels,
            Self::Connections(_) => Method::Connections,
            Self::BusiestChannels(_) => Method::BusiestChannels,
            Self::Namespaces => Method::Namespaces,
            Self::Info => Method::Info,
            Self::Rpc(_) => Method::Rpc,
            Self::RevokeToken(_) => Method::RevokeToken,
            Self::InvalidateUserTokens(_) => Method::InvalidateUserTokens,
            Self::Presence(_) => Method::Presence,
            Self::PresenceStats(_) => Method::PresenceStats,
            Self::Sessions(method, _) | Self::SocketIo(method, _) => *method,
        }
    }
}

/// An object of which nothing matters.
#[derive(Deserialize, Default)]
pub(super) struct Nothing {}

/// Reads an object, and nothing else: serde would take a list for one whose names are left out.
pub(super) fn decode<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Malformed> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Malformed("no JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| Malformed(error.to_string()))
}

/// For fields whose zero value may be written as `null`.
pub(super) fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// For payloads, where `null` is a value like any other.
pub(super) fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}
