//! The claims that turn into grants, by kind of token.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::registered::Registered;
use super::{ConnectionGrant, Overrides, ServerSub, SubscriptionGrant, TokenError, TokenKind};

#[derive(Deserialize)]
struct ConnectionClaims {
    #[serde(default)]
    info: Option<Box<RawValue>>,
    #[serde(default)]
    b64info: Option<String>,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(default)]
    subs: Option<BTreeMap<String, Option<SubscribeClaims>>>,
    #[serde(default)]
    meta: Option<Box<RawValue>>,
    #[serde(default)]
    expire_at: Option<i64>,
    #[serde(default)]
    channel: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct SubscriptionClaims {
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    client: Option<String>,
    #[serde(default)]
    expire_at: Option<i64>,
}

/// Options of one subscription; in a subscription token they stand beside the other claims.
#[derive(Deserialize, Default)]
struct SubscribeClaims {
    #[serde(default)]
    info: Option<Box<RawValue>>,
    #[serde(default)]
    b64info: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    b64data: Option<String>,
    #[serde(default, rename = "override")]
    overrides: Option<OverrideClaims>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OverrideClaims {
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

/// What the connection token with these claims grants.
pub fn connection(payload: &[u8], registered: Registered) -> Result<ConnectionGrant, TokenError> {
    let claims: ConnectionClaims = serde_json::from_slice(payload).map_err(TokenError::Claims)?;
    // Otherwise whoever got a token for one channel could connect with it.
    if claims.channel.is_some_and(|channel| channel.get() != "\"\"") {
        return Err(TokenError::WrongKind(TokenKind::Connection));
    }
    let subs = match claims.subs {
        Some(subs) if !subs.is_empty() => subs
            .into_iter()
            .map(|(channel, options)| options.unwrap_or_default().into_server_sub(channel))
            .collect::<Result<_, _>>()?,
        _ => plain_subs(claims.channels.unwrap_or_default()),
    };
    Ok(ConnectionGrant {
        user: registered.user,
        info: either(claims.info, claims.b64info, "b64info")?,
        meta: claims.meta.map(|meta| on_one_line(&meta)),
        expires_at: expiry(claims.expire_at, registered.expires_at),
        subs,
        token_id: registered.token_id,
        issued_at: registered.issued_at,
    })
}

/// What the subscription token with these claims grants.
pub fn subscription(payload: &[u8], registered: Registered) -> Result<SubscriptionGrant, TokenError> {
    let claims: SubscriptionClaims = serde_json::from_slice(payload).map_err(TokenError::Claims)?;
    let channel =
        claims.channel.filter(|channel| !channel.is_empty()).ok_or(TokenError::WrongKind(TokenKind::Subscription))?;
    let options: SubscribeClaims = serde_json::from_slice(payload).map_err(TokenError::Claims)?;
    let ServerSub { channel, info, data, overrides } = options.into_server_sub(channel)?;
    Ok(SubscriptionGrant {
        user: registered.user,
        channel,
        client: claims.client.filter(|client| !client.is_empty()),
        info,
        data,
        expires_at: expiry(claims.expire_at, registered.expires_at),
        overrides,
    })
}

impl SubscribeClaims {
    fn into_server_sub(self, channel: String) -> Result<ServerSub, TokenError> {
        Ok(ServerSub {
            channel,
            info: either(self.info, self.b64info, "b64info")?,
            data: either(self.data, self.b64data, "b64data")?,
            overrides: self.overrides.map(Overrides::from).unwrap_or_default(),
        })
    }
}

impl From<OverrideClaims> for Overrides {
    fn from(claims: OverrideClaims) -> Self {
        let value = |claim: Option<BoolValue>| claim.map(|claim| claim.value);
        Self {
            presence: value(claims.presence),
            join_leave: value(claims.join_leave),
            force_push_join_leave: value(claims.force_push_join_leave),
            force_positioning: value(claims.force_positioning),
            force_recovery: value(claims.force_recovery),
        }
    }
}

fn plain_subs(channels: Vec<String>) -> Vec<ServerSub> {
    let mut subs: Vec<ServerSub> = Vec::with_capacity(channels.len());
    for channel in channels {
        if !subs.iter().any(|sub| sub.channel == channel) {
            subs.push(ServerSub { channel, ..ServerSub::default() });
        }
    }
    subs
}

/// `expire_at` counts, where it is there, in place of the token's own expiry; 0 is never.
fn expiry(expire_at: Option<i64>, token_expires_at: Option<u64>) -> Option<u64> {
    match expire_at {
        None => token_expires_at,
        Some(at) => u64::try_from(at).ok().filter(|at| *at > 0),
    }
}

/// The base64 form counts where both are there.
fn either(json: Option<Box<RawValue>>, base64: Option<String>, claim: &str) -> Result<Option<Bytes>, TokenError> {
    match base64.filter(|text| !text.is_empty()) {
        None => Ok(json.map(|json| on_one_line(&json))),
        Some(text) => BASE64_STANDARD
            .decode(text)
            .map(|bytes| Some(bytes.into()))
            .map_err(|_| TokenError::Claim(claim.to_owned(), "it is not in base64")),
    }
}

/// Messages are separated by newlines, so JSON that travels inside them must have none. In valid JSON they are only
/// ever whitespace between tokens.
fn on_one_line(json: &RawValue) -> Bytes {
    let text = json.get();
    if text.contains(['\n', '\r']) {
        text.replace(['\n', '\r'], "").into()
    } else {
        Bytes::copy_from_slice(text.as_bytes())
    }
}
