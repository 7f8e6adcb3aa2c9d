//! WebSockets for sessions on long-polling.

use super::*;

#[tokio::test]
async fn a_node_that_leaves_lets_its_sessions_go_elsewhere_and_takes_no_more() {
    let stage = stage().await;
    let sid = stage.open().await;
    assert_eq!(stage.edge.admission.taken(), 1);
    stage.edge.admission.set(Gate::Draining);
    assert_eq!(stage.get("EIO=4&transport=polling").await.0, 503);
    let mut client = stage.websocket_of(&sid).await;
    client.send(Frame::text("2probe")).await.unwrap();
    assert_eq!(said(&mut client).await, "3probe", "who is inside stays");
    stage.connections.close_all(&DisconnectCode::Shutdown.into());
    assert_eq!(stage.poll(&sid).await, (200, "1".to_owned()), "clients come again after that");
    assert_eq!(stage.poll(&sid).await.0, 400);
    within(stage.edge.admission.emptied()).await;
}

#[tokio::test]
async fn a_session_moves_to_a_websocket_and_loses_nothing() {
    let stage = stage().await;
    let sid = stage.open().await;
    let mut client = stage.websocket_of(&sid).await;
    let mut second = stage.websocket_of(&sid).await;
    assert!(is_closed(&mut second).await, "one at a time");
    stage.post(&sid, "4before").await;
    client.send(Frame::text("2probe")).await.unwrap();
    assert_eq!(said(&mut client).await, "3probe");
    assert_eq!(stage.poll(&sid).await, (200, "4before".to_owned()), "until then it is on long-polling");
    assert_eq!(stage.poll(&sid).await, (200, "6".to_owned()));
    stage.post(&sid, "4between\x1ebAQI=").await;
    client.send(Frame::text("5")).await.unwrap();
    client.send(Frame::text("4after")).await.unwrap();
    assert_eq!(said(&mut client).await, "4between");
    assert_eq!(within(client.next()).await.unwrap().unwrap(), Frame::binary(vec![1, 2]));
    assert_eq!(said(&mut client).await, "4after");
    assert_eq!(stage.poll(&sid).await, (400, "{\"code\":3,\"message\":\"Bad request\"}".to_owned()));
    let mut late = stage.websocket_of(&sid).await;
    assert!(is_closed(&mut late).await);
    client.send(Frame::text("4on")).await.unwrap();
    assert_eq!(said(&mut client).await, "4on");
}

#[tokio::test]
async fn a_websocket_that_fails_leaves_the_session_on_long_polling() {
    let stage = staged(Duration::from_secs(60), Duration::from_millis(200)).await;
    let sid = stage.open().await;
    for first in ["4hello", "2", "5"] {
        let mut client = stage.websocket_of(&sid).await;
        client.send(Frame::text(first)).await.unwrap();
        assert!(is_closed(&mut client).await, "{first}");
    }
    let mut slow = stage.websocket_of(&sid).await;
    slow.send(Frame::text("2probe")).await.unwrap();
    assert_eq!(said(&mut slow).await, "3probe");
    assert!(is_closed(&mut slow).await, "too slow");
    stage.post(&sid, "4a").await;
    assert_eq!(stage.poll(&sid).await, (200, "4a".to_owned()));
}

#[tokio::test]
async fn websockets_that_named_one_session_were_neither_limited_nor_closed() {
    const LONG: Duration = Duration::from_secs(60);
    let rate = Rate { per_second: 0.01, burst: 3 };
    let edge = Edge { admission: Admission::new(Some(1)), handshake_rate: Some(rate), ..open_edge() };
    let stage = bounded([LONG; 2], LONG, edge, bounds()).await;
    let sid = stage.open().await;
    let mut first = stage.websocket_of(&sid).await;
    for _ in 0..2 {
        let mut stream = stage.served.send(upgrade_of(&sid).as_bytes()).await;
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101") && answer.ends_with(&[0x88, 2, 0x03, 0xe8]), "{answer:?}");
    }
    for _ in 0..2 {
        let refused = read_head(&mut stage.served.send(upgrade_of(&sid).as_bytes()).await).await;
        assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    }
    let counted = stage.telemetry.render();
    assert!(counted.contains(r#"midplane_socketio_upgrades_total{result="surplus"} 2"#), "{counted}");
    assert!(stage.served.measured(r#"midplane_rate_limited_total{scope="handshake_ip"} 2"#));
    first.send(Frame::text("2probe")).await.unwrap();
    assert_eq!(said(&mut first).await, "3probe", "the first goes on");
}

/// A request for a WebSocket that takes over a session.
fn upgrade_of(sid: &str) -> String {
    let request = String::from_utf8(upgrade_request("")).unwrap();
    request.replace("/connection/websocket", &format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"))
}
