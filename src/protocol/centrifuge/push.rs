//! What the server says unasked.

use std::fmt;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::codes::{Disconnect, UnsubscribeCode};
use super::encode::{Encode, Fields, Length, Writer};
use super::message::messages;
use super::publication::{ClientInfo, Publication};
use super::result::ConnectResult;
use super::server_subs::ServerSubscription;
use crate::protocol::Channel;

/// What the server says unasked. Bidirectional connections get it inside a [`Reply`](super::Reply), unidirectional ones
/// as it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Push {
    Publication {
        channel: Channel,
        publication: Publication,
    },
    Join {
        channel: Channel,
        info: ClientInfo,
    },
    Leave {
        channel: Channel,
        info: ClientInfo,
    },
    /// The subscription is over.
    Unsubscribe {
        channel: Channel,
        code: UnsubscribeCode,
    },
    /// The server has subscribed the client.
    Subscribe {
        channel: Channel,
        subscription: SubscribePush,
    },
    /// A message without a channel.
    Message {
        data: Bytes,
    },
    /// First of all on a unidirectional connection.
    Connect(Box<ConnectPush>),
    /// Last of all where there is no close frame to say so.
    Disconnect(Disconnect),
    /// The connection's expiry has changed. `ttl` is made by [`ttl`](super::ttl).
    Refresh {
        expires: bool,
        ttl: u32,
    },
}

messages! {
    /// A server-side subscription.
    SubscribePush {
        recoverable: bool = (bool, tag = "1"),
        epoch: String = (string, tag = "4"),
        offset: u64 = (uint64, tag = "5"),
        positioned: bool = (bool, tag = "6"),
        data: Bytes = (bytes = "bytes", tag = "7"),
    }

    /// What a unidirectional client has in place of a connect result. Does not print its session, which is a secret.
    #[prost(skip_debug)]
    ConnectPush {
        client: String = (string, tag = "1"),
        version: String = (string, tag = "2"),
        data: Bytes = (bytes = "bytes", tag = "3"),
        subs: Vec<ServerSubscription> = (message, repeated, tag = "4"),
        expires: bool = (bool, tag = "5"),
        /// Made by [`ttl`](super::ttl), if `expires`.
        ttl: u32 = (uint32, tag = "6"),
        /// Seconds between the server's pings.
        ping: u32 = (uint32, tag = "7"),
        pong: bool = (bool, tag = "8"),
        session: String = (string, tag = "9"),
        node: String = (string, tag = "10"),
        /// The server's clock, Unix milliseconds.
        time: i64 = (int64, tag = "11"),
    }

    InfoFields {
        info: Option<ClientInfo> = (message, optional, tag = "1"),
    }

    UnsubscribeFields {
        code: u32 = (uint32, tag = "2"),
        reason: String = (string, tag = "3"),
    }

    MessageFields {
        data: Bytes = (bytes = "bytes", tag = "1"),
    }

    DisconnectFields {
        code: u32 = (uint32, tag = "1"),
        reason: String = (string, tag = "2"),
    }

    RefreshFields {
        expires: bool = (bool, tag = "1"),
        ttl: u32 = (uint32, tag = "2"),
    }
}

impl fmt::Debug for ConnectPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectPush").field("client", &self.client).field("subs", &self.subs).finish_non_exhaustive()
    }
}

impl From<ConnectResult> for ConnectPush {
    fn from(result: ConnectResult) -> Self {
        let ConnectResult { client, version, expires, ttl, data, subs, ping, pong, session, node, time, flag: _ } =
            result;
        Self { client, version, data, subs, expires, ttl, ping, pong, session, node, time }
    }
}

const CHANNEL: u32 = 2;

impl Push {
    /// The channel that the push belongs to.
    #[must_use]
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Self::Publication { channel, .. }
            | Self::Join { channel, .. }
            | Self::Leave { channel, .. }
            | Self::Unsubscribe { channel, .. }
            | Self::Subscribe { channel, .. } => Some(channel),
            Self::Message { .. } | Self::Connect(_) | Self::Disconnect(_) | Self::Refresh { .. } => None,
        }
    }

    /// Hands over the one field of the schema's message that says what happened.
    fn event<F: Fields>(&self, fields: F) -> F::Output {
        match self {
            Self::Publication { publication, .. } => fields.field(4, "pub", publication),
            Self::Join { info, .. } => fields.field(5, "join", &InfoFields { info: Some(info.clone()) }),
            Self::Leave { info, .. } => fields.field(6, "leave", &InfoFields { info: Some(info.clone()) }),
            Self::Unsubscribe { code, .. } => {
                let message = UnsubscribeFields { code: code.code(), reason: code.reason().to_owned() };
                fields.field(7, "unsubscribe", &message)
            }
            Self::Message { data } => fields.field(8, "message", &MessageFields { data: data.clone() }),
            Self::Subscribe { subscription, .. } => fields.field(9, "subscribe", subscription),
            Self::Connect(connect) => fields.field(10, "connect", &**connect),
            Self::Disconnect(disconnect) => {
                let reason = disconnect.reason().to_owned();
                fields.field(11, "disconnect", &DisconnectFields { code: disconnect.code().into(), reason })
            }
            Self::Refresh { expires, ttl } => {
                fields.field(12, "refresh", &RefreshFields { expires: *expires, ttl: *ttl })
            }
        }
    }
}

impl Serialize for Push {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(channel) = self.channel() {
            map.serialize_entry("channel", channel.as_str())?;
        }
        self.event(&mut map)?;
        map.end()
    }
}

impl Encode for Push {
    fn protobuf_len(&self) -> usize {
        let channel = self.channel().map_or(0, |channel| Length::of_text(CHANNEL, channel.as_str()));
        channel + self.event(Length)
    }

    fn write_protobuf(&self, buffer: &mut Vec<u8>) {
        if let Some(channel) = self.channel() {
            Writer::text(CHANNEL, channel.as_str(), buffer);
        }
        self.event(Writer(buffer));
    }
}
