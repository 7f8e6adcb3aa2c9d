//! The parser against another implementation, on well-formed, damaged and hostile streams, cut everywhere.

use std::io::{self, Cursor, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Theirs, WebSocket, error::ProtocolError};

use super::tests::{LAST, frame, read};
use super::*;

const LIMIT: usize = 200;

/// What became of a stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<Event>,
    refused: bool,
}

fn ours(stream: &[u8], pieces: &[usize]) -> Outcome {
    let (events, refused) = read(stream, LIMIT, pieces);
    Outcome { events, refused: refused.is_some() }
}

fn theirs(stream: &[u8]) -> Outcome {
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let mut socket = WebSocket::from_raw_socket(Tape(Cursor::new(stream.to_vec())), Role::Server, Some(config));
    let mut events = Vec::new();
    loop {
        let event = match socket.read() {
            Ok(Theirs::Text(text)) => Event::Text(text.into()),
            Ok(Theirs::Binary(payload)) => Event::Binary(payload),
            Ok(Theirs::Ping(payload)) => Event::Ping(payload),
            Ok(Theirs::Pong(_)) => Event::Pong,
            // How tungstenite reports a code that may not be sent, which we refuse.
            Ok(Theirs::Close(Some(close))) if close.reason.as_str() == "Protocol violation" => {
                return Outcome { events, refused: true };
            }
            Ok(Theirs::Close(close)) => {
                events.push(Event::Close(close.map(|close| close.code.into())));
                return Outcome { events, refused: false };
            }
            Ok(Theirs::Frame(_)) => unreachable!("not handed out by read"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::ConnectionClosed) => {
                return Outcome { events, refused: false };
            }
            Err(_) => return Outcome { events, refused: true },
        };
        events.push(event);
    }
}

/// A stream to read from, with nobody at its other end.
struct Tape(Cursor<Vec<u8>>);

impl Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[a-zäß€🌍]{0,40}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..20),
        1 => vec(Just(b'x'), 100..150),
        1 => (900_u16..5_100).prop_map(|code| code.to_be_bytes().to_vec()),
    ]
}

/// A message, fragmented at any byte, with control frames between its fragments.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let between = proptest::option::of((prop_oneof![Just(9_u8), Just(10)], vec(any::<u8>(), 0..125)));
    let fragments = vec((any::<prop::sample::Index>(), between), 0..4);
    (1_u8..3, payload(), fragments).prop_map(|(opcode, payload, fragments)| {
        let mut stream = Vec::new();
        let (mut opcode, mut rest) = (opcode, &payload[..]);
        for (cut, between) in fragments {
            let (fragment, later) = rest.split_at(cut.index(rest.len() + 1));
            stream.extend(frame(opcode, fragment));
            (opcode, rest) = (0, later);
            if let Some((control, payload)) = between {
                stream.extend(frame(LAST | control, &payload));
            }
        }
        stream.extend(frame(LAST | opcode, rest));
        stream
    })
}

/// Any frame at all, mostly where it does not belong.
fn stray() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), payload()).prop_map(|(first, payload)| frame(first, &payload))
}

fn close() -> impl Strategy<Value = Vec<u8>> {
    payload().prop_filter("fits", |payload| payload.len() <= 125).prop_map(|payload| frame(LAST | 8, &payload))
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![8 => message(), 1 => stray(), 1 => close()];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn a_stream_means_what_tungstenite_says(stream in stream()) {
        prop_assert_eq!(ours(&stream, &[usize::MAX]), theirs(&stream));
    }

    #[test]
    fn cuts_make_no_difference(stream in stream(), pieces in vec(1_usize..40, 1..8)) {
        let whole = ours(&stream, &[usize::MAX]);
        prop_assert_eq!(&ours(&stream, &[1]), &whole);
        prop_assert_eq!(&ours(&stream, &pieces), &whole);
        for cut in 1..stream.len() {
            prop_assert_eq!(&ours(&stream, &[cut, usize::MAX]), &whole);
        }
    }

    #[test]
    fn damage_is_seen_by_both(
        stream in stream(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut stream = stream;
        for (at, byte) in damage {
            if !stream.is_empty() {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
        }
        stream.truncate(cut.index(stream.len() + 1));
        agree_up_to_an_unfinished_frame(&stream)?;
    }

    #[test]
    fn noise_is_refused_by_both(stream in vec(any::<u8>(), 0..100)) {
        agree_up_to_an_unfinished_frame(&stream)?;
    }
}

/// Tungstenite waits for a whole frame before it judges its first bytes; we do not.
fn agree_up_to_an_unfinished_frame(stream: &[u8]) -> Result<(), TestCaseError> {
    let (ours, theirs) = (ours(stream, &[1]), theirs(stream));
    prop_assert_eq!(&ours.events, &theirs.events);
    prop_assert!(ours.refused || !theirs.refused);
    Ok(())
}
