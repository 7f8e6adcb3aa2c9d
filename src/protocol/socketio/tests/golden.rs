//! What clients and servers of the official implementation were seen to send.

use super::*;

#[test]
fn observed_texts_are_read_and_written_to_the_letter() {
    let id = || Bytes::from_static(b"{\"sid\":\"HBHQ\",\"pid\":\"cri4\"}");
    for (text, expected) in [
        ("0", within("/", Body::Connect(None))),
        ("0/admin,{\"token\":\"t\"}", within("/admin", Body::Connect(Some("{\"token\":\"t\"}".into())))),
        ("0{\"sid\":\"HBHQ\",\"pid\":\"cri4\"}", within("/", Body::Connect(Some(id())))),
        (
            "4/random,{\"message\":\"Invalid namespace\"}",
            within("/random", Body::ConnectError("{\"message\":\"Invalid namespace\"}".into())),
        ),
        ("2[\"hey\",1]", within("/", event(None, "[\"hey\",1]", &[]))),
        ("2/admin,12[\"q\"]", within("/admin", event(Some(12), "[\"q\"]", &[]))),
        ("3/admin,12[\"a\"]", within("/admin", ack(12, "[\"a\"]", &[]))),
        ("1/admin,", within("/admin", Body::Disconnect)),
        ("1", within("/", Body::Disconnect)),
        ("3456[1,\"2\",{\"3\":[false]}]", within("/", ack(456, "[1,\"2\",{\"3\":[false]}]", &[]))),
    ] {
        assert_eq!(packet(text).as_ref(), Ok(&expected), "{text}");
        assert_eq!(expected.text(), text.as_bytes());
        let frame = [&[0x81, text.len() as u8 + 1, b'4'], text.as_bytes()].concat();
        assert_eq!(expected.frames(), frame, "{text}");
    }
}

#[test]
fn a_namespace_ends_at_a_comma_or_with_the_text() {
    assert_eq!(packet("0/admin"), Ok(within("/admin", Body::Connect(None))));
    assert_eq!(packet("1/a/b?c"), Ok(within("/a/b?c", Body::Disconnect)));
    assert_eq!(packet("2/,[1]"), Ok(within("/", event(None, "[1]", &[]))));
}

#[test]
fn attachments_follow_their_text() {
    let text_of = "52-0[\"bin\",{\"_placeholder\":true,\"num\":0},{\"k\":{\"_placeholder\":true,\"num\":1}}]";
    let mut decoder = Decoder::new(10);
    assert_eq!(decoder.take(text(text_of)), Ok(None));
    assert!(decoder.is_waiting());
    assert_eq!(decoder.take(Message::Binary(Bytes::from_static(b"\x01\x02"))), Ok(None));
    let whole = decoder.take(Message::Binary(Bytes::from_static(b"\x03"))).unwrap().unwrap();
    assert!(!decoder.is_waiting());
    let json = "[\"bin\",{\"_placeholder\":true,\"num\":0},{\"k\":{\"_placeholder\":true,\"num\":1}}]";
    assert_eq!(whole, within("/", event(Some(0), json, &[b"\x01\x02", b"\x03"])));
    let frames = whole.frames();
    assert_eq!(frames[2..][..1 + text_of.len()], [b"4", text_of.as_bytes()].concat());
    assert_eq!(frames[3 + text_of.len()..], *b"\x82\x02\x01\x02\x82\x01\x03");

    let answer = within("/", ack(0, "[{\"got\":{\"_placeholder\":true,\"num\":0}},\"ok\"]", &[b"\x01"]));
    assert_eq!(answer.text(), &b"61-0[{\"got\":{\"_placeholder\":true,\"num\":0}},\"ok\"]"[..]);
}

#[test]
fn what_announces_no_attachments_has_none() {
    let json = "[\"a\",{\"_placeholder\":true,\"num\":7}]";
    assert_eq!(packet("50-[\"a\"]"), Ok(within("/", event(None, "[\"a\"]", &[]))));
    assert_eq!(packet(&format!("2{json}")), Ok(within("/", event(None, json, &[]))), "data that looks like it");
}

#[test]
fn arguments_pass_as_they_are_written() {
    for json in [
        "[\"a\",9007199254740993123,1.0,1e2]",
        "[\"a\",\"\\ud83d\"]",
        "[\"a\",{\"b\":1,\"a\":2,\"b\":3}]",
        "[\"\\ud83d\"]",
        "[7,\"a number is a name\"]",
        "[-7]",
    ] {
        let Ok(Packet { body: Body::Event { arguments, .. }, .. }) = packet(&format!("2{json}")) else {
            panic!("{json}");
        };
        assert_eq!(arguments.json(), json);
    }
    assert_eq!(packet("2 [ \"a\",\n1 ] "), Ok(within("/", event(None, "[ \"a\",1 ]", &[]))), "on one line");
}

#[test]
fn a_publication_is_an_event_to_a_room() {
    for (data, json) in [
        ("[\"hey\", 1]", "[\"hey\", 1]"),
        ("{\"a\":1}", "[\"message\",{\"a\":1}]"),
        ("[]", "[\"message\",[]]"),
        ("[{}]", "[\"message\",[{}]]"),
        ("[\"disconnect\"]", "[\"message\",[\"disconnect\"]]"),
        ("\"x\"", "[\"message\",\"x\"]"),
    ] {
        let arguments = Arguments::of_publication(&Bytes::from_static(data.as_bytes()));
        assert_eq!(arguments.json(), json, "{data}");
        assert!(arguments.attachments().is_empty());
    }
    let binary = Arguments::of_publication(&Bytes::from_static(b"\xff"));
    assert_eq!(binary.json(), "[\"message\",{\"_placeholder\":true,\"num\":0}]");
    assert_eq!(binary.attachments(), [&b"\xff"[..]]);
}

#[test]
fn an_event_s_name_is_its_first_argument() {
    for (json, name) in [
        ("[\"hey\",1]", "hey"),
        ("[\"a\\u00e4\\n\"]", "aä\n"),
        ("[ 12 ]", "12"),
        ("[\"\\ud83d!\"]", "\u{fffd}\u{fffd}\u{fffd}!"),
    ] {
        let arguments = Arguments::event(&Bytes::from_static(json.as_bytes()), Vec::new()).unwrap();
        assert_eq!(arguments.name(), name, "{json}");
    }
}
