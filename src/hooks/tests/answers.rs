//! Every form that an answer can take.

use bytes::Bytes;
use serde_json::{Value, json};

use super::backend::NatsBackend;
use super::fixtures::{ADA, AMPLE, everywhere, hook, with};
use crate::auth::{ConnectionGrant, Overrides, ServerSub};
use crate::backplane::Version;
use crate::hooks::{Connected, HookError, Hooks, Publishable, Refreshed, SubRefreshed, Subscribed, Verdict};
use crate::protocol::centrifuge::codes::{ClientError, Disconnect};
use crate::settings::HookEndpoint;

fn answered(answer: &Value) -> Hooks {
    let hook = hook(HookEndpoint::Nats("hooks".into()), AMPLE);
    with(&everywhere(&hook), NatsBackend::answering(&[], &answer.to_string()))
}

fn bytes(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

async fn connect(answer: Value) -> Result<Verdict<Connected>, HookError> {
    answered(&answer).connect(&ADA, "", "", &[], b"").await
}

#[tokio::test]
async fn connect_grants_as_a_token_does() {
    let verdict = connect(json!({ "result": {
        "user": "ada", "expire_at": 4_102_444_800_u64, "info": { "name": "Ada" }, "data": [1], "b64data": "eyJiIjoyfQ==",
        "channels": ["news", "chat:1"], "meta": { "plan": "pro" },
        "subs": { "chat:1": { "info": 1, "data": { "n": 1 }, "override": { "force_recovery": { "value": true } },
            "expire_at": 5, "cache_recover": true } },
        "caps": [], "labels": { "a": "b" },
    } }))
    .await
    .unwrap();
    let overrides = Overrides { force_recovery: Some(true), ..Overrides::default() };
    let chat = ServerSub { channel: "chat:1".into(), info: bytes("1"), data: bytes(r#"{"n":1}"#), overrides };
    let grant = ConnectionGrant {
        user: "ada".into(),
        info: bytes(r#"{"name":"Ada"}"#),
        meta: bytes(r#"{"plan":"pro"}"#),
        expires_at: Some(4_102_444_800),
        subs: vec![chat, ServerSub { channel: "news".into(), ..ServerSub::default() }],
        ..ConnectionGrant::default()
    };
    assert_eq!(verdict, Verdict::Result(Connected { grant, data: bytes(r#"{"b":2}"#) }));
}

#[tokio::test]
async fn an_empty_user_is_the_anonymous_one() {
    for anonymous in [json!({ "result": {} }), json!({ "result": { "user": "", "expire_at": 0, "info": null } })] {
        assert_eq!(connect(anonymous).await.unwrap(), Verdict::Result(Connected::default()));
    }
}

#[tokio::test]
async fn an_answer_that_said_neither_yes_nor_no_allowed_what_was_asked() {
    let nothing = [
        json!({}),
        json!({ "message": "Unauthorized" }),
        json!({ "status": "error", "code": 403 }),
        json!({ "allowed": false }),
        json!({ "Result": {} }),
        json!({ "result": null, "error": null, "disconnect": null }),
    ];
    for answer in nothing {
        let failed = |error: HookError| assert!(matches!(error, HookError::Undecided), "{answer}: {error:?}");
        nothing_is_allowed(&answered(&answer), failed).await;
    }
    // Serde reads an array into a struct, field by field: `["root"]` would be a user.
    for (answer, where_) in [
        (json!([]), "the answer"),
        (json!([{ "user": "root" }]), "the answer"),
        (json!("ok"), "the answer"),
        (json!({ "result": [] }), "result"),
        (json!({ "result": ["root", 0, null] }), "result"),
        (json!({ "result": true }), "result"),
        (json!({ "error": [403, "no"] }), "error"),
        (json!({ "result": {}, "error": false }), "error"),
        (json!({ "disconnect": [4500, "no"] }), "disconnect"),
    ] {
        let failed =
            |error: HookError| assert!(matches!(error, HookError::NoObject(it) if it == where_), "{answer}: {error:?}");
        nothing_is_allowed(&answered(&answer), failed).await;
    }
}

/// Nobody comes in, subscribes or publishes, for this reason, and what has expired is not renewed.
async fn nothing_is_allowed(hooks: &Hooks, failed: impl Fn(HookError)) {
    failed(hooks.connect(&ADA, "", "", &[], b"").await.unwrap_err());
    failed(hooks.subscribe(&ADA, "news", "", b"").await.unwrap_err());
    failed(hooks.publish(&ADA, "news", b"1").await.unwrap_err());
    let expired = Refreshed { expired: true, ..Refreshed::default() };
    assert_eq!(hooks.refresh(&ADA).await.unwrap(), Verdict::Result(expired));
    let expired = SubRefreshed { expired: true, ..SubRefreshed::default() };
    assert_eq!(hooks.sub_refresh(&ADA, "news").await.unwrap(), Verdict::Result(expired));
}

#[tokio::test]
async fn what_is_null_is_not_there() {
    let verdict = connect(json!({ "result": {}, "error": null, "disconnect": null, "something": 1 })).await;
    assert_eq!(verdict.unwrap(), Verdict::Result(Connected::default()));
}

#[tokio::test]
async fn an_error_renews_nothing_and_a_disconnect_stays_one() {
    let hooks = answered(&json!({ "error": { "code": 1000, "message": "no" } }));
    let expired = Refreshed { expired: true, ..Refreshed::default() };
    assert_eq!(hooks.refresh(&ADA).await.unwrap(), Verdict::Result(expired));
    let expired = SubRefreshed { expired: true, ..SubRefreshed::default() };
    assert_eq!(hooks.sub_refresh(&ADA, "news").await.unwrap(), Verdict::Result(expired));
    let hooks = answered(&json!({ "disconnect": { "code": 4500, "reason": "banned" } }));
    assert!(matches!(hooks.refresh(&ADA).await.unwrap(), Verdict::Disconnect(_)));
}

#[tokio::test]
async fn the_other_results_are_read_whole() {
    let hooks = answered(&json!({ "result": {
        "expired": false, "expire_at": 4_102_444_800_u64, "info": { "name": "Ada" }, "meta": { "plan": "pro" },
    } }));
    let refreshed = Refreshed {
        expired: false,
        expires_at: Some(4_102_444_800),
        info: bytes(r#"{"name":"Ada"}"#),
        meta: bytes(r#"{"plan":"pro"}"#),
    };
    assert_eq!(hooks.refresh(&ADA).await.unwrap(), Verdict::Result(refreshed));
    let refreshed = SubRefreshed { expired: false, expires_at: Some(4_102_444_800), info: bytes(r#"{"name":"Ada"}"#) };
    assert_eq!(hooks.sub_refresh(&ADA, "news").await.unwrap(), Verdict::Result(refreshed));

    let hooks = answered(&json!({ "result": {
        "expire_at": 4_102_444_800_u64, "b64info": "AAEC", "data": { "n": 1 }, "override": { "presence": { "value": false } },
    } }));
    let subscribed = Subscribed {
        expires_at: Some(4_102_444_800),
        info: Some(Bytes::from_static(&[0, 1, 2])),
        data: bytes(r#"{"n":1}"#),
        overrides: Overrides { presence: Some(false), ..Overrides::default() },
    };
    assert_eq!(hooks.subscribe(&ADA, "news", "", b"").await.unwrap(), Verdict::Result(subscribed));

    let hooks = answered(&json!({ "result": {
        "data": { "clean": true }, "skip_history": true, "tags": { "lang": "de" }, "idempotency_key": "k", "delta": true,
        "version": 7, "version_epoch": "e",
    } }));
    let publishable = Publishable {
        data: bytes(r#"{"clean":true}"#),
        skip_history: true,
        tags: vec![("lang".into(), "de".into())],
        idempotency_key: Some("k".into()),
        delta: true,
        version: Some(Version { number: 7, epoch: "e".into() }),
    };
    assert_eq!(hooks.publish(&ADA, "news", b"1").await.unwrap(), Verdict::Result(publishable));
}

#[tokio::test]
async fn errors_and_disconnects_pass_and_the_gravest_counts() {
    let error = json!({ "code": 1000, "message": "no credit", "temporary": true });
    let custom = ClientError::custom(1000, "no credit", true).unwrap();
    assert_eq!(connect(json!({ "error": error, "result": {} })).await.unwrap(), Verdict::Error(custom));
    let end = json!({ "code": 4500, "reason": "banned" });
    let banned = Disconnect::custom(4500, "banned").unwrap();
    assert_eq!(connect(json!({ "error": error, "disconnect": end })).await.unwrap(), Verdict::Disconnect(banned));
}

#[tokio::test]
async fn words_that_no_sdk_could_bear_are_replaced() {
    for (code, said) in [(103, "permission denied"), (1000, "refused by the application")] {
        let verdict = connect(json!({ "error": { "code": code } })).await.unwrap();
        assert_eq!(verdict, Verdict::Error(ClientError::custom(code, said, false).unwrap()));
    }
    for (code, reason, said) in [
        (4500, "", "disconnected by the application"),
        (4500, "{\"a\":1}", "disconnected by the application"),
        (4000, &*"long".repeat(50), "disconnected by the application"),
        (3503, "", "force disconnect"),
    ] {
        let verdict = connect(json!({ "disconnect": { "code": code, "reason": reason } })).await.unwrap();
        assert_eq!(verdict, Verdict::Disconnect(Disconnect::custom(code, said).unwrap()), "{code} {reason}");
    }
}

#[tokio::test]
async fn codes_that_are_not_a_backends_to_give_are_failures() {
    for answer in [
        json!({ "error": { "code": 0, "message": "x" } }),
        json!({ "error": { "code": 2500, "message": "x" } }),
        json!({ "disconnect": { "code": 1000, "reason": "x" } }),
        json!({ "disconnect": { "code": 0, "reason": "" } }),
    ] {
        let error = connect(answer.clone()).await.unwrap_err();
        assert!(matches!(error, HookError::Code(_)), "{answer}: {error:?}");
    }
}

#[tokio::test]
async fn a_user_whose_id_is_too_long_for_a_record_is_a_failure() {
    let longest = connect(json!({ "result": { "user": "u".repeat(1 << 10) } })).await;
    assert!(longest.is_ok(), "{longest:?}");
    let error = connect(json!({ "result": { "user": "u".repeat((1 << 10) + 1) } })).await.unwrap_err();
    assert!(matches!(error, HookError::User(_)), "{error:?}");
}

#[tokio::test]
async fn base64_that_is_none_is_a_failure() {
    for answer in [
        json!({ "result": { "b64info": "###" } }),
        json!({ "result": { "info": "x".repeat(8 << 10) } }),
        json!({ "result": { "b64data": "a" } }),
        json!({ "result": { "subs": { "news": { "b64data": "###" } } } }),
    ] {
        let error = connect(answer.clone()).await.unwrap_err();
        assert!(matches!(error, HookError::Unfit(_)), "{answer}: {error:?}");
    }
}
