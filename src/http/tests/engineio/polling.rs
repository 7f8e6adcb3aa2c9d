//! Handshakes, and what sessions on long-polling ask.

use super::*;
use crate::backplane::RequestError;
use crate::hooks::tests::backend::NatsBackend;

#[tokio::test]
async fn what_opens_no_session_is_told_by_number() {
    let stage = stage().await;
    let unknown = "A".repeat(43);
    for (query, number, message) in [
        ("EIO=4".to_owned(), 0, "Transport unknown"),
        ("EIO=4&transport=abc".to_owned(), 0, "Transport unknown"),
        (polling(&unknown), 1, "Session ID unknown"),
        (polling("../../x"), 1, "Session ID unknown"),
        ("EIO=4&transport=websocket".to_owned(), 3, "Bad request"),
        ("transport=polling".to_owned(), 5, "Unsupported protocol version"),
        ("EIO=3&transport=polling".to_owned(), 5, "Unsupported protocol version"),
    ] {
        let expected = format!("{{\"code\":{number},\"message\":\"{message}\"}}");
        assert_eq!(stage.get(&query).await, (400, expected), "{query}");
    }
    let posted = answer(stage.http.post(stage.url("EIO=4&transport=polling")).send()).await;
    assert_eq!(posted, (400, "{\"code\":2,\"message\":\"Bad handshake method\"}".to_owned()));
    let foreign = stage.http.get(stage.url("EIO=4&transport=polling")).header("origin", "https://evil.example");
    assert_eq!(answer(foreign.send()).await, (403, "{\"code\":4,\"message\":\"Forbidden\"}".to_owned()));
}

#[tokio::test]
async fn what_waits_goes_out_with_one_request_in_order() {
    let stage = stage().await;
    let sid = stage.open().await;
    let waiting = tokio::spawn({
        let (http, url) = (stage.http.clone(), stage.url(&polling(&sid)));
        async move { answer(http.get(url).send()).await }
    });
    assert_eq!(stage.post(&sid, "4a\x1ebAQI=\x1e4b").await, (200, "ok".to_owned()));
    assert_eq!(waiting.await.unwrap(), (200, "4a\x1ebAQI=\x1e4b".to_owned()));
    stage.post(&sid, "4c").await;
    stage.post(&sid, "4d").await;
    assert_eq!(stage.poll(&sid).await, (200, "4c\x1e4d".to_owned()));
}

#[tokio::test]
async fn nobody_puts_off_the_end_of_a_session_by_many_packets_in_one_request() {
    let stage = stage().await;
    let sid = stage.open().await;
    stage.post(&sid, "4a\x1e4goodbye\x1e4b").await;
    assert_eq!(stage.poll(&sid).await, (200, "4a\x1e4goodbye".to_owned()));
    assert_eq!(stage.poll(&sid).await, (200, "1".to_owned()), "what is said with the end is told in the next session");
}

#[tokio::test]
async fn too_large_a_request_is_refused_and_the_session_lives_on() {
    let stage = stage().await;
    let sid = stage.open().await;
    assert_eq!(stage.post(&sid, vec![b'4'; LIMIT + 1]).await, (413, String::new()));
    stage.post(&sid, "4a").await;
    assert_eq!(stage.poll(&sid).await, (200, "4a".to_owned()));
}

#[tokio::test]
async fn requests_that_break_the_rules_end_the_session() {
    let stage = stage().await;
    for body in ["abc", "4a\x1e", "2", "bäh", ""] {
        let sid = stage.open().await;
        assert_eq!(stage.post(&sid, body).await, (400, String::new()), "{body}");
        assert_eq!(stage.poll(&sid).await.0, 400, "{body}");
    }
    let sid = stage.open().await;
    let binary = stage.http.post(stage.url(&polling(&sid))).header("content-type", "application/octet-stream");
    assert_eq!(answer(binary.body("4a").send()).await.0, 400);
    assert_eq!(stage.poll(&sid).await.0, 400);
    let sid = stage.open().await;
    let put = stage.http.put(stage.url(&polling(&sid)));
    assert_eq!(answer(put.send()).await.0, 400);
    stage.post(&sid, "4a").await;
    assert_eq!(stage.poll(&sid).await.0, 200, "another method changes nothing");
}

#[tokio::test]
async fn a_second_post_at_a_time_ends_the_session() {
    let stage = stage().await;
    let sid = stage.open().await;
    let head = format!("POST /socket.io/?{} HTTP/1.1\r\nhost: node\r\ncontent-length: 9\r\n\r\n4a", polling(&sid));
    let _first = stage.served.send(head.as_bytes()).await;
    // The first may not have been read yet: then this one is fine, and the next is not.
    let mut refused = false;
    for _ in 0..100 {
        refused = stage.post(&sid, "4b").await.0 == 400;
        if refused {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(refused);
    assert_eq!(stage.poll(&sid).await.0, 400);
}

#[tokio::test]
async fn requests_that_waited_as_they_should_left_no_place_for_anybody_else() {
    const LONG: Duration = Duration::from_secs(60);
    let stage = bounded([LONG; 2], LONG, open_edge(), Bounds { places: 8, ..bounds() }).await;
    let head = |method: &str, sid: &str, length: usize| {
        let query = polling(sid);
        format!(
            "{method} /socket.io/?{query} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let sid = stage.open().await;
        let poll = stage.served.send(head("GET", &sid, 0).as_bytes()).await;
        waiting.push((sid, poll));
    }
    for (sid, poll) in waiting {
        let posted = read_to_end(stage.served.send(format!("{}4a", head("POST", &sid, 2)).as_bytes()).await).await;
        assert!(posted.ends_with("ok"), "{posted}");
        let got = read_to_end(poll).await;
        assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("\r\n\r\n4a"), "{got}");
    }
}

#[tokio::test]
async fn requests_for_a_busy_session_waited_however_many_came() {
    let stage = stage().await;
    let sid = stage.open().await;
    let posting = stage.keep_busy(&sid).await;
    let head = format!("GET /socket.io/?{} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n", polling(&sid));
    let other = stage.served.send(head.as_bytes()).await;
    assert_eq!(stage.poll(&sid).await.0, 400);
    for refused in [other, posting] {
        let answer = read_to_end(refused).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    within(stage.edge.admission.emptied()).await;
}

#[tokio::test]
async fn a_client_that_had_gone_kept_its_session_until_its_last_request_was_worked_off() {
    let stage = stage().await;
    let sid = stage.open().await;
    drop(stage.keep_busy(&sid).await);
    within(stage.edge.admission.emptied()).await;
}

#[tokio::test]
async fn nobody_could_end_a_session_that_waited_for_others() {
    let stage = stage().await;
    let sid = stage.open().await;
    let posting = stage.keep_busy(&sid).await;
    stage.connections.close_all(&DisconnectCode::Shutdown.into());
    let answer = read_to_end(posting).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    assert_eq!(stage.poll(&sid).await, (200, "4stuck".to_owned()));
    assert_eq!(stage.poll(&sid).await, (200, "1".to_owned()));
    within(stage.edge.admission.emptied()).await;
}

#[tokio::test]
async fn a_request_that_finds_no_room_at_its_sessions_node_is_told_that_it_is_not_its_fault() {
    const LONG: Duration = Duration::from_secs(60);
    let busy = NatsBackend::answering(&[], "b");
    let stage = over(busy, [LONG; 2], LONG, open_edge(), bounds(), None).await;
    let (status, told) = stage.poll(&"A".repeat(43)).await;
    assert!(status == 503 && told.contains("too many requests wait at the session's node"), "{status} {told}");
    assert!(stage.telemetry.render().contains(r#"midplane_socketio_forwarded_total{result="busy"} 1"#));
}

#[tokio::test]
async fn strangers_had_other_nodes_asked_for_sessions_as_often_as_they_liked() {
    const LONG: Duration = Duration::from_secs(60);
    let nobody = NatsBackend::new(|question| Err(RequestError::NoResponder(question.subject.clone())));
    let rate = Rate { per_second: 0.001, burst: 3 };
    let others = Arc::clone(&nobody) as Arc<dyn Backplane>;
    let stage = over(others, [LONG; 2], LONG, open_edge(), bounds(), Some(rate)).await;
    let made_up = polling(&"A".repeat(43));
    for _ in 0..3 {
        assert_eq!(stage.get(&made_up).await, (400, "{\"code\":1,\"message\":\"Session ID unknown\"}".to_owned()));
    }
    let (status, told) = stage.get(&made_up).await;
    assert!(status == 429 && told.contains("for sessions that are not there (emulation.rate)"), "{status} {told}");
    let websocket =
        format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={}", stage.served.address, "A".repeat(43));
    assert!(connect_async(websocket).await.is_err_and(|error| error.to_string().contains("429")));
    assert_eq!(nobody.asked.lock().len(), 3);
    let other = stage.http.get(stage.url(&made_up)).header("x-forwarded-for", "198.51.100.8");
    assert_eq!(answer(other.send()).await.0, 400, "others may ask");
    let sid = stage.open().await;
    stage.post(&sid, "4a").await;
    assert_eq!(stage.poll(&sid).await, (200, "4a".to_owned()), "sessions of this node cost nobody else anything");
    assert!(stage.served.measured(r#"midplane_rate_limited_total{scope="emulation"} 2"#));
}

#[tokio::test]
async fn a_post_that_no_message_to_its_sessions_node_carries_was_refused_as_if_the_session_were_over() {
    const LONG: Duration = Duration::from_secs(60);
    let small = NatsBackend::new(|_| Err(RequestError::TooLarge { limit: 512 }));
    let stage = over(small, [LONG; 2], LONG, open_edge(), bounds(), None).await;
    assert_eq!(stage.post(&"A".repeat(43), vec![b'4'; LIMIT]).await, (413, String::new()));
    assert!(stage.telemetry.render().contains(r#"midplane_socketio_forwarded_total{result="too_large"} 1"#));
}
