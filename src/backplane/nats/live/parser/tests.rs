use proptest::prelude::*;

use super::*;

/// Feeds `bytes` in pieces that end at `cuts`; what came out, and how it ended.
fn parse(bytes: &[u8], cuts: &[usize]) -> (Vec<Op>, Option<Malformed>) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let (mut parser, mut input, mut ops) = (Parser::default(), BytesMut::new(), Vec::new());
    for piece in cuts.windows(2) {
        input.extend_from_slice(&bytes[piece[0]..piece[1]]);
        loop {
            match parser.next(&mut input) {
                Ok(Some(op)) => ops.push(op),
                Ok(None) => {
                    assert!(parser.missing(&input) > 0);
                    break;
                }
                Err(malformed) => return (ops, Some(malformed)),
            }
        }
    }
    (ops, None)
}

fn message(sid: u64, subject: &str, headers: &str, payload: &str) -> Op {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Op::Message(Message { sid: Sid(sid), subject: bytes(subject), headers: bytes(headers), payload: bytes(payload) })
}

#[test]
fn every_operation() {
    let (ops, malformed) = parse(
        b"INFO {\"a\":1} \r\nPING\r\npong\r\n+OK\r\n-ERR 'Authorization Violation'\r\n\
          MSG a.b 7 3\r\nx\r\n\r\nMSG  a.b\t8 _INBOX.r 0\r\n\r\n\
          HMSG c 9 12 15\r\nNATS/1.0\r\n\r\nabc\r\nHMSG c 9 re.ply 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        &[],
    );
    assert_eq!(malformed, None);
    assert_eq!(
        ops,
        [
            Op::Info(Bytes::from_static(b"{\"a\":1}")),
            Op::Ping,
            Op::Pong,
            Op::Ok,
            Op::Err("Authorization Violation".to_owned()),
            message(7, "a.b", "", "x\r\n"),
            message(8, "a.b", "", ""),
            message(9, "c", "NATS/1.0\r\n\r\n", "abc"),
            message(9, "c", "NATS/1.0\r\n\r\n", ""),
        ]
    );
}

#[test]
fn a_large_message_leaves_the_buffer_uncopied_and_whole() {
    let payload = "p".repeat(LARGE + 1);
    let bytes = format!("HMSG big 1 12 {}\r\nNATS/1.0\r\n\r\n{payload}\r\nPING\r\n", payload.len() + 12);
    let (ops, malformed) = parse(bytes.as_bytes(), &[10, 40, 70_000]);
    assert_eq!((ops, malformed), (vec![message(1, "big", "NATS/1.0\r\n\r\n", &payload), Op::Ping], None));
}

#[test]
fn what_is_not_the_protocol_is_named() {
    let malformed = |bytes: &[u8]| parse(bytes, &[]).1.expect("is refused");
    assert_eq!(malformed(b"HTTP/1.1 400 Bad Request\r\n"), Malformed::Unknown("HTTP/1.1".to_owned()));
    assert!(matches!(malformed(b"\r\n"), Malformed::Unknown(_)));
    assert!(matches!(malformed(b"MSG a 1\r\n"), Malformed::Arguments(_)));
    assert!(matches!(malformed(b"MSG a x 1\r\n"), Malformed::Arguments(_)));
    assert!(matches!(malformed(b"MSG a 1 -1\r\n"), Malformed::Arguments(_)));
    assert!(matches!(malformed(b"MSG a 1 b c d e 1\r\n"), Malformed::Arguments(_)));
    assert!(matches!(malformed(b"HMSG a 1 9 8\r\n"), Malformed::Arguments(_)));
    assert!(matches!(malformed(b"MSG a 99999999999999999999 1\r\n"), Malformed::Arguments(_)));
    assert_eq!(malformed(b"MSG a 1 99999999999\r\n"), Malformed::LargeMessage(99_999_999_999));
    assert_eq!(malformed(b"MSG a 1 1\r\nxyz"), Malformed::Unterminated);
    assert_eq!(malformed(&[b'x'; MAX_LINE + 1]), Malformed::LongLine(MAX_LINE));
    let long_info = format!("INFO {}\r\n", "x".repeat(MAX_LINE));
    assert_eq!(parse(long_info.as_bytes(), &[]).1, None);
}

fn written() -> impl Strategy<Value = Vec<u8>> {
    let body = proptest::collection::vec(any::<u8>(), 0..50);
    prop_oneof![
        Just(b"PING\r\n".to_vec()),
        Just(b"PONG\r\n".to_vec()),
        Just(b"+OK\r\n".to_vec()),
        Just(b"-ERR 'Stale Connection'\r\n".to_vec()),
        Just(b"INFO {\"server_id\":\"x\"}\r\n".to_vec()),
        ("[a-z.]{1,20}", any::<u64>(), proptest::option::of("[a-z.]{1,9}"), body.clone()).prop_map(
            |(subject, sid, reply, body)| {
                let reply = reply.map_or(String::new(), |reply| format!("{reply} "));
                let mut bytes = format!("MSG {subject} {sid} {reply}{}\r\n", body.len()).into_bytes();
                bytes.extend(body);
                bytes.extend(b"\r\n");
                bytes
            }
        ),
        ("[a-z.]{1,20}", any::<u64>(), body.clone(), body).prop_map(|(subject, sid, headers, body)| {
            let all = headers.len() + body.len();
            let mut bytes = format!("HMSG {subject} {sid} {} {all}\r\n", headers.len()).into_bytes();
            bytes.extend(headers);
            bytes.extend(body);
            bytes.extend(b"\r\n");
            bytes
        }),
    ]
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_operations(
        ops in proptest::collection::vec(written(), 1..20),
        cuts in proptest::collection::vec(any::<usize>(), 0..30),
    ) {
        let bytes = ops.concat();
        let (whole, malformed) = parse(&bytes, &[]);
        prop_assert_eq!(malformed, None);
        prop_assert_eq!(whole.len(), ops.len());
        prop_assert_eq!(parse(&bytes, &cuts).0, whole);
    }

    #[test]
    fn rubbish_never_panics_and_cuts_change_nothing(
        ops in proptest::collection::vec(written(), 0..4),
        rubbish in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b' '), Just(b'1')], 0..200),
        cuts in proptest::collection::vec(any::<usize>(), 0..10),
    ) {
        let bytes = [ops.concat(), rubbish].concat();
        let (whole, malformed) = parse(&bytes, &[]);
        let (pieces, also) = parse(&bytes, &cuts);
        prop_assert_eq!(whole, pieces);
        prop_assert_eq!(malformed.is_some(), also.is_some());
    }
}
