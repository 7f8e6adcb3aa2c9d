//! Tokens as an application would sign them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;

/// Signs claims with a shared secret.
pub fn signed(secret: &str, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// Unix seconds `delta` from now.
pub fn at(delta: i64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().saturating_add_signed(delta)
}
