//! Clients that do not say who they are, or cannot prove it, as the log tells of them: clients are told a number only.

use tracing::warn;

use crate::auth::TokenError;
use crate::telemetry::{Pace, Paces, Verdict};

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Stranger<'a> {
    #[error("no token (client.allow_anonymous_connect_without_token is false)")]
    NoToken,
    #[error("a token was sent, and no key of client.token is configured to verify it")]
    NoKey,
    #[error("{0}")]
    Token(&'a TokenError),
}

/// When the log may tell of one again, for each cause.
#[derive(Debug, Default)]
pub struct Strangers {
    no_token: Pace,
    no_key: Pace,
    tokens: Paces<Verdict>,
}

impl Strangers {
    /// Says why somebody does not come in.
    pub fn tell(&self, why: &Stranger<'_>) {
        let pace = match why {
            Stranger::NoToken => &self.no_token,
            Stranger::NoKey => &self.no_key,
            Stranger::Token(error) => self.tokens.of(error.verdict()),
        };
        if let Some(left_out) = pace.due() {
            warn!(left_out, "a client is not let in: {why}");
        }
    }
}
