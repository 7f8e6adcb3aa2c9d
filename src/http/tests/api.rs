//! The server API's routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::api::tests::{Stage, without_epochs};
use crate::auth::Verifier;
use crate::auth::issue::hmac_connection_token;
use crate::http::{Keeper, api, compose};
use crate::settings::{HttpApi, TokenKeys};

const KEY: &str = "a key for the tests";
const LIMIT: usize = 4096;

fn router(stage: &Stage, settings: &HttpApi) -> Router {
    let keeper = Keeper::new(settings);
    compose([api::routes(stage.api.clone(), settings, &keeper, LIMIT)], &stage.telemetry)
}

async fn answer(router: Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, without_epochs(std::str::from_utf8(&body).unwrap()))
}

async fn post(path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> (StatusCode, String) {
    let stage = Stage::set();
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(router(&stage, &stage.settings.http_api), request.body(body.into()).unwrap()).await
}

async fn keyed(path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    post(path, &[("X-API-Key", KEY)], body).await
}

#[tokio::test]
async fn the_key_is_taken_from_three_places() {
    let apikey = format!("ApiKey {KEY}");
    let in_query = "/api/publish?api_key=a+key%20for+the+tests";
    let refused = r#"{"error":{"code":401,"message":"no valid API key (X-API-Key)"}}"#;
    for (path, headers, admitted) in [
        ("/api/publish", vec![("X-API-Key", KEY)], true),
        (in_query, vec![], true),
        ("/api/publish", vec![("Authorization", &apikey)], true),
        (in_query, vec![("X-API-Key", "wrong")], true),
        ("/api/publish", vec![], false),
        ("/api/publish", vec![("X-API-Key", "wrong")], false),
        ("/api/publish", vec![("X-API-Key", "")], false),
        ("/api/publish", vec![("Authorization", KEY)], false),
        ("/api/publish?api_key=", vec![], false),
        ("/api", vec![], false),
    ] {
        let (status, body) = post(path, &headers, r#"{"channel":"live:a","data":1}"#).await;
        let expected =
            if admitted { (StatusCode::OK, r#"{"result":{}}"#) } else { (StatusCode::UNAUTHORIZED, refused) };
        assert_eq!((status, &*body), expected, "{path} {headers:?}");
    }
}

#[tokio::test]
async fn a_key_of_one_word_is_taken_from_authorization() {
    let stage = Stage::set();
    let settings = HttpApi { key: Some("secret".to_owned().into()), ..stage.settings.http_api.clone() };
    for (authorization, status) in [
        ("apikey secret", StatusCode::OK),
        ("APIKEY  secret", StatusCode::OK),
        ("apikey secret more", StatusCode::UNAUTHORIZED),
        ("Bearer secret", StatusCode::UNAUTHORIZED),
    ] {
        let request = Request::post("/api/channels").header("Authorization", authorization).body(Body::from("{}"));
        assert_eq!(answer(router(&stage, &settings), request.unwrap()).await.0, status, "{authorization}");
    }
}

#[tokio::test]
async fn without_a_key_nobody_calls_unless_everybody_may() {
    let stage = Stage::set();
    let request = || Request::post("/api/channels?api_key=").header("X-API-Key", "").body(Body::from("{}")).unwrap();
    let keyless = HttpApi { key: None, ..stage.settings.http_api.clone() };
    let closed = r#"{"error":{"code":401,"message":"closed until http_api.key is set"}}"#;
    assert_eq!(answer(router(&stage, &keyless), request()).await, (StatusCode::UNAUTHORIZED, closed.to_owned()));
    let empty = HttpApi { key: Some(String::new().into()), ..keyless.clone() };
    assert_eq!(answer(router(&stage, &empty), request()).await.0, StatusCode::UNAUTHORIZED);
    let insecure = HttpApi { insecure: true, ..keyless.clone() };
    assert_eq!(answer(router(&stage, &insecure), request()).await.0, StatusCode::OK);
    let disabled = HttpApi { enabled: false, ..insecure };
    assert_eq!(answer(router(&stage, &disabled), request()).await.0, StatusCode::NOT_FOUND);
}

/// A token that an operator shows, and the node's answer to a call with it.
async fn shown(claims: Value, ttl: Option<Duration>, path: &str, body: &'static str) -> StatusCode {
    let stage = Stage::set();
    let secret = SecretString::from("a secret for operators, 32 bytes long".to_owned());
    let keys = TokenKeys { hmac_secret: Some(secret.clone()), ..TokenKeys::default() };
    let revocations = Arc::clone(&stage.api.revocations);
    let keeper = Keeper::new(&stage.settings.http_api).with_operators(Verifier::new(&keys).unwrap(), revocations);
    let Value::Object(claims) = claims else { unreachable!("claims are an object") };
    let token = hmac_connection_token(&secret, "olga", ttl, claims).unwrap();
    let routes = api::routes(stage.api.clone(), &stage.settings.http_api, &keeper, LIMIT);
    let request = Request::post(path).header("Authorization", format!("Bearer {token}")).body(Body::from(body));
    answer(compose([routes], &stage.telemetry), request.unwrap()).await.0
}

#[tokio::test]
async fn an_operator_token_goes_as_far_as_it_says_and_ends() {
    let hour = Some(Duration::from_secs(3600));
    let publish = ("/api/publish", r#"{"channel":"live:a","data":1}"#);
    let batch = ("/api/batch", r#"{"commands":[{"channels":{}}]}"#);
    let older = ("/api", "{\"method\":\"channels\",\"params\":{}}");
    let channels = ("/api/channels", "{}");
    let (read, full) = (json!({"operator": "read"}), json!({"operator": "full"}));
    for (claims, ttl, (path, body), status) in [
        (&read, hour, channels, StatusCode::OK),
        (&read, hour, publish, StatusCode::FORBIDDEN),
        (&read, hour, batch, StatusCode::FORBIDDEN),
        (&read, hour, older, StatusCode::FORBIDDEN),
        (&full, hour, channels, StatusCode::OK),
        (&full, hour, publish, StatusCode::OK),
        (&full, hour, older, StatusCode::OK),
        (&full, None, channels, StatusCode::UNAUTHORIZED),
        (&json!({}), hour, channels, StatusCode::UNAUTHORIZED),
        (&json!({"operator": "everything"}), hour, channels, StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(shown(claims.clone(), ttl, path, body).await, status, "{claims} {ttl:?} {path}");
    }
}

#[tokio::test]
async fn errors_have_status_200_unless_asked_for_otherwise() {
    let body = r#"{"channel":"nowhere:a","data":1}"#;
    let error = r#"{"error":{"code":102,"message":"unknown channel: no namespace \"nowhere\""}}"#;
    assert_eq!(keyed("/api/publish", body).await, (StatusCode::OK, error.to_owned()));
    let mode = ("X-Centrifugo-Error-Mode", "transport");
    let (status, body) = post("/api/publish", &[("X-API-Key", KEY), mode], body).await;
    assert_eq!(
        (status, &*body),
        (StatusCode::NOT_FOUND, r#"{"code":102,"message":"unknown channel: no namespace \"nowhere\""}"#)
    );
}

#[tokio::test]
async fn transport_error_mode_can_be_the_default() {
    let stage = Stage::set();
    let settings = HttpApi { transport_errors: true, ..stage.settings.http_api.clone() };
    for (path, body, status) in [
        ("/api/publish", r#"{"channel":"live:a","data":1}"#, StatusCode::OK),
        ("/api/publish", "{}", StatusCode::BAD_REQUEST),
        ("/api/presence", "{}", StatusCode::BAD_REQUEST),
        ("/api/history", r#"{"channel":"chat:a","since":{"offset":1,"epoch":"x"}}"#, StatusCode::RANGE_NOT_SATISFIABLE),
        ("/api/batch", r#"{"commands":[{"publish":{}}]}"#, StatusCode::OK),
        ("/api/broadcast", r#"{"channels":["nowhere:a"],"data":1}"#, StatusCode::OK),
    ] {
        let request = Request::post(path).header("X-API-Key", KEY).body(Body::from(body)).unwrap();
        assert_eq!(answer(router(&stage, &settings), request).await.0, status, "{path} {body}");
    }
}

#[tokio::test]
async fn only_whole_json_objects_are_taken() {
    for (body, why) in [
        ("", "no JSON object"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("[]", "no JSON object"),
        ("1", "no JSON object"),
        ("{} {}", "trailing characters at line 1 column 4"),
        ("\u{feff}{}", "no JSON object"),
    ] {
        let error = format!(r#"{{"error":{{"code":107,"message":"bad request: {why}"}}}}"#);
        assert_eq!(keyed("/api/publish", body).await, (StatusCode::BAD_REQUEST, error), "{body}");
    }
    assert_eq!(keyed("/api/publish", vec![b'{', 0xff, b'}']).await.0, StatusCode::BAD_REQUEST);
    let deep = "[".repeat(LIMIT - 100);
    assert_eq!(keyed("/api/publish", deep).await.0, StatusCode::BAD_REQUEST);
    for body in ["null", " null", "[]", "1"] {
        assert_eq!(keyed("/api/info", body).await.0, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(keyed("/api/disconnect", body).await.0, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let body = format!(r#"{{"channel":"live:a","data":"{}"}}"#, "x".repeat(LIMIT));
    assert_eq!(keyed("/api/publish", body.clone()).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    // Strangers learn nothing of the limit.
    assert_eq!(post("/api/publish", &[], body).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn other_verbs_and_unknown_methods_have_their_statuses() {
    let stage = Stage::set();
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for path in ["/api", "/api/publish"] {
            let request = Request::builder().method(method.clone()).uri(path).header("X-API-Key", KEY);
            let request = request.body(Body::empty()).unwrap();
            let (status, _) = answer(router(&stage, &stage.settings.http_api), request).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
    let (status, body) = keyed("/api/nonsense", "{}").await;
    assert_eq!((status, &*body), (StatusCode::NOT_FOUND, r#"{"error":{"code":104,"message":"not found"}}"#));
}

#[tokio::test]
async fn the_older_form_is_served_at_the_root() {
    let commands = "{\"method\":\"publish\",\"params\":{\"channel\":\"chat:a\",\"data\":1}}\n{\"method\":\"channels\",\"params\":{}}";
    let replies = "{\"result\":{\"offset\":2,\"epoch\":\"EPOCH\"}}\n{\"result\":{\"channels\":{}}}";
    assert_eq!(keyed("/api", commands).await, (StatusCode::OK, replies.to_owned()));
    assert_eq!(keyed("/api", "rubbish").await.0, StatusCode::BAD_REQUEST);
}
