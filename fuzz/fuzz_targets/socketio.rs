#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use midplane::protocol::socketio::{Decoder, EnginePacket, Message, Packet, payload};

const LIMIT: usize = 1 << 16;

/// The packets in a body, up to what a connection would be closed for.
fn packets(body: &Bytes) -> Vec<Packet> {
    let mut decoder = Decoder::new(LIMIT);
    let mut found = Vec::new();
    for packet in payload::packets(body).into_iter().flatten() {
        let Ok(packet) = packet else { break };
        let EnginePacket::Message(message) = packet else { continue };
        match decoder.take(message) {
            Ok(packet) => found.extend(packet),
            Err(_) => break,
        }
    }
    found
}

fuzz_target!(|input: &[u8]| {
    let body = Bytes::copy_from_slice(input);
    let found = packets(&body);
    let mut written = Vec::new();
    for packet in &found {
        payload::append(&mut written, &packet.frames());
    }
    assert_eq!(packets(&written.into()), found, "written again it means the same");
    payload::append(&mut Vec::new(), input);
    if let Ok(text) = str::from_utf8(input) {
        let _ = Decoder::new(LIMIT).take(Message::Text(text.to_owned().into()));
    }
});
