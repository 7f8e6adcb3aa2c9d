//! What the server says to a bidirectional connection.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::codes::{ClientError, ErrorCode};
use super::encode::{Encode, Fields, Length, Writer};
use super::message::messages;
use super::push::Push;
use super::result::{
    ConnectResult, HistoryResult, PingResult, PresenceResult, PresenceStatsResult, PublishResult, RefreshResult,
    RpcResult, SubRefreshResult, SubscribeResult, UnsubscribeResult,
};

/// The answer to one command; or, with id 0, a push or a ping.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    /// The command's.
    pub id: u32,
    pub result: ReplyResult,
}

/// What a reply says.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ReplyResult {
    /// With id 0: the server's ping.
    #[default]
    Nothing,
    Error(ClientError),
    Push(Push),
    Connect(ConnectResult),
    Subscribe(SubscribeResult),
    Unsubscribe(UnsubscribeResult),
    Publish(PublishResult),
    Presence(PresenceResult),
    PresenceStats(PresenceStatsResult),
    History(HistoryResult),
    Ping(PingResult),
    Rpc(RpcResult),
    Refresh(RefreshResult),
    SubRefresh(SubRefreshResult),
}

messages! {
    ErrorFields {
        code: u32 = (uint32, tag = "1"),
        message: String = (string, tag = "2"),
        temporary: bool = (bool, tag = "3"),
    }
}

const ID: u32 = 1;

impl Reply {
    /// The server's ping.
    pub const PING: Self = Self { id: 0, result: ReplyResult::Nothing };

    /// A command's failure.
    #[must_use]
    pub fn error(id: u32, error: impl Into<ClientError>) -> Self {
        Self { id, result: ReplyResult::Error(error.into()) }
    }

    /// Hands over the one field of the schema's message that says what happened; `None` for a ping.
    fn outcome<F: Fields>(&self, fields: F) -> Option<F::Output> {
        Some(match &self.result {
            ReplyResult::Nothing => return None,
            ReplyResult::Error(error) => {
                let (code, message) = (error.code(), error.message().to_owned());
                fields.field(2, "error", &ErrorFields { code, message, temporary: error.temporary() })
            }
            ReplyResult::Push(push) => fields.field(4, "push", push),
            ReplyResult::Connect(result) => fields.field(5, "connect", result),
            ReplyResult::Subscribe(result) => fields.field(6, "subscribe", result),
            ReplyResult::Unsubscribe(result) => fields.field(7, "unsubscribe", result),
            ReplyResult::Publish(result) => fields.field(8, "publish", result),
            ReplyResult::Presence(result) => fields.field(9, "presence", result),
            ReplyResult::PresenceStats(result) => fields.field(10, "presence_stats", result),
            ReplyResult::History(result) => fields.field(11, "history", result),
            ReplyResult::Ping(result) => fields.field(12, "ping", result),
            ReplyResult::Rpc(result) => fields.field(13, "rpc", result),
            ReplyResult::Refresh(result) => fields.field(14, "refresh", result),
            ReplyResult::SubRefresh(result) => fields.field(15, "sub_refresh", result),
        })
    }
}

impl From<Push> for Reply {
    fn from(push: Push) -> Self {
        Self { id: 0, result: ReplyResult::Push(push) }
    }
}

impl From<ClientError> for ReplyResult {
    fn from(error: ClientError) -> Self {
        Self::Error(error)
    }
}

impl From<ErrorCode> for ReplyResult {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code.into())
    }
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.id != 0 {
            map.serialize_entry("id", &self.id)?;
        }
        self.outcome(&mut map).transpose()?;
        map.end()
    }
}

impl Encode for Reply {
    fn protobuf_len(&self) -> usize {
        let id = if self.id == 0 { 0 } else { Length::of_number(ID, self.id) };
        id + self.outcome(Length).unwrap_or(0)
    }

    fn write_protobuf(&self, buffer: &mut Vec<u8>) {
        if self.id != 0 {
            Writer::number(ID, self.id, buffer);
        }
        self.outcome(Writer(buffer));
    }
}
