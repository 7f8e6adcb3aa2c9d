//! Tokens as Supabase projects give them out.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::fixtures::{P256, SECRET, hmac_token, in_seconds, secret, signed};
use super::key_server::KeyServer;
use crate::auth::{TokenError, Verifier};
use crate::settings::{Jwks, TokenKeys};

const PROJECT: &str = "https://abcdefghijklmnopqrst.supabase.co";

fn session_claims() -> Value {
    json!({
        "iss": format!("{PROJECT}/auth/v1"), "sub": "9f6ae34b-5d5b-4a1b-9d55-0d7d9a9a2c11", "aud": "authenticated",
        "exp": in_seconds(3600), "iat": in_seconds(-1), "email": "ada@example.com", "phone": "",
        "app_metadata": { "provider": "email", "providers": ["email"] }, "user_metadata": { "email_verified": true },
        "role": "authenticated", "aal": "aal1", "amr": [{ "method": "password", "timestamp": in_seconds(-1) }],
        "session_id": "b2a1f2f0-5f2e-4a37-9a2d-6f6a4c0f8b1e", "is_anonymous": false,
    })
}

fn settings() -> TokenKeys {
    TokenKeys {
        issuer: Some(format!("{PROJECT}/auth/v1")),
        audience: Some("authenticated".into()),
        ..TokenKeys::default()
    }
}

#[tokio::test]
async fn a_session_token_passes_by_the_projects_key_set() {
    let more = json!({ "kid": "2f1d", "use": "sig", "key_ops": ["verify"], "ext": true });
    let server = KeyServer::start(json!({ "keys": [P256.jwk(Algorithm::ES256, more)] })).await;
    let mut url = server.url();
    url.set_path("/auth/v1/.well-known/jwks.json");
    let jwks = Some(Jwks { url, refresh_interval: std::time::Duration::from_secs(600) });
    let verifier = Verifier::new(&TokenKeys { jwks, ..settings() }).unwrap();
    let token = signed(Algorithm::ES256, &P256.private, Some("2f1d"), &session_claims());
    let grant = verifier.connection(&token).await.unwrap();
    assert_eq!(grant.user, "9f6ae34b-5d5b-4a1b-9d55-0d7d9a9a2c11");
    assert_eq!(server.paths(), ["/auth/v1/.well-known/jwks.json"]);
}

#[tokio::test]
async fn a_session_token_of_a_project_with_the_legacy_secret_passes() {
    let verifier = Verifier::new(&TokenKeys { hmac_secret: secret(SECRET), ..settings() }).unwrap();
    assert!(verifier.connection(&hmac_token(&session_claims())).await.is_ok());
}

#[tokio::test]
async fn the_projects_public_api_key_is_signed_with_the_same_secret_and_yet_is_nobodys_token() {
    let verifier = Verifier::new(&TokenKeys { hmac_secret: secret(SECRET), ..settings() }).unwrap();
    for role in ["anon", "service_role"] {
        let claims = json!({ "iss": "supabase", "ref": "abcdefghijklmnopqrst", "role": role, "exp": in_seconds(3600) });
        let refusal = verifier.connection(&hmac_token(&claims)).await.unwrap_err();
        assert!(matches!(refusal, TokenError::Issuer), "{role}: {refusal:?}");
    }
}
