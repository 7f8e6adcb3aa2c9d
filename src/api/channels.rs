//! `channels`: who listens to what on this node.

use std::collections::BTreeMap;

use globset::Glob;
use serde::{Deserialize, Serialize};

use super::command::or_null;
use super::{Api, ApiError};

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct ChannelsRequest {
    /// `chat:*`, `{news,sports}:[a-f]*`; everything where empty.
    #[serde(deserialize_with = "or_null")]
    pattern: String,
}

#[derive(Serialize)]
pub(super) struct ChannelsResult {
    channels: BTreeMap<String, ChannelInfo>,
}

#[derive(Serialize)]
struct ChannelInfo {
    num_clients: usize,
}

/// Bytes of a pattern: matching takes time and room by its length.
const PATTERN_LIMIT: usize = 256;

impl Api {
    pub(super) fn channels(&self, request: &ChannelsRequest) -> Result<ChannelsResult, ApiError> {
        let pattern = match &*request.pattern {
            "" => None,
            pattern if pattern.len() > PATTERN_LIMIT => return Err(ApiError::BadRequest),
            pattern => Some(Glob::new(pattern).map_err(|_| ApiError::BadRequest)?.compile_matcher()),
        };
        let all = self.relay.channels().into_iter();
        let wanted =
            all.filter(|(channel, _)| pattern.as_ref().is_none_or(|pattern| pattern.is_match(channel.as_str())));
        let channels = wanted.map(|(channel, num_clients)| (channel.to_string(), ChannelInfo { num_clients }));
        Ok(ChannelsResult { channels: channels.collect() })
    }
}
