//! Clients' calls to services.

use std::sync::Arc;

use bytes::Bytes;

use super::backend::NatsBackend;
use super::fixtures::{ADA, AMPLE, alone, everywhere, hook, lonely, telemetry, with};
use crate::backplane::RequestError;
use crate::hooks::{Caller, Hooks, RpcError};
use crate::protocol::centrifuge::Encoding;
use crate::settings::{self, HookEndpoint};

fn serving(backend: Arc<NatsBackend>) -> Hooks {
    with(&settings::Hooks::default(), backend)
}

async fn call(backend: Arc<NatsBackend>) -> Result<Bytes, RpcError> {
    serving(backend).rpc(&ADA, "sum", Bytes::from_static(b"[1,2]")).await
}

#[tokio::test]
async fn a_call_is_a_request_to_its_methods_subject_with_the_caller_in_the_headers() {
    let backend = NatsBackend::answering(&[], "3");
    let caller = Caller { meta: Some(br#"{"plan":"pro"}"#), ..ADA };
    let data = serving(backend.clone()).rpc(&caller, "math.sum-2", Bytes::from_static(b"[1,2]")).await.unwrap();
    assert_eq!(data, "3");
    let question = backend.asked.lock().pop().unwrap();
    assert_eq!((question.subject.as_str(), &question.body[..]), ("rpc.math.sum-2", &b"[1,2]"[..]));
    let expected = [
        ("Midplane-User", "ada"),
        ("Midplane-Client", "c-1"),
        ("Midplane-Transport", "websocket"),
        ("Midplane-Protocol", "json"),
        ("Midplane-Meta", r#"{"plan":"pro"}"#),
    ];
    assert_eq!(question.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn a_name_that_is_not_one_plain_subject_is_an_unknown_method() {
    let long = "a".repeat(201);
    for method in
        ["", ".", "a.", ".a", "a..b", "a.*", ">", "a b", "a\n", "$SYS.REQ", "_INBOX.>", "ä", "a/b", "a:b", &long]
    {
        let backend = NatsBackend::answering(&[], "3");
        let error = serving(backend.clone()).rpc(&ADA, method, Bytes::new()).await.unwrap_err();
        assert!(matches!(error, RpcError::Method(_)), "{method}: {error:?}");
        assert_eq!(error.client_error().code(), 104);
        assert!(backend.asked.lock().is_empty(), "{method}");
    }
}

#[tokio::test]
async fn a_user_that_a_header_would_change_calls_nobody() {
    for user in [" admin", "admin ", "a\r\nMidplane-User: b", "a\0b", "\u{a0}admin"] {
        let backend = NatsBackend::answering(&[], "3");
        let caller = Caller { user, ..ADA };
        let error = serving(backend.clone()).rpc(&caller, "sum", Bytes::new()).await.unwrap_err();
        assert!(matches!(error, RpcError::User), "{user:?}: {error:?}");
        assert_eq!(error.client_error().code(), 107);
        assert!(backend.asked.lock().is_empty(), "{user:?}");
    }
    let backend = NatsBackend::answering(&[], "3");
    assert!(serving(backend).rpc(&Caller { user: "", ..ADA }, "sum", Bytes::new()).await.is_ok());
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_has_its_own_code() {
    let nobody = NatsBackend::new(|question| Err(RequestError::NoResponder(question.subject.clone())));
    assert_eq!(call(nobody).await.unwrap_err().client_error().to_string(), "104 method not found");
    let slow = NatsBackend::new(|question| Err(RequestError::Timeout(question.timeout)));
    let error = call(slow).await.unwrap_err().client_error();
    assert_eq!((error.code(), error.temporary()), (100, true));
    let away = NatsBackend::new(|_| Err(RequestError::Unavailable("away".into())));
    assert_eq!(call(away).await.unwrap_err().client_error().code(), 100);
}

#[tokio::test]
async fn without_services_or_when_switched_off_calls_are_not_available() {
    let error = alone(&settings::Hooks::default()).rpc(&ADA, "sum", Bytes::new()).await.unwrap_err();
    assert_eq!(error.client_error().to_string(), "108 not available");
    assert_eq!(error.to_string(), "nats.servers is not set");
    let mut off = everywhere(&hook(HookEndpoint::Nats("hooks".into()), AMPLE));
    off.rpc.enabled = false;
    let backend = NatsBackend::answering(&[], "3");
    let error = with(&off, backend.clone()).rpc(&ADA, "sum", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, RpcError::Off));
    assert!(backend.asked.lock().is_empty());
}

#[tokio::test]
async fn a_service_fails_by_headers_of_ours_or_of_the_service_framework() {
    for (headers, expected) in [
        (&[("Midplane-Error-Code", "1000"), ("Midplane-Error-Message", "no credit")][..], "1000 no credit false"),
        (
            &[
                ("midplane-error-code", " 429 "),
                ("Midplane-Error-Message", "slow"),
                ("Midplane-Error-Temporary", "TRUE"),
            ],
            "429 slow true",
        ),
        (&[("Midplane-Error-Code", "103")], "103 permission denied false"),
        (&[("Nats-Service-Error", "no such user"), ("Nats-Service-Error-Code", "404")], "404 no such user false"),
        (&[("Nats-Service-Error-Code", "500")], "500 refused by the application false"),
        (
            &[("Nats-Service-Error-Code", "500"), ("Midplane-Error-Code", "1001"), ("Midplane-Error-Message", "ours")],
            "1001 ours false",
        ),
        // What has no code that clients may be told is told as our own failure; the log has the words.
        (&[("Nats-Service-Error", "panic at line 7")], "100 internal server error true"),
        (&[("Nats-Service-Error", "bad"), ("Nats-Service-Error-Code", "ERR")], "100 internal server error true"),
        (&[("Midplane-Error-Code", "2500"), ("Midplane-Error-Message", "x")], "100 internal server error true"),
        (&[("Midplane-Error-Code", "")], "100 internal server error true"),
    ] {
        let error = call(NatsBackend::answering(headers, "{}")).await.unwrap_err().client_error();
        assert_eq!(format!("{error} {}", error.temporary()), expected, "{headers:?}");
    }
    let unrelated = [("Midplane-Error-Message", "alone"), ("X-Trace", "1")];
    assert!(call(NatsBackend::answering(&unrelated, "{}")).await.is_ok());
}

#[tokio::test]
async fn json_clients_get_json_on_one_line_and_protobuf_clients_get_the_bytes() {
    assert_eq!(call(NatsBackend::answering(&[], "{\n \"a\": 1\n}")).await.unwrap(), "{ \"a\": 1}");
    assert_eq!(call(NatsBackend::answering(&[], "")).await.unwrap(), "");
    for text in ["three", "1 2", "{\"a\":"] {
        let error = call(NatsBackend::answering(&[], text)).await.unwrap_err();
        assert!(matches!(error, RpcError::NotJson), "{text}: {error:?}");
        assert_eq!(error.client_error().code(), 100);
    }
    let binary = Caller { encoding: Encoding::Protobuf, ..ADA };
    let data = serving(NatsBackend::answering(&[], "three\n")).rpc(&binary, "sum", Bytes::new()).await.unwrap();
    assert_eq!(data, "three\n");
}

#[tokio::test]
async fn calls_are_counted_by_what_came_of_them() {
    let telemetry = telemetry();
    let answers = [
        NatsBackend::answering(&[], "3"),
        NatsBackend::answering(&[("Midplane-Error-Code", "1000")], ""),
        NatsBackend::new(|question| Err(RequestError::NoResponder(question.subject.clone()))),
        NatsBackend::new(|question| Err(RequestError::Timeout(question.timeout))),
    ];
    for backend in answers {
        let hooks = Hooks::new(&settings::Hooks::default(), backend, Arc::clone(&telemetry)).unwrap();
        let _outcome = hooks.rpc(&ADA, "sum", Bytes::new()).await;
    }
    let hooks = Hooks::new(&settings::Hooks::default(), lonely(), Arc::clone(&telemetry)).unwrap();
    assert!(hooks.rpc(&ADA, "sum", Bytes::new()).await.is_err());
    let rendered = telemetry.render();
    for result in ["ok", "error", "no_responder", "timeout"] {
        let series = format!("midplane_rpc_total{{result=\"{result}\"}} 1");
        assert!(rendered.lines().any(|line| line == series), "{series} is not in\n{rendered}");
    }
}
