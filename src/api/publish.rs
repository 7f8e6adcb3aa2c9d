//! `publish` and `broadcast`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;

use super::command::{or_null, payload};
use super::reply::Envelope;
use super::{Api, ApiError};
use crate::backplane::{Meta, Outgoing, PublishError, Version};
use crate::protocol::Channel;
use crate::protocol::centrifuge::Encoding;
use crate::relay::fitting;
use crate::telemetry::Source;

/// Publications of one broadcast that are on their way at one time.
const CONCURRENCY: usize = 64;

/// What is published: to `channel` by publish, to `channels` by broadcast.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct PublishRequest {
    #[serde(deserialize_with = "or_null")]
    channel: String,
    #[serde(deserialize_with = "or_null")]
    channels: Vec<String>,
    #[serde(deserialize_with = "payload")]
    data: Option<Box<RawValue>>,
    /// Counts in place of `data` where set.
    #[serde(deserialize_with = "or_null")]
    b64data: String,
    #[serde(deserialize_with = "or_null")]
    skip_history: bool,
    #[serde(deserialize_with = "or_null")]
    tags: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_null")]
    idempotency_key: String,
    /// 0 is none.
    #[serde(deserialize_with = "or_null")]
    version: u64,
    #[serde(deserialize_with = "or_null")]
    version_epoch: String,
    /// Sent as a patch to subscribers who asked for patches.
    #[serde(deserialize_with = "or_null")]
    delta: bool,
}

/// Where a publication stands; empty where it was not stored.
#[derive(Debug, Serialize, Default)]
pub(super) struct PublishResult {
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    epoch: String,
}

#[derive(Serialize)]
pub(super) struct BroadcastResult {
    /// In the order of the channels.
    responses: Vec<Envelope<PublishResult>>,
}

/// A publication that still lacks its channel.
struct Content {
    message: Outgoing,
    /// Base64 may hold anything, as the Protobuf wire may.
    encoding: Encoding,
}

impl PublishRequest {
    fn content(&self) -> Result<Content, ApiError> {
        let (data, encoding) = if self.b64data.is_empty() {
            let text = self.data.as_deref().map_or("", RawValue::get);
            (Bytes::copy_from_slice(text.as_bytes()), Encoding::Json)
        } else {
            let data = BASE64_STANDARD.decode(&self.b64data);
            let data = data.map_err(|error| ApiError::Invalid(format!("b64data: {error}")))?;
            (data.into(), Encoding::Protobuf)
        };
        let tags = self.tags.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let version = Version { number: self.version, epoch: self.version_epoch.clone() };
        let message = Outgoing {
            data,
            meta: Meta { tags, delta: self.delta, ..Meta::default() },
            idempotency_key: Some(self.idempotency_key.clone()).filter(|key| !key.is_empty()),
            version: (self.version > 0).then_some(version),
            skip_history: self.skip_history,
        };
        Ok(Content { message, encoding })
    }
}

impl Api {
    pub(super) async fn publish(&self, request: &PublishRequest, source: Source) -> Result<PublishResult, ApiError> {
        self.publish_to(&request.channel, &request.content()?, source).await
    }

    pub(super) async fn broadcast(
        &self,
        request: &PublishRequest,
        source: Source,
    ) -> Result<BroadcastResult, ApiError> {
        if request.channels.is_empty() {
            return Err(ApiError::Invalid("channels is empty".to_owned()));
        }
        let content = request.content()?;
        let channels = &request.channels;
        let publications = stream::iter(0..channels.len()).map(|i| self.publish_to(&channels[i], &content, source));
        let responses = publications.buffered(CONCURRENCY).map(Envelope::from);
        Ok(BroadcastResult { responses: responses.collect().await })
    }

    /// Publishes an event of Socket.IO, which is JSON, in the room that a channel is.
    pub(super) async fn publish_event(
        &self,
        channel: &Channel,
        event: &Bytes,
        source: Source,
    ) -> Result<PublishResult, ApiError> {
        let message = Outgoing { data: event.clone(), ..Outgoing::default() };
        self.publish_to(channel.as_str(), &Content { message, encoding: Encoding::Json }, source).await
    }

    async fn publish_to(&self, channel: &str, content: &Content, source: Source) -> Result<PublishResult, ApiError> {
        let (channel, namespace) = self.channel(channel)?;
        let data = fitting(namespace.publication_data_format, content.encoding, content.message.data.clone());
        let data = data.ok_or_else(|| unfit(&content.message.data, &namespace.name))?;
        let message = Outgoing { data, ..content.message.clone() };
        let published = self.relay.publish(&channel, message, source).await;
        let position = published.map_err(|error| refusal(&channel, &error))?.position;
        Ok(position.map_or_else(PublishResult::default, |position| PublishResult {
            offset: position.offset.0,
            epoch: position.epoch.to_string(),
        }))
    }
}

/// Data that a namespace does not take.
fn unfit(data: &Bytes, namespace: &str) -> ApiError {
    let why = if data.is_empty() {
        "data is not set".to_owned()
    } else {
        format!("data is not what publication_data_format of namespace {namespace:?} says")
    };
    ApiError::Invalid(why)
}

pub(super) fn refusal(channel: &Channel, error: &PublishError) -> ApiError {
    match error {
        // The caller can do better, the node cannot.
        PublishError::TooLarge { .. } => return ApiError::Invalid(error.to_string()),
        PublishError::Unavailable(_) | PublishError::Refused(_) | PublishError::Unknown(_) => {}
    }
    warn!(namespace = channel.namespace(), %error, "publication of a backend not acknowledged");
    match error {
        PublishError::Unknown(_) => ApiError::OutcomeUnknown,
        PublishError::Unavailable(why) => ApiError::Unavailable(why.clone()),
        PublishError::Refused(_) | PublishError::TooLarge { .. } => ApiError::Internal,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_zero(offset: &u64) -> bool {
    *offset == 0
}
