//! The claims that turn into grants, by kind of token.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::options::{self, Subs, SubscribeOptions, Unfit};
use super::registered::Registered;
use super::{ConnectionGrant, ServerSub, SubscriptionGrant, TokenError, TokenKind};

#[derive(Deserialize)]
struct ConnectionClaims {
    #[serde(default)]
    info: Option<Box<RawValue>>,
    #[serde(default)]
    b64info: Option<String>,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(default)]
    subs: Option<Subs>,
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

/// What the connection token with these claims grants.
pub fn connection(payload: &[u8], registered: Registered) -> Result<ConnectionGrant, TokenError> {
    let claims: ConnectionClaims = serde_json::from_slice(payload).map_err(TokenError::Claims)?;
    // Otherwise whoever got a token for one channel could connect with it.
    if claims.channel.is_some_and(|channel| channel.get() != "\"\"") {
        return Err(TokenError::WrongKind(TokenKind::Connection));
    }
    let subs = match claims.subs {
        Some(subs) if !subs.is_empty() => options::subscriptions(subs).map_err(unfit)?,
        _ => options::plain_subscriptions(claims.channels.unwrap_or_default()),
    };
    Ok(ConnectionGrant {
        user: registered.user,
        info: options::info(claims.info, claims.b64info).map_err(unfit)?,
        meta: claims.meta.map(|meta| options::on_one_line(&meta)),
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
    // The options of the subscription stand beside the other claims.
    let options: SubscribeOptions = serde_json::from_slice(payload).map_err(TokenError::Claims)?;
    let ServerSub { channel, info, data, overrides } = options.subscription(channel).map_err(unfit)?;
    Ok(SubscriptionGrant {
        user: registered.user,
        channel,
        client: claims.client.filter(|client| !client.is_empty()),
        info,
        data,
        expires_at: expiry(claims.expire_at, registered.expires_at),
        overrides,
        token_id: registered.token_id,
        issued_at: registered.issued_at,
    })
}

/// `expire_at` counts, where it is there, in place of the token's own expiry.
fn expiry(expire_at: Option<i64>, token_expires_at: Option<u64>) -> Option<u64> {
    expire_at.map_or(token_expires_at, options::expiry)
}

fn unfit(unfit: Unfit) -> TokenError {
    match unfit {
        Unfit::NotBase64(claim) => TokenError::Claim(claim.to_owned(), "it is not in base64"),
        Unfit::InfoTooLong(_) => TokenError::Claim("info".to_owned(), "it has more than 8 KiB"),
    }
}
