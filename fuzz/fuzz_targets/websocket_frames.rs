#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane::protocol::websocket::{Deflate, Event, FrameError, Parser, compressed};

const LIMIT: usize = 4096;

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (deflate, piece, stream) = (input.0, usize::from(input.1) + 1, input.2);
    assert_eq!(read(deflate, stream.chunks(piece)), read(deflate, [stream]), "cuts make no difference");
    if deflate {
        as_compressed_payload(stream);
        round_trip(stream);
    }
});

/// The input as what a compressed message says: no fuzzer finds a header that fits it.
fn as_compressed_payload(payload: &[u8]) {
    let (start, end) = payload.split_at(payload.len() / 2);
    let whole = [frame(0xc2, payload)].concat();
    let fragments = [frame(0x42, start), frame(0x80, end)].concat();
    assert_eq!(read(true, [&whole[..]]), read(true, [&fragments[..]]), "fragments make no difference");
}

/// The input as what is compressed.
fn round_trip(payload: &[u8]) {
    let payload = &payload[..payload.len().min(LIMIT)];
    if let Some(smaller) = compressed(payload, Deflate { level: 1, min_size: 0 }) {
        let event = Event::Binary(payload.to_vec().into());
        assert_eq!(read(true, [&frame(0xc2, &smaller)[..]]), (vec![event], None));
    }
}

/// A client's frame under a mask that changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_be_bytes();
    [&[first, 0xff][..], &length, &[0; 4], payload].concat()
}

fn read<'a>(deflate: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Option<FrameError>) {
    let mut parser = Parser::new(LIMIT).with_deflate(deflate);
    let mut events = Vec::new();
    for mut piece in pieces {
        loop {
            match parser.next(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(piece.is_empty(), "everything is read");
    }
    for event in &events {
        if let Event::Text(payload) | Event::Binary(payload) = event {
            assert!(payload.len() <= LIMIT);
        }
        if let Event::Text(text) = event {
            assert!(str::from_utf8(text).is_ok());
        }
    }
    (events, None)
}
