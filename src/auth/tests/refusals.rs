//! Every way in which a token can be wrong.

use std::time::Duration;

use serde_json::{Value, json};

use super::fixtures::{ada, connection, hmac_settings, hmac_token, hmac_verifier, in_seconds, raw_token};
use crate::auth::{TokenError, TokenKind, Verifier};
use crate::settings::TokenKeys;
use crate::telemetry::Verdict;

#[tokio::test]
async fn text_that_is_no_token_is_malformed() {
    let good = hmac_token(&ada());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    for token in [
        "",
        ".",
        "..",
        "abc",
        "a.b.c",
        signed,
        &format!("{good}.{signature}"),
        &format!("{header}=.{payload}.{signature}"),
        &format!("{{}}.{payload}.{signature}"),
        &raw_token("{}", "{}"),
        &raw_token("[]", "{}"),
        &raw_token(r#"["HS256"]"#, "{}"),
        &raw_token(r#"{"alg":256}"#, "{}"),
        &raw_token(r#"{"alg":"HS256","kid":7}"#, "{}"),
        &raw_token(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &ada().to_string()),
    ] {
        let refusal = hmac_verifier().connection(token).await.unwrap_err();
        assert!(matches!(refusal, TokenError::Malformed(_)), "{token}: {refusal:?}");
        assert_eq!(refusal.verdict(), Verdict::Malformed);
    }
}

#[tokio::test]
async fn a_changed_byte_anywhere_breaks_the_signature() {
    let good = hmac_token(&json!({ "sub": "ada" }));
    let forged = hmac_token(&json!({ "sub": "eve" }));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (forged_signed, _) = forged.rsplit_once('.').unwrap();
    let signature = good.rsplit_once('.').unwrap().1;
    for token in [
        format!("{forged_signed}.{signature}"),
        format!("{signed}."),
        format!("{signed}.{}", &signature[1..]),
        format!("{signed}.{signature}="),
        format!("{good} "),
    ] {
        let refusal = hmac_verifier().connection(&token).await.unwrap_err();
        assert!(matches!(refusal, TokenError::Signature), "{token}: {refusal:?}");
        assert_eq!(refusal.verdict(), Verdict::Signature);
    }
}

#[tokio::test]
async fn claims_of_the_wrong_type_are_malformed() {
    for claims in [
        json!({ "sub": 42 }),
        json!({ "sub": ["ada"] }),
        json!({ "sub": "ada", "exp": "2100-01-01" }),
        json!({ "sub": "ada", "exp": "4102444800" }),
        json!({ "sub": "ada", "exp": -1 }),
        json!({ "sub": "ada", "nbf": "soon" }),
        json!({ "sub": "ada", "iat": true }),
        json!({ "sub": "ada", "jti": 7 }),
        json!({ "sub": "ada", "aud": 7 }),
        json!({ "sub": "ada", "iss": ["a"] }),
        json!({ "sub": "ada", "channels": "news" }),
        json!({ "sub": "ada", "channels": [1] }),
        json!({ "sub": "ada", "subs": ["news"] }),
        json!({ "sub": "ada", "subs": { "news": { "override": { "presence": true } } } }),
        json!({ "sub": "ada", "subs": { "news": { "b64data": "###" } } }),
        json!({ "sub": "ada", "b64info": "###" }),
        json!({ "sub": "ada", "info": "x".repeat(8 << 10) }),
        json!({ "sub": "ada", "subs": { "chat:1": { "info": "x".repeat(8 << 10) } } }),
        json!({ "sub": "ada", "b64info": { "a": 1 } }),
        json!({ "sub": "ada", "expire_at": "never" }),
        json!(["ada"]),
        json!("ada"),
        json!(null),
    ] {
        let refusal = connection(&claims).await.unwrap_err();
        assert_eq!(refusal.verdict(), Verdict::Malformed, "{claims}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_claim_given_twice_is_malformed_rather_than_a_matter_of_taste() {
    for payload in [r#"{"sub":"ada","sub":"eve"}"#, r#"{"sub":"ada","exp":1,"exp":4102444800}"#] {
        let refusal = hmac_verifier().connection(&raw_token(r#"{"alg":"HS256"}"#, payload)).await.unwrap_err();
        assert!(matches!(refusal, TokenError::Claims(_)), "{payload}: {refusal:?}");
    }
}

#[tokio::test]
async fn payloads_that_are_no_json_are_malformed() {
    for payload in ["", "{", "{\"sub\":\"ada\"} trailing", "\u{feff}{}"] {
        let refusal = hmac_verifier().connection(&raw_token(r#"{"alg":"HS256"}"#, payload)).await.unwrap_err();
        assert_eq!(refusal.verdict(), Verdict::Malformed, "{payload}: {refusal:?}");
    }
}

#[tokio::test]
async fn time_is_checked_to_the_second_and_forgiven_by_the_leeway() {
    let strict = hmac_verifier();
    let lenient = Verifier::new(&TokenKeys { leeway: Duration::from_secs(60), ..hmac_settings() }).unwrap();
    type Expected = fn(&TokenError) -> bool;
    let expired: Expected = |e| matches!(e, TokenError::Expired) && e.is_expired();
    let early: Expected = |e| matches!(e, TokenError::NotYetValid) && e.is_expired();
    for (claim, delta, by_strict, by_lenient) in [
        ("exp", 30, None, None),
        ("exp", 0, Some(expired), None),
        ("exp", -30, Some(expired), None),
        ("exp", -90, Some(expired), Some(expired)),
        ("nbf", -1, None, None),
        ("nbf", 30, Some(early), None),
        ("nbf", 120, Some(early), Some(early)),
    ] {
        let token = hmac_token(&json!({ "sub": "ada", claim: in_seconds(delta) }));
        for (verifier, expected) in [(&strict, by_strict), (&lenient, by_lenient)] {
            match (verifier.connection(&token).await, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => assert!(expected(&error), "{claim} {delta}: {error:?}"),
                (outcome, _) => panic!("{claim} {delta}: {outcome:?}"),
            }
        }
    }
}

#[tokio::test]
async fn times_may_have_fractions_and_may_be_absent() {
    assert!(connection(&json!({ "sub": "ada" })).await.is_ok());
    let grant = connection(&json!({ "sub": "ada", "exp": 4_102_444_800.75, "iat": 1.5 })).await.unwrap();
    assert_eq!((grant.expires_at, grant.issued_at), (Some(4_102_444_800), Some(1)));
    assert!(connection(&json!({ "sub": "ada", "exp": u64::MAX })).await.is_ok());
}

async fn demanding(claims: Value) -> Result<(), TokenError> {
    let settings =
        TokenKeys { audience: Some("chat".into()), issuer: Some("https://id.example".into()), ..hmac_settings() };
    Verifier::new(&settings).unwrap().connection(&hmac_token(&claims)).await.map(|_| ())
}

#[tokio::test]
async fn audience_and_issuer_must_be_there_and_match_once_they_are_configured() {
    let iss = "https://id.example";
    for aud in [json!("chat"), json!(["chat"]), json!(["mail", "chat"])] {
        assert!(demanding(json!({ "sub": "ada", "iss": iss, "aud": aud })).await.is_ok(), "{aud}");
    }
    for aud in [json!("mail"), json!([]), json!(["mail"]), json!(""), json!("chat "), Value::Null] {
        let refusal = demanding(json!({ "sub": "ada", "iss": iss, "aud": aud })).await.unwrap_err();
        assert!(matches!(refusal, TokenError::Audience), "{aud}: {refusal:?}");
        assert_eq!(refusal.verdict(), Verdict::Audience);
    }
    for iss in [json!("https://id.example/"), json!("http://id.example"), json!(""), Value::Null] {
        let refusal = demanding(json!({ "sub": "ada", "iss": iss, "aud": "chat" })).await.unwrap_err();
        assert!(matches!(refusal, TokenError::Issuer), "{iss}: {refusal:?}");
        assert_eq!(refusal.verdict(), Verdict::Issuer);
    }
    assert!(matches!(demanding(json!({ "sub": "ada", "aud": "chat" })).await, Err(TokenError::Issuer)));
    assert!(matches!(demanding(json!({ "sub": "ada", "iss": iss })).await, Err(TokenError::Audience)));
}

#[tokio::test]
async fn audience_and_issuer_do_not_matter_where_none_is_configured() {
    for claims in [json!({ "sub": "ada", "aud": "mail" }), json!({ "sub": "ada", "aud": [], "iss": "anybody" })] {
        assert!(connection(&claims).await.is_ok(), "{claims}");
    }
}

#[tokio::test]
async fn one_kind_of_token_does_not_do_for_the_other() {
    for channel in [json!("news"), json!(7), json!({})] {
        let refusal = connection(&json!({ "sub": "ada", "channel": channel })).await.unwrap_err();
        assert!(matches!(refusal, TokenError::WrongKind(TokenKind::Connection)), "{channel}: {refusal:?}");
    }
    for claims in [ada(), json!({ "sub": "ada", "channel": "" })] {
        let refusal = hmac_verifier().subscription(&hmac_token(&claims)).await.unwrap_err();
        assert!(matches!(refusal, TokenError::WrongKind(TokenKind::Subscription)), "{claims}: {refusal:?}");
    }
    let refusal = hmac_verifier().subscription(&hmac_token(&json!({ "channel": "news", "exp": 1 }))).await.unwrap_err();
    assert!(matches!(refusal, TokenError::Expired));
}
