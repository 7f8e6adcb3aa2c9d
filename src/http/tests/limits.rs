use super::*;
use crate::http::limits::Gate;
use crate::settings::{OriginPattern, Rate};

#[tokio::test]
async fn a_full_node_answers_503_before_the_upgrade_and_takes_the_next_when_one_leaves() {
    let mut served = serve(Edge { admission: Admission::new(Some(1)), ..open_edge() }).await;
    let (head, first) = served.handshake("").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let (head, _) = served.handshake("").await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 5"), "{head}");
    drop(first);
    assert!(matches!(served.saw().await, Seen::Opened(_)));
    assert!(matches!(served.saw().await, Seen::Gone));
    within(served.edge.admission.emptied()).await;
    let (head, _) = served.handshake("").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
}

#[tokio::test]
async fn a_draining_node_goes_on_listening_and_answers_503() {
    let mut served = serve(open_edge()).await;
    let (_, _inside) = served.handshake("").await;
    served.edge.admission.set(Gate::Draining);
    let (head, _) = served.handshake("").await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 1"), "{head}");
    assert_eq!(served.edge.admission.taken(), 1, "who is inside stays");
    assert!(matches!(served.saw().await, Seen::Opened(_)));
}

#[tokio::test]
async fn while_nobody_more_may_wait_to_connect_handshakes_are_answered_503() {
    let connects = Arc::new(Turnstile::new(1, 0, DEADLINE));
    let served = serve(Edge { connects: Arc::clone(&connects), ..open_edge() }).await;
    let inside = connects.enter().await.unwrap();
    let (head, _) = served.handshake("").await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 2"), "{head}");
    assert!(served.measured(r#"midplane_handshakes_rejected_total{reason="busy"} 1"#));
    drop(inside);
    let (head, _) = served.handshake("").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
}

#[tokio::test]
async fn a_foreign_page_is_refused_before_the_upgrade() {
    let origins = Origins::new(&[OriginPattern("https://app.example.com".to_owned())], false);
    let served = serve(Edge { origins: origins.into(), ..open_edge() }).await;
    for (headers, status) in [
        ("origin: https://app.example.com\r\n", "101"),
        ("", "101"),
        ("origin: https://evil.example.com\r\n", "403"),
        ("origin: http://localhost:3000\r\n", "403"),
    ] {
        let (head, _) = served.handshake(headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{headers} {head}");
    }
    assert!(served.measured(r#"midplane_handshakes_rejected_total{reason="origin"} 2"#));
    assert!(served.measured(r#"midplane_http_requests_total{route="connection",method="get",status="1xx"} 2"#));
}

#[tokio::test]
async fn an_address_that_tries_too_often_gets_429_and_others_do_not() {
    let rate = Rate { per_second: 0.01, burst: 2 };
    let served = serve(Edge { handshake_rate: Some(rate), ..open_edge() }).await;
    let from = |address: &str| format!("x-forwarded-for: 6.6.6.6, {address}\r\n");
    for _ in 0..2 {
        let (head, _) = served.handshake(&from("198.51.100.7")).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    }
    let (head, _) = served.handshake(&from("198.51.100.7")).await;
    assert!(head.starts_with("HTTP/1.1 429") && head.contains("retry-after: "), "{head}");
    let (head, _) = served.handshake(&from("198.51.100.8")).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // One IPv6 customer is one address.
    for (address, status) in [("2001:db8::1", "101"), ("2001:db8::2", "101"), ("2001:db8::3", "429")] {
        let (head, _) = served.handshake(&from(address)).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{address} {head}");
    }
    assert!(served.measured(r#"midplane_rate_limited_total{scope="handshake_ip"} 2"#));
    assert!(served.measured(r#"midplane_handshakes_rejected_total{reason="rate_limit"} 2"#));
}

#[tokio::test]
async fn the_session_is_told_the_clients_own_address() {
    let mut served = serve(open_edge()).await;
    served.handshake("x-forwarded-for: 198.51.100.7\r\ncookie: a=b\r\nuser-agent: x\r\n").await;
    let Seen::Opened(peer) = served.saw().await else { panic!() };
    assert_eq!(peer.remote.to_string(), "198.51.100.7");
    assert_eq!(peer.headers, [("cookie".to_owned(), "a=b".to_owned())], "only what hooks asked for");
}
