use rmpv::Value;

use super::super::tests::hex;
use super::*;

/// What two servers with adapter 8.3.0 told each other.
const UID: &str = "b3694ded1521161a";
const SERVER: Teller<'_> = Teller { uid: UID, namespace: "/" };
/// `io.emit("bin", Buffer.from([1, 2, 3]), { n: new Uint8Array([9]) })`.
const BINARY: &str =
    "84a47479706503a46461746182a67061636b657482a47479706502a46461746193a362696ec40301020381a16ec40109a46f70747383
    a5726f6f6d7390a665786365707490a5666c61677380a3756964b062333639346465643135323131363161a36e7370a12f";

fn told(number: u64, data: &str) -> String {
    format!(r#"{{"type":{number},"data":{data},"uid":"{UID}","nsp":"/"}}"#)
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn asked(message: &str) -> (Option<String>, Asked) {
    match decode(message.as_bytes()) {
        Ok(Message::Request(namespace, request)) => {
            assert_eq!((&*namespace, request.uid.as_deref()), ("/", Some(UID)), "{message}");
            (request.id, request.asked)
        }
        other => panic!("{message}: {other:?}"),
    }
}

#[test]
fn events_are_those_of_the_adapter() {
    for (data, rooms, except, volatile) in [
        (
            r#"{"packet":{"type":2,"data":["hi","x"]},"opts":{"rooms":["r1"],"except":[],"flags":{}}}"#,
            vec!["r1"],
            vec![],
            false,
        ),
        (
            r#"{"packet":{"type":2,"data":["hi","x"]},"opts":{"rooms":["r1","r2"],"except":["r3"],"flags":{"volatile":true}}}"#,
            vec!["r1", "r2"],
            vec!["r3"],
            true,
        ),
    ] {
        let message = told(3, data);
        let Ok(Message::Broadcast(broadcast)) = decode(message.as_bytes()) else { panic!("{message}") };
        let expected = Broadcast {
            uid: UID.to_owned(),
            namespace: "/".to_owned(),
            data: vec!["hi".into(), "x".into()],
            rooms: named(&rooms),
            except: named(&except),
            flags: Flags { volatile },
        };
        assert_eq!(broadcast, expected);
        assert_eq!(String::from_utf8(SERVER.broadcast(&broadcast)).unwrap(), message);
    }
    let number = told(3, r#"{"packet":{"type":2,"data":["hi"]},"opts":{"rooms":[123],"except":[],"flags":{}}}"#);
    let Ok(Message::Broadcast(broadcast)) = decode(number.as_bytes()) else { panic!("{number}") };
    assert_eq!(broadcast.rooms, ["123"]);
    let sent = String::from_utf8(SERVER.broadcast(&broadcast)).unwrap();
    assert!(sent.contains(r#""rooms":["123",123]"#), "{sent}");
}

#[test]
fn events_with_binary_data_are_msgpack_and_only_these() {
    let Ok(Message::Broadcast(broadcast)) = decode(&hex(BINARY)) else { panic!("an event") };
    let inner = Value::Map(vec![("n".into(), Value::Binary(vec![9]))]);
    assert_eq!(broadcast.data, [Value::from("bin"), Value::Binary(vec![1, 2, 3]), inner]);
    assert_eq!(SERVER.broadcast(&broadcast), hex(BINARY));
}

#[test]
fn requests_are_those_of_the_adapter() {
    let r1 = || Whom { rooms: named(&["r1"]), except: Vec::new() };
    let opts = r#""opts":{"rooms":["r1"],"except":[],"flags":{}}"#;
    for (number, data, expected) in [
        (4, format!(r#"{{{opts},"rooms":["j1","j2"]}}"#), Asked::Join(r1(), named(&["j1", "j2"]))),
        (5, format!(r#"{{{opts},"rooms":["j1"]}}"#), Asked::Leave(r1(), named(&["j1"]))),
        (6, format!(r#"{{{opts},"close":true}}"#), Asked::Disconnect { whom: r1(), close: true }),
    ] {
        let message = told(number, &data);
        assert_eq!(asked(&message), (None, expected.clone()));
        assert_eq!(String::from_utf8(SERVER.order(&expected).unwrap()).unwrap(), message);
    }
    for (number, data, id, expected) in [
        (7, format!(r#"{{{opts},"requestId":"5e04"}}"#), Some("5e04"), Asked::Fetch(r1())),
        (9, r#"{"packet":["hello",1]}"#.to_owned(), None, Asked::ServerSide(vec!["hello".into(), 1.into()])),
        (
            9,
            r#"{"requestId":"6c6f","packet":["ping"]}"#.to_owned(),
            Some("6c6f"),
            Asked::ServerSide(vec!["ping".into()]),
        ),
        (
            3,
            r#"{"packet":{"type":2,"data":["ask",1]},"requestId":"2af1","opts":{"rooms":["r1"],"except":[],"flags":{"timeout":1000}}}"#
                .to_owned(),
            Some("2af1"),
            Asked::Broadcast {
                namespace: "/".to_owned(),
                whom: r1(),
                data: vec!["ask".into(), 1.into()],
                flags: Flags::default(),
                timeout: 1000,
            },
        ),
    ] {
        assert_eq!(asked(&told(number, &data)), (id.map(str::to_owned), expected.clone()));
        assert_eq!(SERVER.order(&expected), None, "nothing is asked");
    }
}

#[test]
fn answers_are_those_of_the_adapter() {
    let described = Described { id: "s".to_owned(), user: String::new(), rooms: named(&["s", "r1"]) };
    for (number, answer, data) in [
        (11, Answer::Count(1), r#"{"requestId":"2af1","clientCount":1}"#),
        (10, Answer::ServerSide("pong".into()), r#"{"requestId":"2af1","packet":"pong"}"#),
        (12, Answer::Ack(Value::Map(vec![("x".into(), 1.into())])), r#"{"requestId":"2af1","packet":{"x":1}}"#),
        (
            8,
            Answer::Described(vec![described]),
            r#"{"requestId":"2af1","sockets":[{"id":"s","handshake":{"headers":{},"time":"","address":"","xdomain":false,"secure":false,"issued":0,"url":"","query":{},"auth":{}},"rooms":["s","r1"],"data":{}}]}"#,
        ),
    ] {
        let message = told(number, data);
        assert_eq!(String::from_utf8(SERVER.answer("2af1", &answer).unwrap()).unwrap(), message);
        assert_eq!(decode(message.as_bytes()), Ok(Message::Other), "answers are for whoever asked");
    }
    let binary = "84a4747970650ca46461746182a9726571756573744964b065336437383131363535306261663135a67061636b6574c40101
        a3756964b063393762313638383234333862383834a36e7370a12f";
    let server = Teller { uid: "c97b16882438b884", namespace: "/" };
    assert_eq!(server.answer("e3d78116550baf15", &Answer::Ack(Value::Binary(vec![1]))), Some(hex(binary)));
    for unasked in [Answer::Done, Answer::Rooms(Vec::new()), Answer::Sockets(Vec::new())] {
        assert_eq!(SERVER.answer("2af1", &unasked), None);
    }
}

#[test]
fn what_is_no_message_is_refused() {
    for message in [
        r#"{"no":"message"}"#.to_owned(),
        r#"{"type":3,"data":{},"nsp":"/"}"#.to_owned(),
        r#"{"type":3,"data":{},"uid":"u"}"#.to_owned(),
        r#"{"type":4,"uid":"u","nsp":"/"}"#.to_owned(),
        told(3, r#"{"packet":{"type":2,"data":["hi"]}}"#),
        told(3, r#"{"opts":{"rooms":[],"except":[],"flags":{}}}"#),
        told(4, r#"{"rooms":["a"]}"#),
        told(9, "{}"),
        "[]".to_owned(),
        "{".to_owned(),
    ] {
        assert!(decode(message.as_bytes()).is_err(), "{message}");
    }
    for other in [told(1, "null"), told(13, "{}"), told(99, "{}")] {
        assert_eq!(decode(other.as_bytes()), Ok(Message::Other), "{other}");
    }
}
