//! Random messages there and back, random bytes not at all, and nothing panics.

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message;

use super::super::message::messages;
use super::super::*;
use super::news;

messages! {
    /// A reply as the schema has it, to read what was written.
    ReplyFields {
        id: u32 = (uint32, tag = "1"),
        push: Option<PushFields> = (message, optional, tag = "4"),
        connect: Option<ConnectResult> = (message, optional, tag = "5"),
        subscribe: Option<SubscribeResult> = (message, optional, tag = "6"),
        history: Option<HistoryResult> = (message, optional, tag = "11"),
    }

    PushFields {
        channel: String = (string, tag = "2"),
        r#pub: Option<Publication> = (message, optional, tag = "4"),
    }
}

fn json() -> impl Strategy<Value = Bytes> {
    let leaf = prop_oneof![Just("null".to_owned()), any::<i64>().prop_map(|n| n.to_string()), text().prop_map(quoted)];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            (text(), inner).prop_map(|(key, value)| format!("{{{}:{value}}}", quoted(key))),
        ]
    });
    value.prop_map(Bytes::from)
}

fn quoted(text: String) -> String {
    serde_json::to_string(&text).unwrap()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z]{1,8}", any::<String>()]
}

fn publication() -> impl Strategy<Value = Publication> {
    let info = (text(), text(), json()).prop_map(|(user, client, conn_info)| ClientInfo {
        user,
        client,
        conn_info,
        chan_info: Bytes::new(),
    });
    let fields = (json(), proptest::option::of(info), any::<u64>(), btree_map(text(), text(), 0..3), any::<bool>());
    fields.prop_map(|(data, info, offset, tags, delta)| Publication {
        data,
        info,
        offset,
        tags,
        delta,
        ..Default::default()
    })
}

fn subscribed() -> impl Strategy<Value = SubscribeResult> {
    let fields = (any::<(bool, u32, u64, bool)>(), text(), vec(publication(), 0..3), json());
    fields.prop_map(|((expires, ttl, offset, recovered), epoch, publications, data)| SubscribeResult {
        expires,
        ttl,
        offset,
        recovered,
        epoch,
        publications,
        data,
        ..Default::default()
    })
}

/// Channels in the order in which JSON is read back.
fn connected() -> impl Strategy<Value = ConnectResult> {
    (text(), json(), btree_map(text(), subscribed(), 0..3)).prop_map(|(client, data, subs)| {
        let subs = subs.into_iter().map(|(channel, result)| ServerSubscription { channel, result }).collect();
        ConnectResult { client, data, subs, ..Default::default() }
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    let result = prop_oneof![
        connected().prop_map(ReplyResult::Connect),
        subscribed().prop_map(ReplyResult::Subscribe),
        (vec(publication(), 0..3), text(), any::<u64>()).prop_map(|(publications, epoch, offset)| {
            ReplyResult::History(HistoryResult { publications, epoch, offset })
        }),
        publication().prop_map(|publication| ReplyResult::Push(Push::Publication { channel: news(), publication })),
    ];
    (any::<u32>(), result).prop_map(|(id, result)| Reply { id, result })
}

fn fields(Reply { id, result }: Reply) -> ReplyFields {
    let none = ReplyFields { id, ..Default::default() };
    match result {
        ReplyResult::Connect(connect) => ReplyFields { connect: Some(connect), ..none },
        ReplyResult::Subscribe(subscribe) => ReplyFields { subscribe: Some(subscribe), ..none },
        ReplyResult::History(history) => ReplyFields { history: Some(history), ..none },
        ReplyResult::Push(Push::Publication { channel, publication }) => {
            let push = PushFields { channel: channel.to_string(), r#pub: Some(publication) };
            ReplyFields { push: Some(push), ..none }
        }
        other => panic!("{other:?}"),
    }
}

fn command() -> impl Strategy<Value = command::CommandFields> {
    let connect = (text(), json(), btree_map(text(), Just(SubscribeRequest::default()), 0..2));
    let connect = connect.prop_map(|(token, data, subs)| ConnectRequest { token, data, subs, ..Default::default() });
    let publish = (text(), json()).prop_map(|(channel, data)| PublishRequest { channel, data, ..Default::default() });
    let history = (text(), any::<i32>(), any::<u64>()).prop_map(|(channel, limit, offset)| {
        let since = Some(StreamPosition { offset, epoch: String::new() });
        HistoryRequest { channel, limit, since, reverse: false }
    });
    let methods = (proptest::option::of(connect), proptest::option::of(publish), proptest::option::of(history));
    (any::<u32>(), methods).prop_map(|(id, (connect, publish, history))| command::CommandFields {
        id,
        connect,
        publish,
        history,
        ..Default::default()
    })
}

proptest! {
    #[test]
    fn what_is_written_can_be_read(reply in reply()) {
        let json = encode(Encoding::Json, &reply);
        let protobuf = encode(Encoding::Protobuf, &reply);
        prop_assert!(!json.contains(&b'\n'));
        let expected = fields(reply);
        prop_assert_eq!(&serde_json::from_slice::<ReplyFields>(&json).unwrap(), &expected);
        prop_assert_eq!(&ReplyFields::decode_length_delimited(&protobuf[..]).unwrap(), &expected);
    }

    #[test]
    fn a_command_means_the_same_on_both_wires(fields in command()) {
        let json = serde_json::to_vec(&fields).unwrap();
        let protobuf = fields.encode_length_delimited_to_vec();
        let expected = Command::try_from(fields);
        for (encoding, message) in [(Encoding::Json, json), (Encoding::Protobuf, protobuf)] {
            match (decode(encoding, &message, 1), &expected) {
                (Ok(commands), Ok(expected)) => prop_assert_eq!(&commands[..], std::slice::from_ref(expected)),
                (Err(left), Err(right)) => prop_assert_eq!(left.to_string(), right.to_string()),
                (left, right) => prop_assert!(false, "{:?} {:?}", left, right),
            }
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..200), limit in 0_usize..5) {
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            if let Ok(commands) = decode(encoding, &bytes, limit) {
                prop_assert!(commands.len() <= limit);
            }
        }
    }

    #[test]
    fn no_damage_to_a_command_makes_the_decoder_panic(
        fields in command(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>(),
    ) {
        let json = serde_json::to_vec(&fields).unwrap();
        let protobuf = fields.encode_length_delimited_to_vec();
        for (encoding, mut message) in [(Encoding::Json, json), (Encoding::Protobuf, protobuf)] {
            for (at, byte) in &damage {
                let at = at.index(message.len());
                message[at] = *byte;
            }
            message.truncate(cut.index(message.len() + 1));
            drop(decode(encoding, &message, 16));
        }
    }
}
