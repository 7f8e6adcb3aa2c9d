//! Hooks over HTTP: what is asked, and every way in which asking fails.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::backend::{HttpBackend, Reply};
use super::fixtures::{ADA, AMPLE, alone, everywhere, headers as of_headers, hook, lonely, telemetry};
use crate::auth::ConnectionGrant;
use crate::hooks::{Caller, Connected, HookError, Hooks, Verdict};
use crate::protocol::centrifuge::Encoding;
use crate::settings::{self, Hook, HookEndpoint};
use crate::telemetry::HookEvent;

async fn asking(reply: Reply) -> (HttpBackend, Hooks) {
    let backend = HttpBackend::start(reply).await;
    let hooks = alone(&everywhere(&hook(backend.endpoint(), AMPLE)));
    (backend, hooks)
}

#[tokio::test]
async fn every_event_asks_as_centrifugos_proxies_do() {
    let (backend, hooks) = asking(Reply::Json(json!({ "result": {} }))).await;
    let meta = Some(br#"{"plan":"pro"}"#.as_slice());
    let ada = Caller { meta, ..ADA };
    let who = json!({ "client": "c-1", "transport": "websocket", "protocol": "json", "encoding": "json" });
    let about = |more: Value| {
        let mut question = who.clone();
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        question
    };

    let connected = hooks.connect(&ada, "js", "1.0", &["news"], br#"{"a":1}"#).await.unwrap();
    assert_eq!(connected, Verdict::Result(Connected::default()));
    let question = about(json!({ "name": "js", "version": "1.0", "channels": ["news"], "data": { "a": 1 } }));
    assert_eq!(backend.asked().body, question, "nobody knows the user yet");

    hooks.connect(&ADA, "", "", &[], b"").await.unwrap();
    assert_eq!(backend.asked().body, who);

    hooks.refresh(&ada).await.unwrap();
    assert_eq!(backend.asked().body, about(json!({ "user": "ada", "meta": { "plan": "pro" } })));

    hooks.subscribe(&Caller { user: "", ..ADA }, "chat:1", "t", b"7").await.unwrap();
    assert_eq!(backend.asked().body, about(json!({ "user": "", "channel": "chat:1", "token": "t", "data": 7 })));

    hooks.publish(&ADA, "chat:1", b"\"hi\"").await.unwrap();
    assert_eq!(backend.asked().body, about(json!({ "user": "ada", "channel": "chat:1", "data": "hi" })));

    hooks.sub_refresh(&ADA, "chat:1").await.unwrap();
    assert_eq!(backend.asked().body, about(json!({ "user": "ada", "channel": "chat:1" })));
}

#[tokio::test]
async fn data_that_is_no_json_travels_in_base64() {
    let (backend, hooks) = asking(Reply::Json(json!({ "result": {} }))).await;
    let binary = Caller { encoding: Encoding::Protobuf, ..ADA };
    hooks.publish(&binary, "chat:1", &[0, 1, 255]).await.unwrap();
    let question = backend.asked().body;
    assert_eq!(
        (&question["protocol"], &question["encoding"], &question["b64data"], question.get("data")),
        (&json!("protobuf"), &json!("binary"), &json!("AAH/"), None)
    );
    hooks.publish(&binary, "chat:1", br#"{"json":"all the same"}"#).await.unwrap();
    let question = backend.asked().body;
    assert_eq!((&question["encoding"], &question["data"]), (&json!("json"), &json!({ "json": "all the same" })));
}

#[tokio::test]
async fn only_wanted_headers_are_passed_on_over_the_configured_ones() {
    let backend = HttpBackend::start(Reply::Json(json!({ "result": {} }))).await;
    let wanting = Hook {
        http_headers: ["Cookie", "X-Both", "Content-Length", "HOST"].map(|name| name.parse().unwrap()).into(),
        static_headers: of_headers(&[("x-key", "k"), ("x-both", "fixed")]),
        ..hook(backend.endpoint(), AMPLE)
    };
    let hooks = alone(&settings::Hooks { connect: Some(wanting), ..settings::Hooks::default() });
    let headers = [("cookie", "a=b"), ("x-both", "theirs"), ("authorization", "secret"), ("content-length", "1")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    hooks.connect(&Caller { headers: &headers, ..ADA }, "", "", &[], b"").await.unwrap();
    let asked = backend.asked().headers;
    let header = |name: &str| asked.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(
        ["cookie", "x-both", "x-key", "content-type", "authorization"].map(header),
        [Some("a=b"), Some("theirs"), Some("k"), Some("application/json"), None]
    );
    assert_eq!(asked.get_all("x-both").iter().count(), 1);
}

#[tokio::test]
async fn anything_but_200_is_no_answer() {
    for status in [201, 204, 400, 401, 403, 404, 500, 503] {
        let (_backend, hooks) = asking(Reply::Status(StatusCode::from_u16(status).unwrap())).await;
        let error = hooks.refresh(&ADA).await.unwrap_err();
        assert!(matches!(error, HookError::Status(answered) if answered == status), "{error:?}");
        assert_eq!(error.client_error().to_string(), "100 internal server error");
        assert!(error.client_error().temporary());
    }
}

#[tokio::test]
async fn a_question_is_not_carried_to_another_place() {
    let (elsewhere, _) = asking(Reply::Json(json!({ "result": { "user": "eve" } }))).await;
    let HookEndpoint::Http(url) = elsewhere.endpoint() else { unreachable!("it speaks HTTP") };
    let (_backend, hooks) = asking(Reply::MovedTo(url.to_string())).await;
    let error = hooks.connect(&ADA, "", "", &[], b"").await.unwrap_err();
    assert!(matches!(error, HookError::Status(307)), "{error:?}");
}

#[tokio::test]
async fn answers_that_mean_nothing_are_failures() {
    for text in ["{", "{}{}", "{\"result\":{\"user\":7}}", "{\"error\":{}}", "{\"error\":{\"code\":-1}}"] {
        let (_backend, hooks) = asking(Reply::Text(text.into())).await;
        let error = hooks.connect(&ADA, "", "", &[], b"").await.unwrap_err();
        assert!(matches!(error, HookError::Answer(_)), "{text}: {error:?}");
    }
    for text in ["", " ", "ok", "7"] {
        let (_backend, hooks) = asking(Reply::Text(text.into())).await;
        let error = hooks.connect(&ADA, "", "", &[], b"").await.unwrap_err();
        assert!(matches!(error, HookError::NoObject("the answer")), "{text}: {error:?}");
    }
    let (_backend, hooks) = asking(Reply::Text(" ".repeat(1024 * 1024 + 1))).await;
    assert!(matches!(hooks.refresh(&ADA).await.unwrap_err(), HookError::TooLarge(_)));
}

#[tokio::test]
async fn a_backend_that_is_slow_or_away_fails_in_its_own_way() {
    let backend = HttpBackend::start(Reply::Never).await;
    let impatient = Duration::from_millis(50);
    let hooks = alone(&everywhere(&hook(backend.endpoint(), impatient)));
    let error = hooks.publish(&ADA, "chat:1", b"1").await.unwrap_err();
    assert!(matches!(error, HookError::Timeout(within) if within == impatient), "{error:?}");

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/?secret=s3cret").parse().unwrap();
    let hooks = alone(&everywhere(&hook(HookEndpoint::Http(url), AMPLE)));
    let error = hooks.publish(&ADA, "chat:1", b"1").await.unwrap_err();
    assert!(matches!(error, HookError::Unreachable(_)), "{error:?}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn questions_are_counted_by_what_came_of_them() {
    let backend = HttpBackend::start(Reply::Json(json!({ "result": { "user": "ada" } }))).await;
    let telemetry = telemetry();
    let settings = settings::Hooks {
        connect: Some(hook(backend.endpoint(), AMPLE)),
        refresh: Some(hook(HookEndpoint::Nats("hooks.refresh".into()), AMPLE)),
        ..settings::Hooks::default()
    };
    let hooks = Hooks::new(&settings, lonely(), std::sync::Arc::clone(&telemetry)).unwrap();
    let grant = ConnectionGrant { user: "ada".into(), ..ConnectionGrant::default() };
    let verdict = hooks.connect(&ADA, "", "", &[], b"").await.unwrap();
    assert_eq!(verdict, Verdict::Result(Connected { grant, data: None }));
    assert!(matches!(hooks.refresh(&ADA).await.unwrap_err(), HookError::Unreachable(_)));
    let rendered = telemetry.render();
    for series in [
        r#"midplane_hooks_total{hook="connect",result="result"} 1"#,
        r#"midplane_hooks_total{hook="refresh",result="unreachable"} 1"#,
        r#"midplane_hook_duration_seconds_count{hook="connect"} 1"#,
    ] {
        assert!(rendered.lines().any(|line| line == series), "{series} is not in\n{rendered}");
    }
}

#[tokio::test]
async fn who_is_not_to_be_asked_is_not_asked() {
    let hooks = alone(&settings::Hooks::default());
    assert!(!hooks.asks(HookEvent::Connect));
    assert!(matches!(hooks.refresh(&ADA).await.unwrap_err(), HookError::NotConfigured));
}
