//! Makes tokens, for people who try things out and for tests. Production tokens come from the application's backend.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::clock::unix_seconds;

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the HMAC secret is empty")]
    EmptySecret,
    #[error("token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// A connection token for `user`, signed with `secret` by HS256, that expires in `ttl` (`None` is never). `claims` go
/// in as they are; `sub`, `iat` and `exp` are set over them.
///
/// # Errors
/// When the secret is empty.
pub fn hmac_connection_token(
    secret: &SecretString,
    user: &str,
    ttl: Option<Duration>,
    mut claims: Map<String, Value>,
) -> Result<String, IssueError> {
    let secret = secret.expose_secret();
    if secret.is_empty() {
        return Err(IssueError::EmptySecret);
    }
    let now = unix_seconds();
    claims.insert("sub".to_owned(), user.into());
    claims.insert("iat".to_owned(), now.into());
    if let Some(ttl) = ttl {
        claims.insert("exp".to_owned(), now.saturating_add(ttl.as_secs()).into());
    }
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes()))
        .map_err(IssueError::Sign)
}
