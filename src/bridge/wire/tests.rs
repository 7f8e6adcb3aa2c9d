use bytes::Bytes;
use proptest::prelude::*;

use super::*;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// `io.to("r1").emit("hi", "x")` of adapter 8.3.0.
const HI: &str = "93 a6 6d5156564b5f 83 a474797065 02 a464617461 92 a26869 a178 a36e7370 a12f
    83 a5726f6f6d73 91 a27231 a6657863657074 90 a5666c616773 80";
/// `emit("hi", 1)` of emitter 5.1.0.
const EMITTED: &str = "93 a7 656d6974746572 83 a474797065 02 a464617461 92 a26869 01 a36e7370 a12f
    83 a5726f6f6d73 90 a5666c616773 80 a6657863657074 90";

#[test]
fn broadcasts_are_those_of_the_adapter_and_of_the_emitter() {
    let hi = Broadcast::decode(&hex(HI)).unwrap();
    let data = vec![Value::from("hi"), Value::from("x")];
    let expected = Broadcast {
        uid: "mQVVK_".to_owned(),
        namespace: "/".to_owned(),
        data,
        rooms: vec!["r1".to_owned()],
        except: Vec::new(),
        flags: Flags::default(),
    };
    assert_eq!(hi, expected);
    assert_eq!(hi.encode(), hex(HI));
    let emitted = Broadcast::decode(&hex(EMITTED)).unwrap();
    assert_eq!((&*emitted.uid, emitted.rooms.len()), ("emitter", 0));
    assert_eq!(args(&emitted.data).unwrap().json, "[\"hi\",1]");
}

#[test]
fn binary_data_stands_in_its_place_and_beside_json() {
    let data = unpacked(&hex("93 a362696e c403010203 81 a16e c40109")).unwrap();
    let args = args(data.as_array().unwrap()).unwrap();
    assert_eq!(args.json, r#"["bin",{"_placeholder":true,"num":0},{"n":{"_placeholder":true,"num":1}}]"#);
    assert_eq!(args.attachments, ["\u{1}\u{2}\u{3}", "\t"]);
    assert_eq!(value(&args.json, &args.attachments).unwrap(), data);
    // What looks like a placeholder in a plain event is the application's.
    let plain = value(br#"["a",{"_placeholder":true,"num":0}]"#, &[]).unwrap();
    assert!(plain[1].is_map());
}

#[test]
fn more_binary_data_than_clients_take_is_refused() {
    let data = vec![Value::Binary(vec![1]); 11];
    assert_eq!(args(&data), Err(Unfit::Attachments(10)));
    assert_eq!(args(&data[1..]).unwrap().attachments.len(), 10);
}

#[test]
fn values_are_what_javascript_would_write() {
    for (packed, json) in [
        ("cb 3ff0000000000000", "1"),
        ("cb 3ff8000000000000", "1.5"),
        ("ca 3fc00000", "1.5"),
        ("cb c3e0000000000000", "-9223372036854775808"),
        ("cb 44b52d02c7e14af6", "1e+23"),
        ("cb 7ff8000000000000", "null"),
        ("cf ffffffffffffffff", "18446744073709551615"),
        ("d6ff 00000000", "\"1970-01-01T00:00:00.000Z\""),
        ("d7ff ee2e1f00 65920080", "\"2024-01-01T00:00:00.999Z\""),
        ("d7 00 0000018cc251f400", "\"2024-01-01T00:00:00.000Z\""),
        ("d40000", "null"),
        ("c0", "null"),
        ("d4 05 00", "null"),
        ("a3 61 ff 62", "\"a\u{fffd}b\""),
        ("82 01 c3 a1 61 c2", "{\"1\":true,\"a\":false}"),
    ] {
        let value = unpacked(&hex(packed)).unwrap();
        let text = text(&value).unwrap();
        // Both spellings of an exponent are JSON.
        assert_eq!(text.replace("e+", "e"), json.replace("e+", "e"), "{packed}");
    }
    assert_eq!(text(&Value::Map(vec![(Value::Nil, Value::Nil)])), Err(Unfit::Key));
}

#[test]
fn halves_of_surrogate_pairs_are_replaced_and_whole_ones_kept() {
    for (json, expected) in [
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\ud83d\ude00""#, "😀"),
        (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
        (r#""\\ud83d""#, "\\ud83d"),
        (r#""\ud83dx\u0041\"""#, "\u{fffd}xA\""),
    ] {
        assert_eq!(value(json.as_bytes(), &[]).unwrap().as_str(), Some(expected), "{json}");
    }
    assert!(value(br#"{"\ud83d":1}"#, &[]).is_ok());
    assert_eq!(value(b"[1", &[]), Err(Unfit::Json));
}

#[test]
fn rooms_that_are_numbers_in_node_are_reached_and_understood() {
    let broadcast = Broadcast { rooms: vec!["123".to_owned()], ..Broadcast::decode(&hex(HI)).unwrap() };
    let opts = unpacked(&broadcast.encode()).unwrap()[2].clone();
    assert_eq!(member(&opts, "rooms").unwrap(), &Value::Array(vec!["123".into(), 123.into()]));
    assert_eq!(broadcast.room(), None, "a receiver in the one room would not look into the other's channel");
    assert_eq!(rooms(Some(&Value::Array(vec![123.into(), "a".into(), Value::Nil]))), ["123", "a"]);
    for text in ["0123", "1.0", "-0", "9007199254740993", ""] {
        let broadcast = Broadcast { rooms: vec![text.to_owned()], ..broadcast.clone() };
        assert_eq!(broadcast.room(), Some(text));
    }
}

#[test]
fn requests_are_those_of_the_adapter() {
    let whom =
        |rooms: &[&str]| Whom { rooms: rooms.iter().map(|room| (*room).to_owned()).collect(), except: Vec::new() };
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (json, asked) in [
        (r#"{"uid":"u","requestId":"r","type":0,"rooms":["a"]}"#, Asked::Sockets(whom(&["a"]))),
        (r#"{"uid":"u","requestId":"r","type":1}"#, Asked::AllRooms),
        (
            r#"{"uid":"u","requestId":"r","type":2,"opts":{"rooms":["r1"],"except":[]},"rooms":["j1","j2"]}"#,
            Asked::Join(whom(&["r1"]), named(&["j1", "j2"])),
        ),
        (r#"{"uid":"u","requestId":"r","type":3,"sid":"s","room":"zz"}"#, Asked::Leave(whom(&["s"]), named(&["zz"]))),
        (
            r#"{"uid":"u","requestId":"r","type":4,"opts":{"rooms":[],"except":[]},"close":true}"#,
            Asked::Disconnect { whom: whom(&[]), close: true },
        ),
        (r#"{"uid":"u","requestId":"r","type":5,"opts":{"rooms":[],"except":[]}}"#, Asked::Fetch(whom(&[]))),
        (
            r#"{"uid":"u","requestId":"r","type":6,"data":["hello",1]}"#,
            Asked::ServerSide(vec!["hello".into(), 1.into()]),
        ),
    ] {
        let request = Request::decode(json.as_bytes()).unwrap();
        assert_eq!((request.uid.as_deref(), request.id.as_deref()), (Some("u"), Some("r")), "{json}");
        assert_eq!(request.asked, asked, "{json}");
        assert_eq!(Request::decode(&request.encode()).unwrap(), request, "{json}");
    }
    for malformed in [r#"{"type":2,"rooms":["a"]}"#, r#"{"type":99}"#, "{}", "[]", "{", r#"{"type":6}"#] {
        assert!(Request::decode(malformed.as_bytes()).is_err(), "{malformed}");
    }
}

#[test]
fn answers_are_those_of_the_adapter() {
    let response = |answer| Response { id: "r".to_owned(), answer };
    let ack = hex("83 a474797065 09 a9726571756573744964 a172 a67061636b6574 a661636b76616c");
    assert_eq!(response(Answer::Ack("ackval".into())).encode(), ack);
    assert_eq!(response(Answer::Count(1)).encode(), br#"{"type":8,"requestId":"r","clientCount":1}"#);
    let described = Described { id: "s".to_owned(), user: "ada".to_owned(), rooms: vec!["s".to_owned()] };
    for (answer, json) in [
        (Answer::Count(0), r#"{"type":8,"requestId":"r","clientCount":0}"#),
        (Answer::Sockets(vec!["s".to_owned()]), r#"{"requestId":"r","sockets":["s"]}"#),
        (Answer::Rooms(vec!["a".to_owned()]), r#"{"requestId":"r","rooms":["a"]}"#),
        (Answer::Done, r#"{"requestId":"r"}"#),
        (Answer::ServerSide(Value::Nil), r#"{"type":6,"requestId":"r","data":null}"#),
        (
            Answer::Described(vec![described]),
            r#"{"requestId":"r","sockets":[{"id":"s","handshake":{"headers":{},"time":"","address":"","xdomain":false,"secure":false,"issued":0,"url":"","query":{},"auth":{}},"rooms":["s"],"data":{"user":"ada"}}]}"#,
        ),
    ] {
        assert_eq!(String::from_utf8(response(answer).encode()).unwrap(), json);
    }
}

#[test]
fn what_is_too_deep_or_has_a_tail_is_refused() {
    let deep = [vec![0x91; 200], vec![0xc0]].concat();
    assert!(unpacked(&deep).is_err());
    assert!(unpacked(&[0xc0, 0xc0]).is_err());
    // Says that it holds four billion elements.
    assert!(unpacked(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
    assert!(Broadcast::decode(&hex("92 a161 80")).is_err(), "without options peers fail");
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        (-1e6..1e6f64).prop_map(|number| serde_json::Value::from(number.trunc() + 0.5)),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            proptest::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_event_comes_back(json in json(), rooms in proptest::collection::vec(any::<String>(), 0..3), volatile: bool) {
        let data = value(serde_json::json!(["e", json]).to_string().as_bytes(), &[]).unwrap();
        let sent = Broadcast {
            uid: "mp-1".to_owned(),
            namespace: "/a".to_owned(),
            data: data.as_array().unwrap().clone(),
            rooms: rooms.iter().filter(|room| room.parse::<i64>().is_err()).cloned().collect(),
            except: Vec::new(),
            flags: Flags { volatile },
        };
        let read = Broadcast::decode(&sent.encode()).unwrap();
        prop_assert_eq!(&read, &sent);
        let back: serde_json::Value = serde_json::from_slice(&args(&read.data).unwrap().json).unwrap();
        prop_assert_eq!(back, serde_json::json!(["e", json]));
    }

    #[test]
    fn nothing_is_too_strange(bytes: Vec<u8>) {
        let _ = (Broadcast::decode(&bytes), Request::decode(&bytes), sharded::decode(&bytes));
        let _ = value(&bytes, &[Bytes::from_static(b"a")]);
    }
}
