//! Hooks over NATS requests.

use serde_json::{Value, json};

use super::backend::NatsBackend;
use super::fixtures::{ADA, AMPLE, everywhere, headers, hook, with};
use crate::backplane::RequestError;
use crate::hooks::{Caller, HookError, Verdict};
use crate::settings::{Hook, HookEndpoint};

fn on(subject: &str) -> Hook {
    Hook {
        http_headers: vec!["Cookie".parse().unwrap()],
        static_headers: headers(&[("x-key", "k")]),
        ..hook(HookEndpoint::Nats(subject.into()), AMPLE)
    }
}

#[tokio::test]
async fn a_hook_on_a_subject_is_asked_the_same_with_headers() {
    let backend = NatsBackend::answering(&[], &json!({ "error": { "code": 103 } }).to_string());
    let hooks = with(&everywhere(&on("hooks.any")), backend.clone());
    let headers = [("cookie".to_owned(), "a=b".to_owned())];
    let verdict = hooks.subscribe(&Caller { headers: &headers, ..ADA }, "chat:1", "", b"").await.unwrap();
    assert!(matches!(verdict, Verdict::Error(error) if error.code() == 103));
    let question = backend.asked.lock().pop().unwrap();
    assert_eq!((question.subject.as_str(), question.timeout), ("hooks.any", AMPLE));
    for (name, value) in [("cookie", "a=b"), ("x-key", "k")] {
        assert!(question.headers.contains(&(name.into(), value.into())), "{:?}", question.headers);
    }
    let body: Value = serde_json::from_slice(&question.body).unwrap();
    assert_eq!((&body["user"], &body["channel"]), (&json!("ada"), &json!("chat:1")));
}

#[tokio::test]
async fn nobody_there_and_no_answer_and_no_link_are_told_apart() {
    for (which, expected) in [("nobody", "no_responder"), ("slow", "timeout"), ("down", "unreachable")] {
        let backend = NatsBackend::new(move |question| {
            Err(match which {
                "nobody" => RequestError::NoResponder(question.subject.clone()),
                "slow" => RequestError::Timeout(question.timeout),
                _ => RequestError::Unavailable("away".into()),
            })
        });
        let error = with(&everywhere(&on("hooks.any")), backend).refresh(&ADA).await.unwrap_err();
        let told = match error {
            HookError::NoResponder(_) => "no_responder",
            HookError::Timeout(_) => "timeout",
            HookError::Unreachable(_) => "unreachable",
            other => panic!("{which}: {other:?}"),
        };
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn a_service_that_reports_failure_gave_no_verdict() {
    let headers = [("Nats-Service-Error", "database away"), ("Nats-Service-Error-Code", "500")];
    let backend = NatsBackend::answering(&headers, r#"{"result":{"user":"ada"}}"#);
    let error = with(&everywhere(&on("hooks.any")), backend).connect(&ADA, "", "", &[], b"").await.unwrap_err();
    assert!(matches!(&error, HookError::Service(why) if why == "database away"), "{error:?}");
}
