//! Tokens of operators.

use serde::{Deserialize, Serialize};

use super::TokenError;
use super::registered::Registered;

/// What an operator may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Look, and change nothing.
    Read,
    /// Everything that the API key is good for.
    Full,
}

/// What an operator token grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorGrant {
    /// Who it is (`sub`).
    pub operator: String,
    pub access: Access,
    /// Unix seconds. May lie in the past by as much as the leeway.
    pub expires_at: u64,
    /// `jti`, for revocation.
    pub token_id: Option<String>,
    /// `iat`, for revocation: Unix seconds.
    pub issued_at: Option<u64>,
}

#[derive(Deserialize)]
struct Claims {
    operator: Option<Access>,
}

/// What the token with these claims grants. One that never expires would outlive every record of its revocation.
pub(super) fn grant(payload: &[u8], registered: Registered) -> Result<OperatorGrant, TokenError> {
    let claims: Claims = serde_json::from_slice(payload).map_err(TokenError::Claims)?;
    let access = claims.operator.ok_or_else(|| TokenError::Claim("operator".to_owned(), "it is missing"))?;
    let expires_at = registered.expires_at.ok_or_else(|| TokenError::Claim("exp".to_owned(), "it is missing"))?;
    let Registered { user, token_id, issued_at, .. } = registered;
    Ok(OperatorGrant { operator: user, access, expires_at, token_id, issued_at })
}
