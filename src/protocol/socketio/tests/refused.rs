//! What a connection is closed for.

use super::*;

#[test]
fn every_malformed_text_is_refused_for_its_reason() {
    for (text, reason) in [
        ("", PacketError::UnknownType),
        ("abc", PacketError::UnknownType),
        ("7", PacketError::UnknownType),
        ("2", PacketError::Json),
        ("2{}", PacketError::Payload),
        ("2[]", PacketError::Payload),
        ("2[{}]", PacketError::Payload),
        ("2[null]", PacketError::Payload),
        ("2[true,\"a\"]", PacketError::Payload),
        ("2\"a\"", PacketError::Payload),
        ("2[\"a\"", PacketError::Json),
        ("2[\"a\"]]", PacketError::Json),
        ("2abc[\"a\"]", PacketError::Json),
        ("2-1[\"a\"]", PacketError::Json),
        ("29007199254740992[\"a\"]", PacketError::AckId),
        ("299999999999999999999999[\"a\"]", PacketError::AckId),
        ("0[]", PacketError::Payload),
        ("0\"a\"", PacketError::Payload),
        ("0/admin,{", PacketError::Json),
        ("1{}", PacketError::Payload),
        ("1/admin,[]", PacketError::Payload),
        ("3[]", PacketError::AckId),
        ("31{}", PacketError::Payload),
        ("4[]", PacketError::Payload),
        ("41", PacketError::Json),
        ("5[\"a\"]", PacketError::AttachmentCount),
        ("51[\"a\"]", PacketError::AttachmentCount),
        ("5-[\"a\"]", PacketError::AttachmentCount),
        ("5x-[\"a\"]", PacketError::AttachmentCount),
        ("511-[\"a\"]", PacketError::TooManyAttachments),
        ("599999999999999999999999-[\"a\"]", PacketError::TooManyAttachments),
        ("2[\"connect\"]", PacketError::ReservedEvent),
        ("2[\"disconnecting\",1]", PacketError::ReservedEvent),
        ("2[\"\\u0063onnect\"]", PacketError::ReservedEvent),
        ("2/a\u{7f}b,[\"a\"]", PacketError::Namespace),
    ] {
        assert_eq!(packet(text), Err(reason), "{text}");
    }
    assert_eq!(packet(&format!("0/{}", "a".repeat(255))), Err(PacketError::Namespace));
    assert_eq!(packet(&format!("2[\"a\",{}{}]", "[".repeat(500), "]".repeat(500))), Err(PacketError::Json));
}

#[test]
fn a_placeholder_for_nothing_is_found_wherever_it_hides() {
    for (json, reason) in [
        ("{\"_placeholder\":true,\"num\":1}", PacketError::Placeholder),
        ("{\"_placeholder\":true,\"num\":-1}", PacketError::Placeholder),
        ("{\"_placeholder\":true,\"num\":0.5}", PacketError::Placeholder),
        ("{\"_placeholder\":true,\"num\":\"0\"}", PacketError::Placeholder),
        ("{\"_placeholder\":true,\"num\":[0]}", PacketError::Placeholder),
        ("{\"_placeholder\":true}", PacketError::Placeholder),
        ("[[{\"a\":{\"num\":9,\"b\":[],\"_placeholder\":true}}]]", PacketError::Placeholder),
        ("{\"\\u005fplaceholder\":true,\"num\":1}", PacketError::Placeholder),
        ("{\"_placeholder\":false,\"_placeholder\": true ,\"num\":1}", PacketError::Placeholder),
        ("{\"_placeholder\":true,\"num\":0,\"num\":1}", PacketError::Placeholder),
    ] {
        assert_eq!(Decoder::new(9).take(text(&format!("51-[\"a\",{json}]"))), Err(reason), "{json}");
    }
    for json in [
        "{\"_placeholder\":true,\"num\":0}",
        "{\"num\":0.0,\"_placeholder\":true,\"other\":{\"x\":\"}\"}}",
        "{\"_placeholder\":false,\"num\":7}",
        "{\"_placeholder\":\"true\",\"num\":7}",
        "{\"_placeholder\":true,\"_placeholder\":{},\"num\":7}",
        "[\"_placeholder\",true,\"num\",7]",
        "\"{\\\"_placeholder\\\":true,\\\"num\\\":7}\"",
        "{\"a\\\\\":{\"_placeholder\":[true]}}",
        "{\"\\ud83d\":true}",
    ] {
        assert_eq!(Decoder::new(9).take(text(&format!("51-[\"a\",{json}]"))), Ok(None), "{json}");
    }
}

#[test]
fn text_and_attachments_come_in_their_turn() {
    let binary = |length| Message::Binary(Bytes::from(vec![0; length]));
    assert_eq!(Decoder::new(9).take(binary(1)), Err(PacketError::UnexpectedBinary));
    let mut decoder = Decoder::new(9);
    assert_eq!(decoder.take(text("52-[\"a\"]")), Ok(None));
    assert_eq!(decoder.take(binary(5)), Ok(None));
    assert_eq!(decoder.take(text("2[\"b\"]")), Err(PacketError::AttachmentsDue));
    let mut decoder = Decoder::new(9);
    assert_eq!(decoder.take(text("52-[\"a\"]")), Ok(None));
    assert_eq!(decoder.take(binary(5)), Ok(None));
    assert_eq!(decoder.take(binary(5)), Err(PacketError::TooLarge));
}

#[test]
fn backends_may_send_no_more_than_clients_can_read() {
    let json = |json: &'static str| Bytes::from_static(json.as_bytes());
    let binary = || vec![Bytes::from_static(b"x")];
    assert_eq!(Arguments::event(&json("[\"disconnect\"]"), Vec::new()), Err(PacketError::ReservedEvent));
    assert_eq!(Arguments::event(&json("{}"), Vec::new()), Err(PacketError::Payload));
    let ghost = json("[\"a\",{\"_placeholder\":true,\"num\":1}]");
    assert_eq!(Arguments::event(&ghost, binary()), Err(PacketError::Placeholder));
    assert_eq!(Arguments::ack(&ghost, binary()), Err(PacketError::Placeholder));
    assert_eq!(Arguments::event(&json("[\"a\"]"), vec![Bytes::new(); 11]), Err(PacketError::TooManyAttachments));
}
