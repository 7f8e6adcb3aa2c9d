use super::super::codes::DisconnectCode;
use super::super::*;
use super::{golden, news};

const GOLDEN: &str = include_str!("../../../../tests/golden/centrifuge/pushes.json");

#[test]
fn pushes_of_unidirectional_connections_stand_without_a_reply_around_them() {
    let recoverable = SubscribeResult { recoverable: true, epoch: "e".into(), offset: 3, ..Default::default() };
    let connect = ConnectPush {
        client: "c".into(),
        version: "v".into(),
        data: "1".into(),
        subs: vec![
            ServerSubscription { channel: "a".into(), result: SubscribeResult::default() },
            ServerSubscription { channel: "b".into(), result: recoverable },
        ],
        expires: true,
        ttl: 1,
        ping: 25,
        pong: true,
        session: "s".into(),
        node: "n".into(),
        time: 5,
    };
    let publication = Publication { data: r#"{"n":3}"#.into(), offset: 97, ..Default::default() };
    golden::check(
        GOLDEN,
        vec![
            ("connect", Push::Connect(connect.into())),
            ("pub", Push::Publication { channel: news(), publication }),
            ("disconnect", Push::Disconnect(DisconnectCode::BadRequest.into())),
        ],
    );
}

#[test]
fn a_payload_that_is_no_json_cannot_write_the_rest_of_a_json_message() {
    for data in ["1}},\"id\":7,\"error\":{\"code\":109", "", "{", "\u{1}"] {
        let publication = Publication { data: data.into(), offset: 5, ..Default::default() };
        let push = Push::Publication { channel: news(), publication };
        let payload = if data.is_empty() { "" } else { "\"data\":null," };
        let expected = format!("{{\"channel\":\"news\",\"pub\":{{{payload}\"offset\":5}}}}");
        assert_eq!(encode(Encoding::Json, &push), expected, "{data}");
    }
}

#[test]
fn a_payload_over_several_lines_stays_one_message_a_line() {
    let publication = Publication { data: "{\r\n \"a\": \"b\\n\"\n}".into(), ..Default::default() };
    let push = Push::Publication { channel: news(), publication };
    assert_eq!(encode(Encoding::Json, &push), r#"{"channel":"news","pub":{"data":{ "a": "b\n"}}}"#);
}

#[test]
fn a_frame_holds_a_message_or_several() {
    let replies = [Reply::PING, Reply { id: 3, result: ReplyResult::Publish(PublishResult {}) }];
    assert_eq!(framed(Encoding::Json, &replies[0]), &b"\x81\x02{}"[..]);
    assert_eq!(framed(Encoding::Protobuf, &replies[0]), &b"\x82\x01\0"[..]);
    assert_eq!(framed_many(Encoding::Json, &replies).unwrap(), &b"\x81\x18{}\n{\"id\":3,\"publish\":{}}"[..]);
    assert_eq!(framed_many(Encoding::Protobuf, &replies).unwrap(), &b"\x82\x06\0\x04\x08\x03\x42\0"[..]);
    assert_eq!(framed_many(Encoding::Json, &[] as &[Reply]), None);
}

#[test]
fn the_secret_of_emulated_transports_is_not_printed() {
    let push = ConnectPush { session: "SECRET".into(), ..Default::default() };
    let result = ConnectResult { session: "SECRET".into(), ..Default::default() };
    let reply = Reply { id: 1, result: ReplyResult::Connect(result) };
    assert!(!format!("{:?} {reply:?}", Push::Connect(push.into())).contains("SECRET"));
}
