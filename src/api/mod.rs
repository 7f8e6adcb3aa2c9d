//! The server API: what backends may ask of the cluster, apart from how they ask it.
//!
//! Methods, JSON and error numbers are those of Centrifugo's HTTP API (`internal/apiproto/api.proto`), so that its
//! server libraries work. `http` and [`requests`] bring calls in, each with a method's name and a body; every call ends
//! in a [`Reply`], whatever the body holds. Nothing here knows HTTP, and nothing here decides who may call.
//!
//! `info` tells what nodes say of themselves with every heartbeat; for `channels`,
//! `connections`, `busiest_channels` and `namespaces` all are asked.

mod batch;
mod busiest;
mod channels;
mod command;
mod connections;
mod error;
mod history;
mod info;
mod lately;
mod legacy;
mod method;
mod namespaces;
mod presence;
mod publish;
mod reply;
pub mod requests;
mod revocations;
mod rpc;
mod sessions;
mod socketio;
mod survey;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tracing::error;

pub use error::ApiError;
pub use method::Method;
pub use reply::Reply;
pub use sessions::CONTROL;

use batch::BatchRequest;
use command::{Command, Malformed, decode};
use presence::{PresenceResult, PresenceStatsResult};

use crate::backplane::Backplane;
use crate::cluster::Cluster;
use crate::hooks::Hooks;
use crate::hub::Connections;
use crate::presence::Presence;
use crate::protocol::Channel;
use crate::relay::Relay;
use crate::revocation::Revocations;
use crate::settings::{Channels, Namespace, UnknownNamespace};
use crate::socketio::SocketIo;
use crate::telemetry::Source;

/// A method's result as JSON, or why there is none.
type Answer = Result<Box<RawValue>, ApiError>;

/// Answers calls of the server API, by the rooms of this node. Built once.
pub struct Api {
    pub relay: Arc<Relay>,
    pub presence: Arc<Presence>,
    pub backplane: Arc<dyn Backplane>,
    pub connections: Arc<Connections>,
    pub channels: Channels,
    pub hooks: Arc<Hooks>,
    pub cluster: Cluster,
    pub revocations: Arc<Revocations>,
    /// `None` where no namespaces of Socket.IO are declared.
    pub socketio: Option<Arc<SocketIo>>,
}

impl Api {
    /// Calls `method`; `source` is how the call came in.
    ///
    /// A dropped call may have done its work all the same.
    pub async fn call(&self, method: &str, body: &[u8], source: Source) -> Reply {
        let Some(method) = Method::parse(method) else {
            let absent = || ApiError::NotAvailable(format!("midplane has no {method}"));
            return Reply::Error(if Method::is_absent(method) { absent() } else { ApiError::NotFound });
        };
        let reply = match method {
            Method::Batch => self.call_batch(body, source).await,
            _ => match Command::decode(method, body) {
                Ok(command) => self.run(command, source).await.into(),
                Err(Malformed(why)) => Reply::Malformed(why),
            },
        };
        reply.noted(method)
    }

    async fn call_batch(&self, body: &[u8], source: Source) -> Reply {
        match decode::<BatchRequest>(body) {
            Ok(request) => self.batch(request, source).await.map_or_else(Reply::Error, Reply::Whole),
            Err(Malformed(why)) => Reply::Malformed(why),
        }
    }

    async fn run(&self, command: Command, source: Source) -> Answer {
        match command {
            Command::Publish(request) => written(&self.publish(&request, source).await?),
            Command::Broadcast(request) => written(&self.broadcast(&request, source).await?),
            Command::History(request) => written(&self.history(&request).await?),
            Command::HistoryRemove(request) => written(&self.history_remove(&request).await?),
            Command::Channels(request) => written(&self.channels(&request).await?),
            Command::Connections(request) => written(&self.connections(&request).await?),
            Command::BusiestChannels(request) => written(&self.busiest(&request).await?),
            Command::Namespaces => written(&self.namespaces().await?),
            Command::Info => written(&self.info()),
            Command::Rpc(request) => written(&self.rpc(request).await?),
            Command::Sessions(method, params) => written(&self.tell(method, &params).await?),
            Command::SocketIo(method, params) => self.socketio(method, &params, source).await,
            Command::RevokeToken(request) => written(&self.revoke_token(&request).await?),
            Command::InvalidateUserTokens(request) => written(&self.invalidate_user_tokens(&request).await?),
            Command::Presence(request) => written(&self.present::<PresenceResult>(&request).await?),
            Command::PresenceStats(request) => written(&self.present::<PresenceStatsResult>(&request).await?),
        }
    }

    /// The channel of this name, and its namespace.
    fn channel(&self, name: &str) -> Result<(Channel, &Arc<Namespace>), ApiError> {
        let channel = Channel::parse(name, self.channels.max_length);
        let channel = channel.map_err(|error| ApiError::Invalid(error.to_string()))?;
        let namespace =
            self.channels.namespaces.of(&channel).map_err(|UnknownNamespace(name)| ApiError::UnknownChannel(name))?;
        Ok((channel, namespace))
    }
}

/// A result without fields.
#[derive(Serialize)]
struct Empty {}

fn written(result: &impl Serialize) -> Answer {
    to_raw_value(result).map_err(|error| {
        error!(%error, "a result of the server API cannot be written");
        ApiError::Internal
    })
}
