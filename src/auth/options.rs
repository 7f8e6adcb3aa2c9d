//! What tokens, hooks and the server API alike say of a payload or a subscription, in the same JSON.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Overrides, ServerSub};

/// What others are told of a client goes with each of its publications, as a header, of which a stream takes 64 KiB in all.
pub const INFO_LIMIT: usize = 8 << 10;

/// A user's id goes with each publication of its clients as well, in their presence and into logs.
pub const USER_LIMIT: usize = 1 << 10;

/// Why a field cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{0} is not in base64")]
    NotBase64(&'static str),
    #[error("info has {0} bytes, and may have {limit}", limit = INFO_LIMIT)]
    InfoTooLong(usize),
}

/// A user's id that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user's id has {0} bytes, and may have {limit}", limit = USER_LIMIT)]
pub struct UserTooLong(usize);

/// Options of one subscription as they are written.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct SubscribeOptions {
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    #[serde(rename = "override")]
    overrides: Option<OverrideOptions>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OverrideOptions {
    presence: Option<BoolValue>,
    join_leave: Option<BoolValue>,
    force_push_join_leave: Option<BoolValue>,
    force_positioning: Option<BoolValue>,
    force_recovery: Option<BoolValue>,
}

#[derive(Deserialize)]
struct BoolValue {
    #[serde(default)]
    value: bool,
}

impl SubscribeOptions {
    /// The subscription to `channel` with these options.
    ///
    /// # Errors
    /// When `b64info` or `b64data` is not in base64, or the info too long.
    pub fn subscription(self, channel: String) -> Result<ServerSub, Unfit> {
        Ok(ServerSub {
            channel,
            info: info(self.info, self.b64info)?,
            data: either(self.data, self.b64data, "b64data")?,
            overrides: self.overrides.map(Overrides::from).unwrap_or_default(),
        })
    }
}

impl From<OverrideOptions> for Overrides {
    fn from(options: OverrideOptions) -> Self {
        let value = |option: Option<BoolValue>| option.map(|option| option.value);
        Self {
            presence: value(options.presence),
            join_leave: value(options.join_leave),
            force_push_join_leave: value(options.force_push_join_leave),
            force_positioning: value(options.force_positioning),
            force_recovery: value(options.force_recovery),
        }
    }
}

/// Subscriptions with options, by channel; `null` is none.
pub type Subs = BTreeMap<String, Option<SubscribeOptions>>;

/// # Errors
/// When a `b64info` or `b64data` is not in base64, or an info too long.
pub fn subscriptions(subs: Subs) -> Result<Vec<ServerSub>, Unfit> {
    subs.into_iter().map(|(channel, options)| options.unwrap_or_default().subscription(channel)).collect()
}

/// Subscriptions without options, each channel once.
#[must_use]
pub fn plain_subscriptions(channels: Vec<String>) -> Vec<ServerSub> {
    let mut subs: Vec<ServerSub> = Vec::with_capacity(channels.len());
    for channel in channels {
        if !subs.iter().any(|sub| sub.channel == channel) {
            subs.push(ServerSub { channel, ..ServerSub::default() });
        }
    }
    subs
}

/// What others are told of a client, from its two forms.
///
/// # Errors
/// When it is not in base64, or too long.
pub fn info(json: Option<Box<RawValue>>, base64: Option<String>) -> Result<Option<Bytes>, Unfit> {
    match either(json, base64, "b64info")? {
        Some(info) if info.len() > INFO_LIMIT => Err(Unfit::InfoTooLong(info.len())),
        info => Ok(info),
    }
}

/// A user's id.
///
/// # Errors
/// When it is too long.
pub fn user(id: String) -> Result<String, UserTooLong> {
    if id.len() > USER_LIMIT { Err(UserTooLong(id.len())) } else { Ok(id) }
}

/// A payload from its two forms; base64, in the field `name`, counts where both are there.
///
/// # Errors
/// When it is not in base64.
pub fn either(json: Option<Box<RawValue>>, base64: Option<String>, name: &'static str) -> Result<Option<Bytes>, Unfit> {
    match base64.filter(|text| !text.is_empty()) {
        None => Ok(json.map(|json| on_one_line(&json))),
        Some(text) => BASE64_STANDARD.decode(text).map(|bytes| Some(bytes.into())).map_err(|_| Unfit::NotBase64(name)),
    }
}

/// Messages are separated by newlines, so JSON that travels inside them must have none. In valid JSON they are only
/// ever whitespace between tokens.
#[must_use]
pub fn on_one_line(json: &RawValue) -> Bytes {
    let text = json.get();
    if text.contains(['\n', '\r']) {
        text.replace(['\n', '\r'], "").into()
    } else {
        Bytes::copy_from_slice(text.as_bytes())
    }
}

/// An expiry in Unix seconds; 0 and less is never.
#[must_use]
pub fn expiry(expire_at: i64) -> Option<u64> {
    u64::try_from(expire_at).ok().filter(|at| *at > 0)
}
