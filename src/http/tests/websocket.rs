use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::protocol::centrifuge::{Encoding, Format};
use crate::protocol::websocket::{Deflate, compressed};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(served: &Served, path: &str, subprotocol: Option<&str>) -> (Client, Option<String>) {
    let mut request = format!("ws://{}/connection/websocket{path}", served.address).into_client_request().unwrap();
    if let Some(name) = subprotocol {
        request.headers_mut().insert("sec-websocket-protocol", name.parse().unwrap());
    }
    let (client, response) = connect_async(request).await.unwrap();
    let echoed = response.headers().get("sec-websocket-protocol").map(|name| name.to_str().unwrap().to_owned());
    (client, echoed)
}

async fn opened(served: &mut Served) -> Peer {
    match served.saw().await {
        Seen::Opened(peer) => peer,
        other => panic!("{other:?}"),
    }
}

async fn inbound(served: &mut Served) -> Inbound {
    match served.saw().await {
        Seen::Inbound(inbound) => inbound,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_subprotocol_or_the_query_chooses_the_encoding() {
    let mut served = serve(open_edge()).await;
    for (path, offered, echoed, encoding) in [
        ("", None, None, Encoding::Json),
        ("", Some("centrifuge-json"), Some("centrifuge-json"), Encoding::Json),
        ("", Some("centrifuge-protobuf"), Some("centrifuge-protobuf"), Encoding::Protobuf),
        ("?cf_protocol=protobuf", None, None, Encoding::Protobuf),
        ("?format=protobuf", None, None, Encoding::Protobuf),
    ] {
        let (client, got) = connect(&served, path, offered).await;
        assert_eq!(got.as_deref(), echoed);
        assert_eq!(opened(&mut served).await.format, encoding.into(), "{path} {offered:?}");
        drop(client);
        while !matches!(served.saw().await, Seen::Gone) {}
    }
}

#[tokio::test]
async fn messages_of_all_sizes_go_and_come() {
    let mut served = serve(open_edge()).await;
    let (mut client, _) = connect(&served, "", None).await;
    opened(&mut served).await;
    for size in [0, 1, 125, 126, 127, 1000, 16 * 1024, 65_535, 65_536] {
        let text = "x".repeat(size);
        client.send(Message::text(text.clone())).await.unwrap();
        assert_eq!(within(client.next()).await.unwrap().unwrap(), Message::text(text.clone()));
        assert_eq!(inbound(&mut served).await, Inbound::Text(text.into()));
    }
    client.send(Message::binary(vec![0, 255])).await.unwrap();
    assert_eq!(inbound(&mut served).await, Inbound::Binary(vec![0, 255].into()));
}

#[tokio::test]
async fn what_came_with_the_upgrade_request_is_not_lost() {
    let mut served = serve(open_edge()).await;
    let mut bytes = upgrade_request("");
    bytes.extend(masked(0x81, b"first"));
    bytes.extend(masked(0x82, b"second"));
    let half = masked(0x81, b"third");
    bytes.extend(&half[..4]);
    let mut stream = served.send(&bytes).await;
    opened(&mut served).await;
    assert_eq!(inbound(&mut served).await, Inbound::Text("first".into()));
    assert_eq!(inbound(&mut served).await, Inbound::Binary("second".into()));
    stream.write_all(&half[4..]).await.unwrap();
    assert_eq!(inbound(&mut served).await, Inbound::Text("third".into()));
}

#[tokio::test]
async fn fragments_with_a_ping_between_them_become_one_message() {
    let mut served = serve(open_edge()).await;
    let (_, mut stream) = served.handshake("").await;
    opened(&mut served).await;
    let frames = [masked(0x01, b"Hel"), masked(0x89, b"?"), masked(0x00, b"l"), masked(0x80, b"o")].concat();
    // Byte by byte: every partial tail is met.
    for byte in frames {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(inbound(&mut served).await, Inbound::Ping("?".into()));
    assert_eq!(inbound(&mut served).await, Inbound::Text("Hello".into()));
}

#[tokio::test]
async fn many_messages_in_one_read_come_one_by_one_in_order() {
    let mut served = serve(open_edge()).await;
    let (_, mut stream) = served.handshake("").await;
    opened(&mut served).await;
    let frames: Vec<u8> = (0..500).flat_map(|n| masked(0x81, format!("message {n}").as_bytes())).collect();
    stream.write_all(&frames).await.unwrap();
    for n in 0..500 {
        assert_eq!(inbound(&mut served).await, Inbound::Text(format!("message {n}").into()));
    }
}

#[tokio::test]
async fn a_slow_reader_gets_everything_in_order_once_it_reads() {
    let served = serve(open_edge()).await;
    let (mut client, _) = connect(&served, "", None).await;
    let text = |n: usize| format!("{n}:{}", "x".repeat(60_000));
    // 12 MB come back, more than the sockets' buffers hold: the server writes in parts and waits for room.
    for n in 0..200 {
        client.feed(Message::text(text(n))).await.unwrap();
    }
    client.flush().await.unwrap();
    for n in 0..200 {
        assert_eq!(within(client.next()).await.unwrap().unwrap(), Message::text(text(n)));
    }
}

#[tokio::test]
async fn what_is_no_frame_says_which_code_to_close_with() {
    let mut served = serve(Edge { message_limit: 100, ..open_edge() }).await;
    for (bytes, code) in [
        (masked(0x81, &[b'x'; 101]), 1009),
        ([masked(0x01, &[b'x'; 60]), masked(0x80, &[b'x'; 60])].concat(), 1009),
        (frame(0x81, b"not masked").to_vec(), 1002),
        (masked(0x81, &[0xff, 0xfe]), 1007),
        (masked(0x83, b"unknown opcode"), 1002),
        (masked(0x80, b"no beginning"), 1002),
    ] {
        let (_, mut stream) = served.handshake("").await;
        opened(&mut served).await;
        stream.write_all(&bytes).await.unwrap();
        // What still comes is thrown away.
        stream.write_all(&masked(0x81, b"too late")).await.unwrap();
        match served.saw().await {
            Seen::Broken(got) => assert_eq!(got, Some(code)),
            other => panic!("{code} {other:?}"),
        }
        drop(stream);
        assert!(matches!(served.saw().await, Seen::Gone));
    }
}

#[tokio::test]
async fn messages_are_compressed_with_those_who_offer_it() {
    const OFFER: &str = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n";
    let deflate = Deflate { level: 1, min_size: 64 };
    let text = "word ".repeat(100);
    let small = compressed(text.as_bytes(), deflate).unwrap();
    for (agreed, offer) in [(Some(deflate), OFFER), (Some(deflate), ""), (None, OFFER)] {
        let mut served = serve(Edge { deflate: agreed, message_limit: 1_000, ..open_edge() }).await;
        let (head, mut stream) = served.handshake(offer).await;
        let both = agreed.filter(|_| !offer.is_empty());
        let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
        assert_eq!(head.contains(answer), both.is_some(), "{head}");
        assert_eq!(opened(&mut served).await.format, Format::WebSocketJson.deflated(both));
        stream.write_all(&masked(0xc1, &small)).await.unwrap();
        match both {
            Some(_) => assert_eq!(inbound(&mut served).await, Inbound::Text(text.clone().into())),
            None => assert!(matches!(served.saw().await, Seen::Broken(Some(1002)))),
        }
    }
}

#[tokio::test]
async fn what_is_compressed_wrong_says_which_code_to_close_with() {
    let deflate = Deflate { level: 1, min_size: 0 };
    let mut served = serve(Edge { deflate: Some(deflate), message_limit: 100, ..open_edge() }).await;
    let bomb = compressed(&[0; 1 << 20], deflate).unwrap();
    let small = compressed(&[b'x'; 50], deflate).unwrap();
    for (bytes, code) in [
        (masked(0xc2, &bomb[..100]), 1009),
        (masked(0xc1, &[0xff; 20]), 1007),
        (masked(0xc9, b"ping"), 1002),
        ([masked(0x41, &small), masked(0xc0, &small)].concat(), 1002),
        (masked(0xa1, &small), 1002),
    ] {
        let (_, mut stream) = served.handshake("sec-websocket-extensions: permessage-deflate\r\n").await;
        opened(&mut served).await;
        stream.write_all(&bytes).await.unwrap();
        match served.saw().await {
            Seen::Broken(got) => assert_eq!(got, Some(code)),
            other => panic!("{code} {other:?}"),
        }
        drop(stream);
        assert!(matches!(served.saw().await, Seen::Gone));
    }
    let (head, _) = served.handshake("sec-websocket-extensions: permessage-deflate; =\r\n").await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
}

#[tokio::test]
async fn a_peer_that_closes_half_is_gone() {
    let mut served = serve(open_edge()).await;
    let (_, mut stream) = served.handshake("").await;
    opened(&mut served).await;
    stream.shutdown().await.unwrap();
    assert!(matches!(served.saw().await, Seen::Gone));
    // Its own end is told, too.
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn a_reset_ends_the_connection() {
    let mut served = serve(open_edge()).await;
    let (_, stream) = served.handshake("").await;
    opened(&mut served).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    assert!(matches!(served.saw().await, Seen::Broken(None)));
    assert!(matches!(served.saw().await, Seen::Gone));
    within(served.edge.admission.emptied()).await;
}

#[tokio::test]
async fn a_close_ends_what_is_understood() {
    let mut served = serve(open_edge()).await;
    let (mut client, _) = connect(&served, "", None).await;
    opened(&mut served).await;
    client.close(None).await.unwrap();
    assert_eq!(inbound(&mut served).await, Inbound::Close(None));
    drop(client);
    assert!(matches!(served.saw().await, Seen::Gone));
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_told_so() {
    let served = serve(open_edge()).await;
    let answer = served.get("/connection/websocket", "").await;
    assert!(answer.starts_with("HTTP/1.1 426") && answer.contains("sec-websocket-version: 13"), "{answer}");
    assert!(answer.contains("application/json"), "{answer}");
}
