//! Why a token is not believed, and why a key cannot be used.

use crate::telemetry::Verdict;

/// What a token was meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    Connection,
    Subscription,
}

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("token is not a signed JWT: {0}")]
    Malformed(&'static str),
    #[error("token claims are not as they should be")]
    Claims(#[source] serde_json::Error),
    /// A claim that has the right form and yet cannot be used.
    #[error("token claim {0:?} cannot be used: {1}")]
    Claim(String, &'static str),
    #[error("token has expired")]
    Expired,
    #[error("token is not valid yet")]
    NotYetValid,
    #[error("token signature does not match")]
    Signature,
    /// The header's algorithm is unknown (`none` is), or no key is configured for it.
    #[error("token algorithm {0:?} is not accepted")]
    Algorithm(String),
    /// Asked for a key that does not exist, by its id where the token names one.
    #[error("token is signed with an unknown key {0:?}")]
    UnknownKey(Option<String>),
    #[error("token is for another audience")]
    Audience,
    #[error("token is from another issuer")]
    Issuer,
    /// Nothing is wrong with it, but somebody has said that it is not to be taken any more.
    #[error("token is revoked")]
    Revoked,
    /// One kind of token where the other was expected.
    #[error("a {0:?} token was expected")]
    WrongKind(TokenKind),
    /// Nothing is known against the token: the key it names could not be looked up. Trying again may help.
    #[error("keys are unavailable: {0}")]
    KeysUnavailable(String),
}

impl TokenError {
    /// What it counts as.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Expired => Verdict::Expired,
            Self::NotYetValid => Verdict::NotYetValid,
            Self::Signature | Self::Algorithm(_) => Verdict::Signature,
            Self::UnknownKey(_) => Verdict::UnknownKey,
            Self::Audience => Verdict::Audience,
            Self::Issuer => Verdict::Issuer,
            Self::Revoked => Verdict::Revoked,
            Self::Malformed(_) | Self::Claims(_) | Self::Claim(..) | Self::WrongKind(_) => Verdict::Malformed,
            Self::KeysUnavailable(_) => Verdict::Unavailable,
        }
    }

    /// Whether a newer token may do: the client is told to fetch one (error 109).
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Expired | Self::NotYetValid)
    }

    /// Whether the same token may pass later: the client is told to try again (error 100).
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::KeysUnavailable(_))
    }
}

/// Why a configured key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("no key is configured")]
    None,
    #[error("the HMAC secret is empty")]
    EmptySecret,
    #[error("{0} wants a public key in PEM (BEGIN PUBLIC KEY)")]
    NotPublic(&'static str),
    #[error("{kind} public key cannot be read")]
    Pem {
        kind: &'static str,
        #[source]
        source: jsonwebtoken::errors::Error,
    },
    #[error("RSA public key has {0} bits, at least 2048 are needed")]
    ShortRsa(usize),
    #[error("EC public key is on neither P-256 nor P-384")]
    Curve,
    #[error("Ed25519 public key does not have 32 bytes")]
    Ed25519,
    #[error("client for the key server cannot be built")]
    Client(#[source] reqwest::Error),
}
