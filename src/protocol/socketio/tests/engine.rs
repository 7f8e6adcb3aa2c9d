//! The transport session's packets.

use uuid::Uuid;

use super::*;

fn decode(text: &str) -> Result<EnginePacket, EngineError> {
    EnginePacket::decode(&Bytes::copy_from_slice(text.as_bytes()))
}

fn packets(body: &'static [u8]) -> Vec<Result<EnginePacket, EngineError>> {
    payload::packets(&Bytes::from_static(body)).unwrap().collect()
}

#[test]
fn each_type_is_read_and_written() {
    for (text, packet) in [
        ("0{}", EnginePacket::Open("{}".into())),
        ("1", EnginePacket::Close),
        ("2", EnginePacket::Ping(Bytes::new())),
        ("2probe", EnginePacket::Ping("probe".into())),
        ("3probe", EnginePacket::Pong("probe".into())),
        ("4hello", EnginePacket::Message(Message::Text("hello".into()))),
        ("5", EnginePacket::Upgrade),
        ("6", EnginePacket::Noop),
    ] {
        assert_eq!(decode(text), Ok(packet.clone()));
        assert_eq!(packet.frame()[2..], *text.as_bytes());
    }
    let binary = EnginePacket::Message(Message::Binary(Bytes::from_static(&[1, 2, 3, 4])));
    assert_eq!(decode("bAQIDBA=="), Ok(binary.clone()));
    assert_eq!(decode("bAQIDBA"), Ok(binary.clone()));
    assert_eq!(binary.frame(), &b"\x82\x04\x01\x02\x03\x04"[..]);
}

#[test]
fn what_is_no_packet_is_refused() {
    assert_eq!(decode(""), Err(EngineError::Empty));
    assert_eq!(decode("abc"), Err(EngineError::UnknownType('a')));
    assert_eq!(decode("7"), Err(EngineError::UnknownType('7')));
    assert_eq!(decode("ä"), Err(EngineError::UnknownType('ä')));
    assert_eq!(decode("b*"), Err(EngineError::Base64));
}

#[test]
fn a_body_holds_packets_up_to_the_first_that_is_none() {
    let hello = || Ok(EnginePacket::Message(Message::Text("hello".into())));
    let binary = Ok(EnginePacket::Message(Message::Binary(Bytes::from_static(&[1, 2, 3, 4]))));
    assert_eq!(packets(b"4hello\x1ebAQIDBA=="), [hello(), binary]);
    assert_eq!(packets(b"4hello\x1eabc\x1e4hello"), [hello(), Err(EngineError::UnknownType('a'))]);
    assert_eq!(packets(b"4hello\x1e"), [hello(), Err(EngineError::Empty)]);
    assert_eq!(packets(b""), [Err(EngineError::Empty)]);
    assert!(payload::packets(&Bytes::from_static(b"4\xff")).is_err());
}

#[test]
fn frames_become_a_body() {
    let mut body = Vec::new();
    payload::append(&mut body, &EnginePacket::Message(Message::Text("hello".into())).frame());
    let binary = EnginePacket::Message(Message::Binary(Bytes::from_static(&[1, 2, 3, 4]))).frame();
    let empty = EnginePacket::Message(Message::Binary(Bytes::new())).frame();
    payload::append(&mut body, &[binary, empty, EnginePacket::Ping(Bytes::new()).frame()].concat());
    assert_eq!(body, b"4hello\x1ebAQIDBA==\x1eb\x1e2");
    payload::append(&mut body, &crate::protocol::websocket::close_frame(1001, "bye"));
    assert_eq!(body, b"4hello\x1ebAQIDBA==\x1eb\x1e2", "the end is a body of its own");
}

#[test]
fn a_session_opens_with_its_five_parameters() {
    let sid = Sid { node: Uuid::from_u128(1), session: Uuid::from_u128(2) };
    let handshake = Handshake {
        sid,
        upgrades: &["websocket"],
        ping_interval: 25_000,
        ping_timeout: 20_000,
        max_payload: 1_000_000,
    };
    let EnginePacket::Open(json) = handshake.packet() else { panic!("not an open packet") };
    let secret = "AAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAI";
    let expected = format!(
        "{{\"sid\":\"{secret}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\
         \"maxPayload\":1000000}}"
    );
    assert_eq!(json, expected);
    assert_eq!(secret.parse(), Ok(sid));
    assert!(!format!("{sid:?}").contains(&sid.session.to_string()), "a secret is not printed");
}

#[test]
fn foreign_ids_are_none_of_ours() {
    for id in
        ["", "_ldAuCdvvlKLzX7iAAAA", "AAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAA*", &"A".repeat(44), &"ä".repeat(21)]
    {
        assert_eq!(id.parse::<Sid>(), Err(NoSid), "{id}");
    }
}
