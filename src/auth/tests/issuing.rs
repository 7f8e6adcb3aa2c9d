//! Tokens that we make ourselves pass our own verifier.

use std::time::Duration;

use serde_json::{Map, json};

use super::fixtures::{SECRET, hmac_verifier, in_seconds, secret};
use crate::auth::issue::{IssueError, hmac_connection_token};

#[tokio::test]
async fn an_issued_token_passes_and_expires_when_it_should() {
    let claims = json!({ "info": { "name": "Ada" }, "sub": "eve", "exp": 1 }).as_object().unwrap().clone();
    let before = in_seconds(600);
    let token = hmac_connection_token(&secret(SECRET).unwrap(), "ada", Some(Duration::from_secs(600)), claims).unwrap();
    let grant = hmac_verifier().connection(&token).await.unwrap();
    assert_eq!(grant.user, "ada");
    assert_eq!(grant.info.unwrap(), r#"{"name":"Ada"}"#);
    assert!((before..=in_seconds(600)).contains(&grant.expires_at.unwrap()));
    assert!(grant.issued_at.is_some());
}

#[tokio::test]
async fn a_token_without_a_term_never_expires_and_no_secret_makes_none() {
    let token = hmac_connection_token(&secret(SECRET).unwrap(), "ada", None, Map::new()).unwrap();
    assert_eq!(hmac_verifier().connection(&token).await.unwrap().expires_at, None);
    let refusal = hmac_connection_token(&secret("").unwrap(), "ada", None, Map::new()).unwrap_err();
    assert!(matches!(refusal, IssueError::EmptySecret));
}
