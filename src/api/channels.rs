//! `channels`: who listens to what, on all nodes.

use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

use super::command::or_null;
use super::survey::CHANNELS;
use super::{Api, ApiError};

#[derive(Debug, Serialize, Deserialize, Default)]
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

#[derive(Serialize, Default)]
struct ChannelInfo {
    num_clients: usize,
}

/// Bytes of a pattern: matching takes time and room by its length.
const PATTERN_LIMIT: usize = 256;

impl ChannelsRequest {
    fn matcher(&self) -> Result<Option<GlobMatcher>, ApiError> {
        match &*self.pattern {
            "" => Ok(None),
            pattern if pattern.len() > PATTERN_LIMIT => {
                let long = pattern.len();
                Err(ApiError::Invalid(format!("pattern is {long} bytes long, at most {PATTERN_LIMIT} are allowed")))
            }
            pattern => match Glob::new(pattern) {
                Ok(pattern) => Ok(Some(pattern.compile_matcher())),
                Err(error) => Err(ApiError::Invalid(format!("pattern: {}", error.kind()))),
            },
        }
    }
}

impl Api {
    /// Channels with listeners anywhere, each with their number on all nodes.
    pub(super) async fn channels(&self, request: &ChannelsRequest) -> Result<ChannelsResult, ApiError> {
        request.matcher()?;
        let mut channels: BTreeMap<String, ChannelInfo> = BTreeMap::new();
        for (channel, here) in self.survey::<usize>(CHANNELS, request).await?.into_iter().flatten() {
            channels.entry(channel).or_default().num_clients += here;
        }
        Ok(ChannelsResult { channels })
    }

    /// Channels with listeners on this node.
    pub(super) fn channels_here(&self, request: &ChannelsRequest) -> Result<Vec<(String, usize)>, ApiError> {
        let pattern = request.matcher()?;
        let all = self.relay.channels().into_iter();
        let wanted =
            all.filter(|(channel, _)| pattern.as_ref().is_none_or(|pattern| pattern.is_match(channel.as_str())));
        Ok(wanted.map(|(channel, listeners)| (channel.to_string(), listeners)).collect())
    }
}
