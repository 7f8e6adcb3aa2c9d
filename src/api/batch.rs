//! `batch`: several calls in one.

use futures_util::StreamExt;
use futures_util::stream;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::busiest::BusiestRequest;
use super::channels::ChannelsRequest;
use super::command::{Command, Nothing, or_null};
use super::connections::ConnectionsRequest;
use super::history::HistoryRemoveRequest;
use super::presence::PresenceRequest;
use super::publish::PublishRequest;
use super::revocations::{InvalidateUserTokensRequest, RevokeTokenRequest};
use super::rpc::RpcRequest;
use super::{Answer, Api, ApiError, Method, written};
use crate::protocol::centrifuge::HistoryRequest;
use crate::telemetry::Source;

/// Calls of one parallel batch that are on their way at one time.
const CONCURRENCY: usize = 64;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct BatchRequest {
    #[serde(deserialize_with = "or_null")]
    commands: Vec<Option<Item>>,
    /// In any order, and the replies still in that of the calls.
    #[serde(deserialize_with = "or_null")]
    parallel: bool,
}

/// One call, under its method's name; the first one counts where there are several.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Item {
    publish: Option<Box<PublishRequest>>,
    broadcast: Option<Box<PublishRequest>>,
    subscribe: Option<Box<RawValue>>,
    unsubscribe: Option<Box<RawValue>>,
    disconnect: Option<Box<RawValue>>,
    history: Option<HistoryRequest>,
    history_remove: Option<HistoryRemoveRequest>,
    presence: Option<PresenceRequest>,
    presence_stats: Option<PresenceRequest>,
    info: Option<Nothing>,
    rpc: Option<RpcRequest>,
    refresh: Option<Box<RawValue>>,
    channels: Option<ChannelsRequest>,
    connections: Option<ConnectionsRequest>,
    busiest_channels: Option<BusiestRequest>,
    namespaces: Option<Nothing>,
    revoke_token: Option<RevokeTokenRequest>,
    invalidate_user_tokens: Option<InvalidateUserTokensRequest>,
}

impl Item {
    fn command(self) -> Option<Command> {
        let sessions = |method| move |params| Command::Sessions(method, params);
        self.publish
            .map(Command::Publish)
            .or_else(|| self.broadcast.map(Command::Broadcast))
            .or_else(|| self.subscribe.map(sessions(Method::Subscribe)))
            .or_else(|| self.unsubscribe.map(sessions(Method::Unsubscribe)))
            .or_else(|| self.disconnect.map(sessions(Method::Disconnect)))
            .or_else(|| self.history.map(Command::History))
            .or_else(|| self.history_remove.map(Command::HistoryRemove))
            .or_else(|| self.presence.map(Command::Presence))
            .or_else(|| self.presence_stats.map(Command::PresenceStats))
            .or_else(|| self.info.map(|Nothing {}| Command::Info))
            .or_else(|| self.rpc.map(Command::Rpc))
            .or_else(|| self.refresh.map(sessions(Method::Refresh)))
            .or_else(|| self.channels.map(Command::Channels))
            .or_else(|| self.connections.map(Command::Connections))
            .or_else(|| self.busiest_channels.map(Command::BusiestChannels))
            .or_else(|| self.namespaces.map(|Nothing {}| Command::Namespaces))
            .or_else(|| self.revoke_token.map(Command::RevokeToken))
            .or_else(|| self.invalidate_user_tokens.map(Command::InvalidateUserTokens))
    }
}

#[derive(Serialize)]
struct BatchReply {
    replies: Vec<ItemReply>,
}

/// `{"publish":{…}}` without another `result` inside, or `{"error":{…}}`.
struct ItemReply {
    method: &'static str,
    answer: Answer,
}

impl Serialize for ItemReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match &self.answer {
            Ok(result) => map.serialize_entry(self.method, result)?,
            Err(error) => map.serialize_entry("error", &error.body())?,
        }
        map.end()
    }
}

impl Api {
    pub(super) async fn batch(&self, request: BatchRequest, source: Source) -> Answer {
        let at_once = if request.parallel { CONCURRENCY } else { 1 };
        let replies = stream::iter(request.commands).map(|item| self.reply_to(item, source)).buffered(at_once);
        written(&BatchReply { replies: replies.collect().await })
    }

    async fn reply_to(&self, item: Option<Item>, source: Source) -> ItemReply {
        let refused = |error| ItemReply { method: "", answer: Err(error) };
        let Some(item) = item else { return refused(ApiError::Invalid("a command is null".to_owned())) };
        let Some(command) = item.command() else { return refused(ApiError::NotFound) };
        let method = command.method().name();
        ItemReply { method, answer: self.run(command, source).await }
    }
}
