//! What the claims turn into.

use bytes::Bytes;
use serde_json::json;

use super::fixtures::{connection, hmac_settings, hmac_token, hmac_verifier, in_seconds, raw_token};
use crate::auth::{ConnectionGrant, Overrides, ServerSub, SubscriptionGrant, TokenError, Verifier};
use crate::settings::TokenKeys;

fn bytes(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn a_connection_token_grants_what_its_claims_say() {
    let exp = in_seconds(600);
    let grant = connection(&json!({
        "sub": "ada", "exp": exp, "iat": 1_700_000_000, "jti": "t-1",
        "info": { "name": "Ada" }, "meta": { "plan": "pro" },
        "subs": {
            "news": { "info": { "role": "reader" }, "data": { "n": 1 } },
            "chat:1": { "b64info": "eyJhIjoxfQ==", "b64data": "AAEC", "info": 1, "data": 2,
                "override": { "presence": { "value": true }, "join_leave": { "value": false },
                    "force_recovery": {}, "unheard_of": { "value": true } } },
            "bare": null,
        },
        "channels": ["ignored"],
        "something": ["else"],
    }))
    .await
    .unwrap();
    let chat = ServerSub {
        channel: "chat:1".into(),
        info: bytes(r#"{"a":1}"#),
        data: Some(Bytes::from_static(&[0, 1, 2])),
        overrides: Overrides {
            presence: Some(true),
            join_leave: Some(false),
            force_recovery: Some(false),
            ..Overrides::default()
        },
    };
    let news = ServerSub {
        channel: "news".into(),
        info: bytes(r#"{"role":"reader"}"#),
        data: bytes(r#"{"n":1}"#),
        overrides: Overrides::default(),
    };
    let expected = ConnectionGrant {
        user: "ada".into(),
        info: bytes(r#"{"name":"Ada"}"#),
        meta: bytes(r#"{"plan":"pro"}"#),
        expires_at: Some(exp),
        subs: vec![ServerSub { channel: "bare".into(), ..ServerSub::default() }, chat, news],
        token_id: Some("t-1".into()),
        issued_at: Some(1_700_000_000),
    };
    assert_eq!(grant, expected);
}

#[tokio::test]
async fn a_subscription_token_grants_what_its_claims_say() {
    let exp = in_seconds(600);
    let token = hmac_token(&json!({
        "sub": "ada", "channel": "$chat:1", "client": "c-1", "exp": exp, "jti": "j", "iat": 7, "info": { "role": "writer" },
        "b64data": "eyJhIjoxfQ==", "override": { "force_positioning": { "value": true },
        "force_push_join_leave": { "value": true } },
    }));
    let expected = SubscriptionGrant {
        user: "ada".into(),
        channel: "$chat:1".into(),
        client: Some("c-1".into()),
        info: bytes(r#"{"role":"writer"}"#),
        data: bytes(r#"{"a":1}"#),
        expires_at: Some(exp),
        overrides: Overrides {
            force_positioning: Some(true),
            force_push_join_leave: Some(true),
            ..Overrides::default()
        },
        token_id: Some("j".into()),
        issued_at: Some(7),
    };
    assert_eq!(hmac_verifier().subscription(&token).await.unwrap(), expected);
}

#[tokio::test]
async fn channels_are_subscriptions_without_options_each_once() {
    let grant = connection(&json!({ "sub": "ada", "channels": ["b", "a", "b"], "subs": {} })).await.unwrap();
    let channels: Vec<_> = grant.subs.iter().map(|sub| sub.channel.as_str()).collect();
    assert_eq!(channels, ["b", "a"]);
}

#[tokio::test]
async fn expire_at_counts_in_place_of_exp_and_zero_is_never() {
    let exp = in_seconds(600);
    for (expire_at, expected) in
        [(json!(null), Some(exp)), (json!(exp + 5), Some(exp + 5)), (json!(0), None), (json!(-1), None)]
    {
        let claims = json!({ "sub": "ada", "channel": "news", "exp": exp, "expire_at": expire_at });
        let grant = hmac_verifier().subscription(&hmac_token(&claims)).await.unwrap();
        assert_eq!(grant.expires_at, expected, "{expire_at}");
    }
    let claims = json!({ "sub": "ada", "exp": in_seconds(-5), "expire_at": 0 });
    assert!(matches!(connection(&claims).await, Err(TokenError::Expired)), "the token itself expires all the same");
}

#[tokio::test]
async fn embedded_json_comes_out_on_one_line_and_otherwise_untouched() {
    let payload = "{\"sub\":\"ada\",\"info\":{\r\n  \"a\\n\": 12345678901234567890.10,\n  \"b\": [ ]\n}}";
    let grant = hmac_verifier().connection(&raw_token(r#"{"alg":"HS256"}"#, payload)).await.unwrap();
    assert_eq!(grant.info, bytes(r#"{  "a\n": 12345678901234567890.10,  "b": [ ]}"#));
    assert_eq!(connection(&json!({ "info": null, "meta": null })).await.unwrap(), ConnectionGrant::default());
}

#[tokio::test]
async fn nobody_in_particular_is_the_anonymous_user() {
    for claims in [json!({}), json!({ "sub": "" }), json!({ "sub": null })] {
        assert_eq!(connection(&claims).await.unwrap().user, "", "{claims}");
    }
}

#[tokio::test]
async fn the_users_id_comes_from_the_claim_that_the_settings_name() {
    let settings = TokenKeys { user_id_claim: Some("uid".into()), ..hmac_settings() };
    let verifier = Verifier::new(&settings).unwrap();
    for (claim, user) in [(json!("ada"), "ada"), (json!("\u{e4}\n"), "\u{e4}\n"), (json!(""), ""), (json!(42), "42")] {
        let token = hmac_token(&json!({ "sub": "somebody else", "uid": claim, "channel": "news" }));
        assert_eq!(verifier.subscription(&token).await.unwrap().user, user);
    }
    for claims in [json!({ "sub": "ada" }), json!({ "uid": 4.5 }), json!({ "uid": null }), json!({ "uid": ["ada"] })] {
        let refusal = verifier.connection(&hmac_token(&claims)).await.unwrap_err();
        assert!(matches!(&refusal, TokenError::Claim(name, _) if name == "uid"), "{claims}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_user_whose_id_is_too_long_for_a_record_is_refused_by_the_name_of_the_claim() {
    let (longest, longer) = ("u".repeat(1 << 10), "u".repeat((1 << 10) + 1));
    assert_eq!(connection(&json!({ "sub": longest })).await.unwrap().user, longest);
    let refusal = connection(&json!({ "sub": longer })).await.unwrap_err();
    assert!(matches!(&refusal, TokenError::Claim(name, why) if name == "sub" && why.contains("1 KiB")), "{refusal:?}");
    let verifier = Verifier::new(&TokenKeys { user_id_claim: Some("uid".into()), ..hmac_settings() }).unwrap();
    let refusal = verifier.subscription(&hmac_token(&json!({ "uid": longer, "channel": "news" }))).await.unwrap_err();
    assert!(matches!(&refusal, TokenError::Claim(name, _) if name == "uid"), "{refusal:?}");
}
