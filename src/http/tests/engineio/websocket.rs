//! Sessions on a WebSocket.

use super::*;

#[tokio::test]
async fn websockets_are_closed_for_what_cannot_be_read() {
    let stage = stage().await;
    for frame in [Frame::text("abc"), Frame::text("2"), Frame::text(""), Frame::text("4".repeat(LIMIT + 1))] {
        let mut client = stage.websocket("").await;
        assert!(said(&mut client).await.starts_with("0{\"sid\":"));
        client.send(frame).await.unwrap();
        assert!(is_closed(&mut client).await);
    }
    let mut client = stage.websocket("").await;
    said(&mut client).await;
    client.send(Frame::text("bAQI=")).await.unwrap();
    assert_eq!(within(client.next()).await.unwrap().unwrap(), Frame::binary(vec![1, 2]), "binary in a text");
}

#[tokio::test]
async fn pings_go_out_on_a_busy_connection() {
    let stage = staged(Duration::from_millis(300), Duration::from_secs(60)).await;
    let mut client = stage.websocket("").await;
    said(&mut client).await;
    loop {
        client.send(Frame::text("4busy")).await.unwrap();
        if said(&mut client).await == "2" {
            break;
        }
    }
}

#[tokio::test]
async fn no_pong_that_was_missed_ended_a_busy_session() {
    let stage = bounded([Duration::from_secs(2); 2], Duration::from_secs(60), open_edge(), bounds()).await;
    let sid = stage.open().await;
    let posting = stage.keep_busy(&sid).await;
    let mut client = stage.websocket("").await;
    client.send(Frame::text("4stuck")).await.unwrap();
    client.send(Frame::text("4a")).await.unwrap();
    let mut heard = Vec::new();
    while let Some(Ok(Frame::Text(text))) = within(client.next()).await {
        heard.push(text.to_string());
    }
    assert!(heard.contains(&"2".to_owned()), "pings go out meanwhile: {heard:?}");
    let answer = read_to_end(posting).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    within(stage.edge.admission.emptied()).await;
}
