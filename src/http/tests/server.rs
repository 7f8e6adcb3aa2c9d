use std::time::Duration;

use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::*;
use crate::http::{Keeper, Probes, health, limits};

fn probes(obstacles: Vec<String>) -> Router {
    health::routes(Probes {
        node: "ada".to_owned(),
        settings: "0123456789abcdef".to_owned(),
        started: Instant::now().into_std(),
        obstacles: Box::new(move || obstacles.clone()),
        whose: whose(),
    })
    .merge(health::metrics(&telemetry(), None))
}

/// Behind proxies of this machine, with an API key.
fn whose() -> health::Whose {
    let settings = r#"http.trusted_proxies = ["127.0.0.1"]
        http_api.key = "the key of these tests""#;
    let settings = crate::settings::Settings::from_toml(settings).unwrap();
    health::Whose::new(&Keeper::new(&settings.http_api), settings.http.trusted_proxies)
}

async fn serve_routes(more: Router) -> Served {
    serve_with(open_edge(), bounds(), more).await
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_request_that_dribbles_in_is_cut_at_the_header_timeout() {
    let timeout = Duration::from_millis(200);
    let served = serve_with(open_edge(), Bounds { header_timeout: timeout, ..bounds() }, probes(vec![])).await;
    let whole = "GET /health HTTP/1.1\r\nhost: node\r\n\r\n";
    for half in ["GET /health HTTP/1.1\r\nhost: no", "", whole, &format!("{whole}GET /he")] {
        let begun = Instant::now();
        let mut stream = served.send(half.as_bytes()).await;
        let mut answer = Vec::new();
        // A close or a reset: it must only be over.
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(begun.elapsed() >= timeout, "{half:?}");
    }
}

/// More than any socket has room for.
fn large() -> Router {
    let body = Bytes::from(vec![b'x'; 32 << 20]);
    Router::new().route("/large", get(async move || body.clone()))
}

const ASK_FOR_IT: &[u8] = b"GET /large HTTP/1.1\r\nhost: node\r\n\r\n";

/// Ends once the server has cut a connection on which nobody reads.
async fn is_cut(mut stream: TcpStream) {
    within(async { while stream.write_all(&[b'x'; 64 << 10]).await.is_ok() {} }).await;
}

#[tokio::test]
async fn who_read_no_answer_kept_its_connection_for_ever() {
    let bounds = Bounds { write_timeout: Duration::from_millis(200), ..bounds() };
    let served = serve_with(open_edge(), bounds, large()).await;
    is_cut(served.send(ASK_FOR_IT).await).await;
    assert!(served.measured(r#"midplane_http_connections_cut_total{reason="unread"} 1"#));
    assert!(served.get("/large", "").await.ends_with('x'), "who reads gets all of it");
}

#[tokio::test]
async fn a_node_whose_places_were_all_taken_answered_nobody() {
    let served = serve_with(open_edge(), Bounds { places: 4, ..bounds() }, probes(vec![]).merge(large())).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(served.send(ASK_FOR_IT).await);
        silent.push(served.send(b"").await);
        let health = served.get("/health", "").await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    }
    for stream in silent.drain(..16) {
        is_cut(stream).await;
    }
    let metrics = served.telemetry.render();
    let displaced = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"midplane_http_connections_cut_total{reason="displaced"} "#));
    assert!(displaced.unwrap().parse::<u32>().unwrap() >= 16, "{displaced:?}");
}

#[tokio::test]
async fn who_has_the_key_learns_its_address_and_the_fingerprint_of_the_settings_and_nobody_else() {
    let served = serve_routes(probes(vec![])).await;
    let forwarded = "x-forwarded-for: 192.0.2.1, 198.51.100.7\r\n";
    let seen = async |headers: &str| body(&served.get("/health", headers).await)["client"].clone();
    let key = "x-api-key: the key of these tests\r\n";
    assert_eq!(seen(&format!("{key}{forwarded}")).await, "198.51.100.7");
    assert_eq!(seen(key).await, "127.0.0.1");
    assert_eq!(seen(forwarded).await, Value::Null);
    assert_eq!(seen("x-api-key: another\r\n").await, Value::Null);
    let settings = async |headers: &str| body(&served.get("/health", headers).await)["settings"].clone();
    assert_eq!((settings(key).await, settings("").await), (json!("0123456789abcdef"), Value::Null));
}

#[tokio::test]
async fn probes_say_what_they_are_asked() {
    let served = serve_routes(probes(vec![])).await;
    let health = served.get("/health", "").await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    assert_eq!((body(&health)["status"].clone(), body(&health)["node"].clone()), (json!("ok"), json!("ada")));
    let ready = served.get("/ready", "").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert_eq!(body(&ready)["ready"], json!(true));
    let metrics = served.get("/metrics", "").await;
    assert!(metrics.contains("text/plain; version=0.0.4") && metrics.contains("\nmidplane_ready 0\n"), "{metrics}");

    let served = serve_routes(probes(vec!["draining".to_owned()])).await;
    assert!(served.get("/health", "").await.starts_with("HTTP/1.1 200"));
    let ready = served.get("/ready", "").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert_eq!(body(&ready)["reasons"], json!(["draining"]));
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let served = serve_routes(probes(vec![])).await;
    for path in ["/health", "/nowhere", "/connection/websocket"] {
        let answer = served.get(path, "").await;
        for header in [
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'; frame-ancestors 'none'",
        ] {
            assert!(answer.contains(header), "{path} {header} {answer}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_small_json_error() {
    let served = serve_routes(Router::new().route("/only-post", post(|| async {}))).await;
    let missing = served.get("/nowhere", "").await;
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
    assert_eq!(body(&missing), json!({ "error": { "code": 404, "message": "not found" } }));
    let wrong = served.get("/only-post", "").await;
    assert!(wrong.starts_with("HTTP/1.1 405") && wrong.contains("allow: POST"), "{wrong}");
    assert_eq!(body(&wrong)["error"]["code"], 405);
    assert!(served.measured(r#"midplane_http_requests_total{route="other",method="get",status="4xx"} 2"#));
}

#[tokio::test]
async fn a_body_is_bounded_in_bytes_and_time() {
    let echo = Router::new().route("/api", post(|Json(value): Json<Value>| async move { Json(value) }));
    let served = serve_routes(limits::body::whole(echo, 20, Duration::from_millis(200))).await;
    let post = |head: &'static str, body: &'static str| {
        let request = format!(
            "POST /api HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-type: application/json\r\n{head}\r\n{body}"
        );
        let served = &served;
        async move { read_to_end(served.send(request.as_bytes()).await).await }
    };
    let fits = post("content-length: 7\r\n", "{\"a\":1}").await;
    assert!(fits.starts_with("HTTP/1.1 200") && fits.ends_with("{\"a\":1}"), "{fits}");
    let announced = post("content-length: 100\r\n", "").await;
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    assert_eq!(body(&announced)["error"]["limit"], 20);
    let chunked = post("transfer-encoding: chunked\r\n", "18\r\n{\"a\":\"0123456789012345\"}\r\n0\r\n\r\n").await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    let slow = post("content-length: 7\r\n", "{").await;
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_finish_and_takes_no_more() {
    let (release, released) = tokio::sync::watch::channel(false);
    let route = Router::new().route(
        "/slow",
        get(move || {
            let mut released = released.clone();
            async move {
                released.wait_for(|released| *released).await.unwrap();
                "done"
            }
        }),
    );
    let served = serve_routes(route).await;
    let request = b"GET /slow HTTP/1.1\r\nhost: node\r\n\r\nGET /slow HTTP/1.1\r\nhost: node\r\n\r\n";
    let in_flight = served.send(request).await;
    while release.receiver_count() < 2 {
        tokio::task::yield_now().await;
    }
    served.stop.cancel();
    within(async { while TcpStream::connect(served.address).await.is_ok() {} }).await;
    release.send(true).unwrap();
    let answer = read_to_end(in_flight).await;
    assert!(answer.ends_with("done"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "the connection ends after the request in flight: {answer}");
    within(served.served).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever() {
    let served = serve_routes(stuck()).await;
    let _in_flight = served.send(b"GET /stuck HTTP/1.1\r\nhost: node\r\n\r\n").await;
    served.stop.cancel();
    served.served.await.unwrap();
}
