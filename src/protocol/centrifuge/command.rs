//! One command of a client.

use super::decode::DecodeError;
use super::message::messages;
use super::request::{
    ConnectRequest, HistoryRequest, PingRequest, PresenceRequest, PresenceStatsRequest, PublishRequest, RefreshRequest,
    RpcRequest, SendRequest, SubRefreshRequest, SubscribeRequest, UnsubscribeRequest,
};

/// What a client asks for, and the number that its reply must carry.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Unique in its connection, not necessarily consecutive; 0 for sends and pongs.
    pub id: u32,
    pub method: Method,
}

/// What a client can ask for. Where a method needs a channel, the channel's name is not empty.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    Connect(Box<ConnectRequest>),
    Subscribe(Box<SubscribeRequest>),
    Unsubscribe(UnsubscribeRequest),
    Publish(PublishRequest),
    Presence(PresenceRequest),
    PresenceStats(PresenceStatsRequest),
    History(HistoryRequest),
    Rpc(RpcRequest),
    /// Gets no reply.
    Send(SendRequest),
    Refresh(RefreshRequest),
    SubRefresh(SubRefreshRequest),
    /// In the schema, but no SDK sends it.
    Ping,
    /// The answer to the server's ping. Gets no reply.
    Pong,
}

messages! {
    /// A command as the schema has it: any number of methods.
    CommandFields {
        id: u32 = (uint32, tag = "1"),
        connect: Option<ConnectRequest> = (message, optional, tag = "4"),
        subscribe: Option<SubscribeRequest> = (message, optional, tag = "5"),
        unsubscribe: Option<UnsubscribeRequest> = (message, optional, tag = "6"),
        publish: Option<PublishRequest> = (message, optional, tag = "7"),
        presence: Option<PresenceRequest> = (message, optional, tag = "8"),
        presence_stats: Option<PresenceStatsRequest> = (message, optional, tag = "9"),
        history: Option<HistoryRequest> = (message, optional, tag = "10"),
        ping: Option<PingRequest> = (message, optional, tag = "11"),
        send: Option<SendRequest> = (message, optional, tag = "12"),
        rpc: Option<RpcRequest> = (message, optional, tag = "13"),
        refresh: Option<RefreshRequest> = (message, optional, tag = "14"),
        sub_refresh: Option<SubRefreshRequest> = (message, optional, tag = "15"),
    }
}

impl CommandFields {
    /// The first method set is the one, in the order of the reference server's dispatch.
    fn into_method(self) -> Option<Method> {
        if self.id == 0 && self.send.is_none() {
            return Some(Method::Pong);
        }
        (self.connect.map(|request| Method::Connect(request.into())))
            .or(self.subscribe.map(|request| Method::Subscribe(request.into())))
            .or(self.unsubscribe.map(Method::Unsubscribe))
            .or(self.publish.map(Method::Publish))
            .or(self.presence.map(Method::Presence))
            .or(self.presence_stats.map(Method::PresenceStats))
            .or(self.history.map(Method::History))
            .or(self.rpc.map(Method::Rpc))
            .or(self.send.map(Method::Send))
            .or(self.refresh.map(Method::Refresh))
            .or(self.sub_refresh.map(Method::SubRefresh))
            .or(self.ping.map(|PingRequest {}| Method::Ping))
    }
}

impl TryFrom<CommandFields> for Command {
    type Error = DecodeError;

    fn try_from(fields: CommandFields) -> Result<Self, DecodeError> {
        let id = fields.id;
        let method = fields.into_method().ok_or(DecodeError::NoMethod { id })?;
        if method.channel().is_some_and(str::is_empty) {
            Err(DecodeError::NoChannel { id })
        } else {
            Ok(Self { id, method })
        }
    }
}

impl Method {
    /// The channel that the method is about.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        match self {
            Self::Subscribe(request) => Some(&request.channel),
            Self::Unsubscribe(request) => Some(&request.channel),
            Self::Publish(request) => Some(&request.channel),
            Self::Presence(request) => Some(&request.channel),
            Self::PresenceStats(request) => Some(&request.channel),
            Self::History(request) => Some(&request.channel),
            Self::SubRefresh(request) => Some(&request.channel),
            Self::Connect(_) | Self::Rpc(_) | Self::Send(_) | Self::Refresh(_) | Self::Ping | Self::Pong => None,
        }
    }

    /// The method's name in the schema, for logs and metric labels.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Publish(_) => "publish",
            Self::Presence(_) => "presence",
            Self::PresenceStats(_) => "presence_stats",
            Self::History(_) => "history",
            Self::Rpc(_) => "rpc",
            Self::Send(_) => "send",
            Self::Refresh(_) => "refresh",
            Self::SubRefresh(_) => "sub_refresh",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }
}
