//! Random packets there and back, random bytes not at all, and nothing panics.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 16;

fn value() -> impl Strategy<Value = String> {
    let string = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    let leaf = prop_oneof![Just("null".to_owned()), any::<i64>().prop_map(|number| number.to_string()), string.clone()];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            (string.clone(), inner).prop_map(|(key, value)| format!("{{{key}:{value}}}")),
        ]
    })
}

/// Arguments whose last ones are placeholders for all their attachments.
fn arguments(name: &'static str) -> impl Strategy<Value = (Bytes, Vec<Bytes>)> {
    (vec(value(), 0..4), vec(vec(any::<u8>(), 0..8), 0..=10)).prop_map(move |(mut values, attachments)| {
        values.insert(0, format!("\"{name}\""));
        let placeholder = |num| format!("{{\"_placeholder\":true,\"num\":{num}}}");
        values.extend((0..attachments.len()).map(placeholder));
        (format!("[{}]", values.join(",")).into(), attachments.into_iter().map(Bytes::from).collect())
    })
}

fn body() -> impl Strategy<Value = Body> {
    let object = || value().prop_map(|value| Bytes::from(format!("{{\"a\":{value}}}")));
    let number = 0..(1_u64 << 53);
    prop_oneof![
        proptest::option::of(object()).prop_map(Body::Connect),
        Just(Body::Disconnect),
        object().prop_map(Body::ConnectError),
        (proptest::option::of(number.clone()), arguments("name")).prop_map(|(id, (json, attachments))| Body::Event {
            id,
            arguments: Arguments::event(&json, attachments).unwrap()
        }),
        (number, arguments("first")).prop_map(|(id, (json, attachments))| Body::Ack {
            id,
            arguments: Arguments::ack(&json, attachments).unwrap()
        }),
    ]
}

fn anything() -> impl Strategy<Value = Packet> {
    let namespace = prop_oneof![Just("/".to_owned()), "/[a-z0-9/?=ä-]{1,20}"];
    (namespace, body()).prop_map(|(namespace, body)| Packet { namespace: namespace.into(), body })
}

/// What a decoder makes of the frames of a packet, as messages.
fn decoded(frames: &[u8]) -> Result<Option<Packet>, PacketError> {
    let mut decoder = Decoder::new(LIMIT);
    let mut last = Ok(None);
    let mut body = Vec::new();
    payload::append(&mut body, frames);
    for packet in payload::packets(&body.into()).unwrap() {
        let Ok(EnginePacket::Message(message)) = packet else { panic!("{packet:?}") };
        last = decoder.take(message);
    }
    last
}

proptest! {
    #[test]
    fn packets_come_through_long_polling(packet in anything()) {
        prop_assert_eq!(decoded(&packet.frames()), Ok(Some(packet)));
    }

    #[test]
    fn any_text_is_refused_or_means_the_same_when_it_is_written_again(text: String, kind in 0..8_u8) {
        let mut decoder = Decoder::new(LIMIT);
        if let Ok(Some(packet)) = decoder.take(Message::Text(format!("{kind}{text}").into())) {
            prop_assert_eq!(decoded(&packet.frames()), Ok(Some(packet)));
        }
    }

    #[test]
    fn damage_is_refused_or_read_and_never_panics(packet in anything(), at: prop::sample::Index, with: char) {
        let text = String::from_utf8(packet.text().to_vec()).unwrap();
        let mut damaged: Vec<char> = text.chars().collect();
        let at = at.index(damaged.len());
        damaged[at] = with;
        let _ = Decoder::new(LIMIT).take(Message::Text(damaged.into_iter().collect::<String>().into()));
    }

    #[test]
    fn any_body_is_refused_or_read_and_never_panics(body: Vec<u8>) {
        if let Ok(packets) = payload::packets(&body.into()) {
            packets.for_each(drop);
        }
    }

    #[test]
    fn any_frames_become_a_body_and_never_panic(frames: Vec<u8>) {
        payload::append(&mut Vec::new(), &frames);
    }
}

#[test]
fn half_a_packet_goes_on_where_another_decoder_has_what_came_of_it() {
    let text =
        Message::Text("52-/a,7[\"b\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]".into());
    let binary = |data: &'static str| Message::Binary(data.into());
    let mut first = Decoder::new(LIMIT);
    assert!(first.half().is_empty());
    for message in [text, binary("one")] {
        assert_eq!(first.take(message), Ok(None));
    }
    let mut second = Decoder::new(LIMIT);
    for message in first.half() {
        assert_eq!(second.take(message), Ok(None));
    }
    let whole = second.take(binary("two")).unwrap();
    assert_eq!(whole, first.take(binary("two")).unwrap());
    assert!(whole.is_some() && first.half().is_empty());
}
