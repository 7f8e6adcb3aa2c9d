//! Who somebody is, and what they may: a JSON Web Token goes in, a grant comes out.
//!
//! A [`Verifier`] is built once for each kind of token (connection, subscription, operator) from its configured keys. It trusts
//! no byte of a token before one of those keys vouched for it, and every key is tied to its own algorithms: what a
//! header asks for chooses among the keys, never how a key is used.
//!
//! What a grant permits in a channel is for `session` to decide, together with the namespace's options.
//!
//! Claims and their meaning: `server/authentication.md` and `server/channel_token_auth.md` of Centrifugo. Formats:
//! RFC 7515 (JWS), 7517 (JWK), 7518 (algorithms), 7519 (JWT).

mod claims;
mod compact;
mod error;
mod grant;
pub mod issue;
mod jwk;
mod keys;
mod operator;
pub mod options;
mod registered;
mod remote;
#[cfg(test)]
mod tests;
mod verifier;

pub use error::{KeyError, TokenError, TokenKind};
pub use grant::{ConnectionGrant, Overrides, ServerSub, SubscriptionGrant};
pub use keys::unusable;
pub use operator::{Access, OperatorGrant};
pub use verifier::Verifier;

/// How many keys of a set could verify tokens; `None` where it is no set. Nodes read sets by themselves: this is for
/// fuzzing.
#[doc(hidden)]
#[must_use]
pub fn usable_keys(json: &[u8]) -> Option<usize> {
    jwk::KeySet::parse(json).ok().map(|set| set.len())
}
