//! Messages that clients compress: which bits may stand where, what is bounded, and what comes out again.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::deflate::{Deflate, compressed};
use super::tests::{LAST, frame};
use super::*;

const LIMIT: usize = 1_000;
const QUICK: Deflate = Deflate { level: 1, min_size: 0 };

fn read(stream: &[u8], pieces: usize) -> (Vec<Event>, Option<FrameError>) {
    let mut parser = Parser::new(LIMIT).with_deflate(true);
    let mut events = Vec::new();
    for mut piece in stream.chunks(pieces) {
        loop {
            match parser.next(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

fn refusal(frames: &[Vec<u8>]) -> Option<FrameError> {
    let whole = read(&frames.concat(), usize::MAX);
    assert_eq!(read(&frames.concat(), 1), whole, "byte by byte");
    whole.1
}

#[test]
fn a_compressed_message_may_be_fragmented_and_stand_among_others() {
    let text = "Grüße ".repeat(30);
    let small = compressed(text.as_bytes(), QUICK).unwrap();
    let (start, end) = small.split_at(5);
    let frames = [
        frame(COMPRESSED | 1, start),
        frame(LAST | 9, b"?"),
        frame(LAST, end),
        frame(LAST | 1, b"plain"),
        frame(LAST | COMPRESSED | 2, &small),
        frame(LAST | COMPRESSED | 1, b"\0"),
    ];
    let text = Bytes::from(text);
    let events = [
        Event::Ping("?".into()),
        Event::Text(text.clone()),
        Event::Text("plain".into()),
        Event::Binary(text),
        Event::Text(Bytes::new()),
    ];
    for pieces in [1, 7, 4096] {
        assert_eq!(read(&frames.concat(), pieces), (events.to_vec(), None));
    }
}

#[test]
fn the_bit_stands_in_the_first_frame_of_a_message_only() {
    let small = compressed(&b"word ".repeat(20), QUICK).unwrap();
    for frames in [
        vec![frame(LAST | COMPRESSED | 9, b"")],
        vec![frame(LAST | COMPRESSED | 8, b"")],
        vec![frame(COMPRESSED | 2, &small[..3]), frame(LAST | COMPRESSED, &small[3..])],
        vec![frame(2, b"plain"), frame(LAST | COMPRESSED, &small)],
        vec![frame(LAST | COMPRESSED | 0x20 | 2, &small)],
        vec![frame(LAST | 0x10 | 2, &small)],
    ] {
        assert!(matches!(refusal(&frames), Some(FrameError::Malformed(_))), "{frames:?}");
    }
    let mut unasked = Parser::new(LIMIT);
    let refused = unasked.next(&mut &frame(LAST | COMPRESSED | 2, &small)[..]);
    assert!(matches!(refused, Err(FrameError::Malformed(_))), "nobody agreed to it");
}

#[test]
fn what_it_says_is_bounded_and_must_make_sense() {
    let too_large = Some(FrameError::TooLarge { limit: LIMIT });
    let bomb = compressed(&[b'x'; LIMIT + 1], QUICK).unwrap();
    assert_eq!(refusal(&[frame(LAST | COMPRESSED | 1, &bomb)]), too_large);
    assert_eq!(refusal(&[frame(COMPRESSED | 1, &bomb), frame(LAST, b"")]), too_large);
    assert_eq!(refusal(&[frame(LAST | COMPRESSED | 2, &vec![0; largest(LIMIT) + 1])]), too_large, "as it comes");
    assert_eq!(refusal(&[frame(LAST | COMPRESSED | 2, &[0xff; 9])]), Some(FrameError::Corrupt));
    let latin = compressed(&[b'\xe4'; 100], QUICK).unwrap();
    assert_eq!(refusal(&[frame(LAST | COMPRESSED | 1, &latin)]), Some(FrameError::NotUtf8));
    assert_eq!(refusal(&[frame(COMPRESSED | 1, &latin), frame(LAST, b"")]), Some(FrameError::NotUtf8));
    assert_eq!((FrameError::Corrupt.close_code(), FrameError::NotUtf8.close_code()), (1007, 1007));
}

#[test]
fn what_cannot_be_compressed_may_grow_by_it() {
    // Blocks without compression, of 100 bytes each.
    let noise: Vec<u8> = (0..LIMIT).map(|index| (index * 31 % 251) as u8).collect();
    let mut stored = Vec::new();
    for block in noise.chunks(100) {
        stored.extend([0, 100, 0, !100, 0xff]);
        stored.extend(block);
    }
    stored.push(0);
    assert!(stored.len() > LIMIT);
    assert_eq!(read(&frame(LAST | COMPRESSED | 2, &stored), 64), (vec![Event::Binary(noise.into())], None));
}

#[test]
fn between_compressed_messages_a_parser_holds_no_memory() {
    assert_eq!(size_of::<Parser>(), 16);
    let mut parser = Parser::new(LIMIT).with_deflate(true);
    let small = compressed(&b"word ".repeat(20), QUICK).unwrap();
    let frames = [frame(COMPRESSED | 2, &small[..3]), frame(LAST, &small[3..])].concat();
    assert!(parser.next(&mut &frames[..]).unwrap().is_some());
    assert!(parser.partial.is_none());
}

proptest! {
    #[test]
    fn what_one_side_compresses_the_other_reads(
        payload in prop_oneof![vec(any::<u8>(), 0..LIMIT), vec(0_u8..4, 0..LIMIT)],
        level in 1_u8..=9,
        fragments in 1_usize..300,
        pieces in 1_usize..300,
    ) {
        let small = compressed(&payload, Deflate { level, min_size: 0 });
        prop_assert!(small.as_ref().is_none_or(|small| small.len() < payload.len()));
        let first = if small.is_some() { COMPRESSED | 2 } else { 2 };
        let sent = small.unwrap_or_else(|| payload.clone());
        let mut stream = Vec::new();
        for (index, fragment) in sent.chunks(fragments).enumerate() {
            stream.extend(frame(if index == 0 { first } else { 0 }, fragment));
        }
        if sent.is_empty() {
            stream.extend(frame(first, b""));
        }
        stream.extend(frame(LAST, b""));
        prop_assert_eq!(read(&stream, pieces), (vec![Event::Binary(payload.into())], None));
    }

    #[test]
    fn rubbish_is_refused_or_read_the_same_however_it_is_cut(payload in vec(any::<u8>(), 0..125), cut in 1_usize..125) {
        let whole = frame(LAST | COMPRESSED | 2, &payload);
        let cut = payload.len().min(cut);
        let fragments = [frame(COMPRESSED | 2, &payload[..cut]), frame(LAST, &payload[cut..])].concat();
        prop_assert_eq!(read(&whole, usize::MAX), read(&fragments, 1));
    }
}
