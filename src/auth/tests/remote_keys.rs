//! Keys behind a URL: looked up, rotated, away, and never asked for more often than need be.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::fixtures::{
    ED25519, OTHER_P256, OTHER_RSA, P256, P384, Pair, RSA, SECRET, ada, hmac_token, secret, signed, signed_with_secret,
};
use super::key_server::{Answer, KeyServer};
use crate::auth::remote::Patience;
use crate::auth::{TokenError, Verifier};
use crate::settings::{Jwks, TokenKeys};
use crate::telemetry::Verdict;

const NEVER: Duration = Duration::from_secs(100_000);
const EAGER: Patience = Patience { timeout: Duration::from_secs(30), cool_down: Duration::ZERO, body_limit: 64 * 1024 };
const COOL: Patience = Patience { cool_down: NEVER, ..EAGER };

fn key(pair: &Pair, algorithm: Algorithm, id: &str) -> Value {
    pair.jwk(algorithm, json!({ "kid": id, "use": "sig" }))
}

fn set(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

fn verifier(server: &KeyServer, refresh_interval: Duration, patience: Patience) -> Verifier {
    let settings = TokenKeys { jwks: Some(Jwks { url: server.url(), refresh_interval }), ..TokenKeys::default() };
    Verifier::with_patience(&settings, patience).unwrap()
}

fn token(pair: &Pair, algorithm: Algorithm, id: &str) -> String {
    signed(algorithm, &pair.private, Some(id), &ada())
}

#[tokio::test]
async fn keys_of_every_type_are_fetched_once_and_then_known() {
    let server = KeyServer::start(set(&[
        key(&RSA, Algorithm::RS256, "rs"),
        key(&OTHER_RSA, Algorithm::PS384, "ps"),
        key(&P256, Algorithm::ES256, "es256"),
        key(&P384, Algorithm::ES384, "es384"),
        key(&ED25519, Algorithm::EdDSA, "ed"),
    ]))
    .await;
    let verifier = verifier(&server, NEVER, COOL);
    for (pair, algorithm, id) in [
        (&*RSA, Algorithm::RS256, "rs"),
        (&*OTHER_RSA, Algorithm::PS384, "ps"),
        (&*P256, Algorithm::ES256, "es256"),
        (&*P384, Algorithm::ES384, "es384"),
        (&*ED25519, Algorithm::EdDSA, "ed"),
    ] {
        assert_eq!(verifier.connection(&token(pair, algorithm, id)).await.unwrap().user, "ada", "{id}");
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_keys_own_restrictions_are_respected() {
    let mut any_rsa = key(&RSA, Algorithm::RS256, "any");
    any_rsa.as_object_mut().unwrap().remove("alg");
    let server = KeyServer::start(set(&[
        json!("no key"),
        json!({ "kty": "unheard of", "kid": "future" }),
        json!({ "kty": "oct", "kid": "oct", "k": "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcywgb3IgbW9yZQ", "alg": "HS256" }),
        any_rsa,
        key(&RSA, Algorithm::RS256, "rs256"),
        RSA.jwk(Algorithm::RS256, json!({ "kid": "for encryption", "use": "enc" })),
        RSA.jwk(Algorithm::RS256, json!({ "kid": "for signing only", "key_ops": ["sign"] })),
        RSA.jwk(Algorithm::RS256, json!({ "kid": "confused", "alg": "ES256" })),
        RSA.jwk(Algorithm::RS256, json!({ "kid": "oaep", "alg": "RSA-OAEP" })),
        RSA.jwk(Algorithm::RS256, json!({ "kid": "short", "n": "AQAB" })),
        P256.jwk(Algorithm::ES256, json!({ "kid": "wrong curve", "crv": "P-384", "alg": "ES384" })),
    ]))
    .await;
    let verifier = verifier(&server, NEVER, EAGER);
    for (id, algorithm) in [("any", Algorithm::RS512), ("any", Algorithm::PS256), ("rs256", Algorithm::RS256)] {
        assert!(verifier.connection(&token(&RSA, algorithm, id)).await.is_ok(), "{id} {algorithm:?}");
    }
    let refusal = verifier.connection(&token(&RSA, Algorithm::RS512, "rs256")).await.unwrap_err();
    assert!(matches!(refusal, TokenError::Algorithm(_)), "{refusal:?}");
    let refusal = verifier.connection(&token(&OTHER_RSA, Algorithm::RS256, "rs256")).await.unwrap_err();
    assert!(matches!(refusal, TokenError::Signature), "{refusal:?}");
    for id in ["for encryption", "for signing only", "confused", "oaep", "short"] {
        let refusal = verifier.connection(&token(&RSA, Algorithm::RS256, id)).await.unwrap_err();
        assert!(matches!(&refusal, TokenError::UnknownKey(Some(key)) if key == id), "{id}: {refusal:?}");
    }
    for id in ["future", "wrong curve"] {
        let refusal = verifier.connection(&token(&P256, Algorithm::ES256, id)).await.unwrap_err();
        assert!(matches!(refusal, TokenError::UnknownKey(_)), "{id}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_shared_secret_is_never_looked_up_in_a_public_set() {
    let k = "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcywgb3IgbW9yZQ";
    let server = KeyServer::start(set(&[json!({ "kty": "oct", "kid": "oct", "k": k })])).await;
    let verifier = verifier(&server, NEVER, EAGER);
    let forged =
        signed(Algorithm::HS256, &jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes()), Some("oct"), &ada());
    let refusal = verifier.connection(&forged).await.unwrap_err();
    assert!(matches!(refusal, TokenError::Algorithm(_)), "{refusal:?}");
    let public = signed_with_secret(Algorithm::HS256, &RSA.public_pem, &ada());
    assert!(verifier.connection(&public).await.is_err());
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_token_that_names_no_key_may_be_signed_with_any() {
    let server =
        KeyServer::start(set(&[key(&OTHER_P256, Algorithm::ES256, "old"), key(&P256, Algorithm::ES256, "new")])).await;
    let verifier = verifier(&server, NEVER, EAGER);
    for pair in [&*P256, &*OTHER_P256] {
        assert!(verifier.connection(&signed(Algorithm::ES256, &pair.private, None, &ada())).await.is_ok());
    }
    let refusal = verifier.connection(&signed(Algorithm::RS256, &RSA.private, None, &ada())).await.unwrap_err();
    assert!(matches!(refusal, TokenError::UnknownKey(None)), "{refusal:?}");
}

#[tokio::test]
async fn a_key_without_a_name_does_for_tokens_that_name_one_nobody_has() {
    let mut nameless = key(&P256, Algorithm::ES256, "");
    nameless.as_object_mut().unwrap().remove("kid");
    let server = KeyServer::start(set(&[nameless])).await;
    let verifier = verifier(&server, NEVER, EAGER);
    assert!(verifier.connection(&token(&P256, Algorithm::ES256, "whatever")).await.is_ok());
}

#[tokio::test]
async fn a_new_key_is_found_at_its_first_token_and_an_old_one_goes_with_the_set() {
    let server = KeyServer::start(set(&[key(&OTHER_P256, Algorithm::ES256, "one")])).await;
    let verifier = verifier(&server, NEVER, EAGER);
    assert!(verifier.connection(&token(&OTHER_P256, Algorithm::ES256, "one")).await.is_ok());
    server.set(Answer::Keys(set(&[key(&P256, Algorithm::ES256, "two")])));
    assert!(verifier.connection(&token(&OTHER_P256, Algorithm::ES256, "one")).await.is_ok(), "still believed");
    assert!(verifier.connection(&token(&P256, Algorithm::ES256, "two")).await.is_ok());
    let refusal = verifier.connection(&token(&OTHER_P256, Algorithm::ES256, "one")).await.unwrap_err();
    assert!(matches!(refusal, TokenError::UnknownKey(_)), "{refusal:?}");
}

#[tokio::test]
async fn a_crowd_at_the_door_asks_once() {
    let server = KeyServer::start(set(&[key(&P256, Algorithm::ES256, "one")])).await;
    let keys = set(&[key(&P256, Algorithm::ES256, "one")]);
    server.set(Answer::Hang);
    let verifier = Arc::new(verifier(&server, NEVER, COOL));
    let token = token(&P256, Algorithm::ES256, "one");
    let crowd: Vec<_> = (0..200)
        .map(|_| {
            let (verifier, token) = (Arc::clone(&verifier), token.clone());
            tokio::spawn(async move { verifier.connection(&token).await })
        })
        .collect();
    server.asked(1).await;
    server.set(Answer::Keys(keys));
    for outcome in join_all(crowd).await {
        assert!(outcome.unwrap().is_ok());
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn rubbish_key_ids_do_not_reach_the_server_more_than_once_a_cool_down() {
    let server = KeyServer::start(set(&[key(&P256, Algorithm::ES256, "one")])).await;
    let verifier = verifier(&server, NEVER, COOL);
    let good = token(&P256, Algorithm::ES256, "one");
    assert!(verifier.connection(&good).await.is_ok());
    for n in 0..50 {
        let refusal = verifier.connection(&token(&OTHER_P256, Algorithm::ES256, &format!("rubbish {n}"))).await;
        // The key may be younger than the set we have, so this is not for good.
        assert!(refusal.unwrap_err().is_temporary());
    }
    assert!(verifier.connection(&good).await.is_ok());
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn old_keys_stay_in_force_while_the_server_is_away() {
    let server = KeyServer::start(set(&[key(&P256, Algorithm::ES256, "one")])).await;
    let verifier = verifier(&server, NEVER, EAGER);
    let known = token(&P256, Algorithm::ES256, "one");
    let unknown = token(&OTHER_P256, Algorithm::ES256, "two");
    assert!(verifier.connection(&known).await.is_ok());
    for (answer, expected) in [
        (Answer::Status(StatusCode::SERVICE_UNAVAILABLE), "503"),
        (Answer::Status(StatusCode::NO_CONTENT), "204"),
        (Answer::Text("<html>login</html>".into()), "no set of keys"),
        (Answer::Text(r#"{"no":"keys"}"#.into()), "no set of keys"),
        (Answer::Text(format!(r#"{{"keys":[],"padding":"{}"}}"#, "x".repeat(70_000))), "more than 65536 bytes"),
    ] {
        server.set(answer);
        let refusal = verifier.connection(&unknown).await.unwrap_err();
        assert!(matches!(&refusal, TokenError::KeysUnavailable(why) if why.contains(expected)), "{refusal:?}");
        assert_eq!(refusal.verdict(), Verdict::Unavailable);
        assert!(verifier.connection(&known).await.is_ok(), "{expected}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_holds_up_nobody_whose_key_is_known() {
    let server = KeyServer::start(set(&[key(&P256, Algorithm::ES256, "one")])).await;
    let refresh_interval = Duration::from_millis(1);
    let verifier = verifier(&server, refresh_interval, Patience { timeout: Duration::from_secs(1), ..EAGER });
    let good = token(&P256, Algorithm::ES256, "one");
    assert!(verifier.connection(&good).await.is_ok());
    server.set(Answer::Hang);
    // Every one of these finds the set too old; the fetch ends by its timeout, and the old key goes on.
    for _ in 0..20 {
        assert!(verifier.connection(&good).await.is_ok());
    }
    let refusal = verifier.connection(&token(&OTHER_P256, Algorithm::ES256, "two")).await.unwrap_err();
    assert!(matches!(refusal, TokenError::KeysUnavailable(_)), "{refusal:?}");
}

#[tokio::test]
async fn without_any_keys_a_token_is_put_off_and_passes_once_the_server_is_back() {
    let server = KeyServer::start(Value::Null).await;
    server.set(Answer::Status(StatusCode::BAD_GATEWAY));
    let verifier = verifier(&server, NEVER, EAGER);
    let good = token(&P256, Algorithm::ES256, "one");
    let refusal = verifier.connection(&good).await.unwrap_err();
    assert!(matches!(&refusal, TokenError::KeysUnavailable(why) if why.contains("502")), "{refusal:?}");
    server.set(Answer::Keys(set(&[key(&P256, Algorithm::ES256, "one")])));
    assert!(verifier.connection(&good).await.is_ok());
}

#[tokio::test]
async fn a_fetch_goes_on_when_the_one_who_wanted_it_goes_away() {
    let server = KeyServer::start(Value::Null).await;
    server.set(Answer::Hang);
    let verifier = Arc::new(verifier(&server, NEVER, COOL));
    let good = token(&P256, Algorithm::ES256, "one");
    let impatient = tokio::spawn({
        let (verifier, good) = (Arc::clone(&verifier), good.clone());
        async move { verifier.connection(&good).await.is_ok() }
    });
    server.asked(1).await;
    impatient.abort();
    assert!(impatient.await.unwrap_err().is_cancelled());
    server.set(Answer::Keys(set(&[key(&P256, Algorithm::ES256, "one")])));
    assert!(verifier.connection(&good).await.is_ok());
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn configured_keys_work_beside_the_set_and_cost_no_fetch() {
    let server = KeyServer::start(set(&[key(&P256, Algorithm::ES256, "one")])).await;
    let settings = TokenKeys {
        hmac_secret: secret(SECRET),
        ecdsa_public_key: Some(OTHER_P256.public_pem.clone()),
        jwks: Some(Jwks { url: server.url(), refresh_interval: NEVER }),
        ..TokenKeys::default()
    };
    let verifier = Verifier::with_patience(&settings, EAGER).unwrap();
    assert!(verifier.connection(&hmac_token(&ada())).await.is_ok());
    assert!(verifier.connection(&token(&OTHER_P256, Algorithm::ES256, "static")).await.is_ok());
    let wrong = signed_with_secret(Algorithm::HS256, "some other secret of thirty-two bytes", &ada());
    assert!(matches!(verifier.connection(&wrong).await, Err(TokenError::Signature)));
    assert_eq!(server.requests(), 0);
    assert!(verifier.connection(&token(&P256, Algorithm::ES256, "one")).await.is_ok());
    assert_eq!(server.requests(), 1);
}
