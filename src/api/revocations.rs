//! `revoke_token` and `invalidate_user_tokens`.
//!
//! The JSON is that of Centrifugo PRO (`internal/apiproto/api.proto`).

use serde::Deserialize;
use tracing::warn;

use super::command::or_null;
use super::{Api, ApiError, Empty};
use crate::auth::options::expiry;
use crate::clock::unix_seconds;
use crate::revocation::RevocationError;

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct RevokeTokenRequest {
    /// The token's `jti`.
    #[serde(deserialize_with = "or_null")]
    uid: String,
    /// Unix seconds; 0 is never.
    #[serde(deserialize_with = "or_null")]
    expire_at: i64,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct InvalidateUserTokensRequest {
    #[serde(deserialize_with = "or_null")]
    user: String,
    /// Unix seconds; 0 is now.
    #[serde(deserialize_with = "or_null")]
    issued_before: i64,
    /// Only subscription tokens for it.
    #[serde(deserialize_with = "or_null")]
    channel: String,
    /// Unix seconds; 0 is never.
    #[serde(deserialize_with = "or_null")]
    expire_at: i64,
}

impl Api {
    pub(super) async fn revoke_token(&self, request: &RevokeTokenRequest) -> Result<Empty, ApiError> {
        let until = end(request.expire_at)?;
        if request.uid.is_empty() {
            return Err(ApiError::Invalid("uid is not set".to_owned()));
        }
        self.revocations.revoke(&request.uid, until).await.map_err(refused)?;
        Ok(Empty {})
    }

    pub(super) async fn invalidate_user_tokens(
        &self,
        request: &InvalidateUserTokensRequest,
    ) -> Result<Empty, ApiError> {
        let until = end(request.expire_at)?;
        let before = match request.issued_before {
            0 => unix_seconds(),
            at => u64::try_from(at).map_err(|_| ApiError::Invalid("issued_before is below 0".to_owned()))?,
        };
        if request.user.is_empty() {
            return Err(ApiError::Invalid("user is not set".to_owned()));
        }
        self.revocations.invalidate(&request.user, &request.channel, before, until).await.map_err(refused)?;
        Ok(Empty {})
    }
}

/// When a revocation ends: one that is over already would revoke nothing, and its caller means something else.
fn end(expire_at: i64) -> Result<Option<u64>, ApiError> {
    let end = expiry(expire_at);
    let is_over = expire_at < 0 || end.is_some_and(|at| at <= unix_seconds());
    if is_over { Err(ApiError::Invalid("expire_at is over already".to_owned())) } else { Ok(end) }
}

fn refused(error: RevocationError) -> ApiError {
    warn!(%error, "a revocation was not recorded");
    match error {
        RevocationError::TooMany => ApiError::TooMany(error.to_string()),
        RevocationError::Registry(error) => ApiError::Unavailable(error.to_string()),
    }
}
