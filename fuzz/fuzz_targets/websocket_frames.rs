#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane::protocol::websocket::{Event, FrameError, Parser};

const LIMIT: usize = 4096;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, stream) = (usize::from(input.0) + 1, input.1);
    assert_eq!(read(stream.chunks(piece)), read([stream]), "cuts make no difference");
});

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Option<FrameError>) {
    let mut parser = Parser::new(LIMIT);
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
