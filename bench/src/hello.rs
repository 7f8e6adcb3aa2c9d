//! What clients of a swarm say when they come, and how they take what they hear.

use serde_json::{Value, json};

use crate::wire;

/// Where clients of the Centrifuge protocol connect.
pub const CENTRIFUGE: &str = "/connection/websocket";

/// What a client says once its socket is open.
pub enum Hello {
    /// Connects with a token of its own.
    Connect,
    /// And subscribes, with one of these parameters after the other.
    Subscribe(Vec<Value>),
    /// And subscribes to all that this says for its number in the swarm.
    Own(Box<dyn Fn(usize) -> Vec<Value>>),
    /// Speaks Socket.IO, and comes into the main namespace with a token of its own.
    SocketIo,
}

/// What a message of the server means.
pub enum Means {
    /// Answer with this.
    Ping(&'static [u8]),
    /// Somebody came or went, as [`wire::told`] puts it.
    Presence(String),
    Delivery,
    /// An answer to what the client said.
    Reply,
    Nothing,
}

impl Hello {
    /// All subscribe to one channel.
    pub fn to(channel: &str) -> Self {
        Self::Subscribe(vec![json!({ "channel": channel })])
    }

    /// Where the socket is upgraded.
    pub const fn path(&self) -> &'static str {
        match self {
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
            Self::Connect | Self::Subscribe(_) | Self::Own(_) => CENTRIFUGE,
        }
    }

    /// The first frame of the client with this number, and the number of replies without which it is not ready.
    pub fn said_by(&self, index: usize) -> anyhow::Result<(Vec<u8>, usize)> {
        let user = format!("user-{index}");
        let subscriptions = match self {
            Self::SocketIo => {
                let auth = json!({ "token": wire::token(&user)? });
                return Ok((wire::masked_text(format!("40{auth}").as_bytes()), 1));
            }
            Self::Connect => Vec::new(),
            Self::Subscribe(all) => all.get(index % all.len().max(1)).cloned().into_iter().collect(),
            Self::Own(of) => of(index),
        };
        Ok((wire::hello(&user, &subscriptions)?, subscriptions.len().max(1)))
    }

    /// What stands in the replies without which a client is not ready.
    pub const fn last_reply(&self) -> &'static [u8] {
        match self {
            Self::Connect => b"\"connect\"",
            Self::Subscribe(_) | Self::Own(_) => b"\"subscribe\"",
            Self::SocketIo => b"\"sid\"",
        }
    }

    pub fn means(&self, message: &[u8]) -> Means {
        match self {
            Self::SocketIo => match message {
                b"2" => Means::Ping(b"3"),
                [b'0', ..] => Means::Nothing,
                [b'4', b'2', ..] => Means::Delivery,
                _ => Means::Reply,
            },
            Self::Connect | Self::Subscribe(_) | Self::Own(_) => match message {
                b"{}" => Means::Ping(b"{}"),
                _ if !message.starts_with(b"{\"push\"") => Means::Reply,
                _ => wire::told(message).map_or(Means::Delivery, Means::Presence),
            },
        }
    }
}
