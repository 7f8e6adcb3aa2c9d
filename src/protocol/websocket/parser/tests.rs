use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
pub(super) const LAST: u8 = 0x80;

/// A client's frame; `first` is its whole first byte.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = match payload.len() {
        length @ ..126 => vec![first, 0x80 | u8::try_from(length).unwrap()],
        length => [&[first, 0x80 | 126][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
    };
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// All events of a stream fed in pieces of these lengths, over and over; and what ended it, if something did.
pub(super) fn read(stream: &[u8], limit: usize, pieces: &[usize]) -> (Vec<Event>, Option<FrameError>) {
    let mut parser = Parser::new(limit);
    let mut events = Vec::new();
    let mut rest = stream;
    for length in pieces.iter().cycle() {
        let (mut piece, later) = rest.split_at((*length).min(rest.len()));
        rest = later;
        loop {
            match parser.next(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(parser.next(&mut &b"\x81\x80abcd"[..]), Ok(None), "nothing after an error");
                    return (events, Some(error));
                }
            }
        }
        assert!(piece.is_empty());
        if rest.is_empty() {
            return (events, None);
        }
    }
    unreachable!("pieces go round")
}

/// Fed at once and byte by byte, which must not make a difference.
fn whole_and_bytewise(stream: &[u8]) -> (Vec<Event>, Option<FrameError>) {
    let whole = read(stream, 1_000, &[usize::MAX]);
    assert_eq!(read(stream, 1_000, &[1]), whole, "byte by byte");
    whole
}

fn events(frames: &[Vec<u8>]) -> Vec<Event> {
    match whole_and_bytewise(&frames.concat()) {
        (events, None) => events,
        (events, Some(error)) => panic!("{error} after {events:?}"),
    }
}

fn refusal(frames: &[Vec<u8>]) -> FrameError {
    whole_and_bytewise(&frames.concat()).1.expect("a refusal")
}

fn malformed(frames: &[Vec<u8>]) -> bool {
    matches!(refusal(frames), FrameError::Malformed(_))
}

#[test]
fn fragments_are_put_together_around_control_frames() {
    let frames = [
        frame(1, "Grü".as_bytes()),
        frame(LAST | 9, b"here?"),
        frame(0, b""),
        frame(LAST | 10, b""),
        frame(LAST, "ße".as_bytes()),
        frame(LAST | 2, &[7; 300]),
        frame(LAST | 1, b""),
    ];
    let binary = Bytes::from_static(&[7; 300]);
    let (ping, text) = (Event::Ping("here?".into()), Event::Text("Grüße".into()));
    assert_eq!(events(&frames), [ping, Event::Pong, text, Event::Binary(binary), Event::Text(Bytes::new())]);
}

#[test]
fn a_character_may_be_cut_by_fragments_but_not_by_the_end_of_the_text() {
    let (start, end) = "€".as_bytes().split_at(2);
    assert_eq!(events(&[frame(1, start), frame(LAST, end)]), [Event::Text("€".into())]);
    for frames in [
        vec![frame(1, start), frame(LAST, b"")],
        vec![frame(1, start), frame(0, b"x")],
        vec![frame(1, b"ok"), frame(0, b"\xff")],
        vec![frame(LAST | 1, start)],
        vec![frame(LAST | 1, b"\xed\xa0\x80")],
        vec![frame(LAST | 8, b"\x03\xe8\xff")],
    ] {
        assert_eq!(refusal(&frames), FrameError::NotUtf8, "{frames:?}");
    }
    assert_eq!(events(&[frame(LAST | 2, b"\xff")]), [Event::Binary(Bytes::from_static(b"\xff"))]);
}

#[test]
fn what_breaks_the_framing_is_refused() {
    let unmasked = vec![LAST | 1, 2, b'{', b'}'];
    let pong_of_126 = [vec![LAST | 10], frame(LAST | 2, &[0; 126])[1..].to_vec()].concat();
    for frames in [
        vec![unmasked],
        vec![frame(LAST | 0x40 | 1, b"compressed")],
        vec![frame(LAST | 0x10 | 1, b"")],
        vec![frame(LAST | 3, b"")],
        vec![frame(LAST | 11, b"")],
        vec![frame(9, b"fragmented ping")],
        vec![pong_of_126],
        vec![frame(LAST, b"nothing to continue")],
        vec![frame(1, b"a"), frame(LAST | 1, b"b")],
        vec![frame(LAST | 8, b"\x03")],
    ] {
        assert!(malformed(&frames), "{frames:?}");
    }
}

#[test]
fn an_unmasked_frame_is_refused_before_its_payload_comes() {
    assert!(matches!(read(&[LAST | 1, 126], 1_000, &[1]).1, Some(FrameError::Malformed("not masked"))));
}

#[test]
fn close_codes_that_only_stand_for_something_are_refused() {
    for code in [1000, 1003, 1007, 1011, 1014, 3000, 4999_u16] {
        assert_eq!(events(&[frame(LAST | 8, &code.to_be_bytes())]), [Event::Close(Some(code))]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
        assert!(malformed(&[frame(LAST | 8, &code.to_be_bytes())]), "{code}");
    }
}

#[test]
fn nothing_is_read_after_a_close() {
    let frames = [frame(LAST | 8, b""), frame(LAST | 1, b"late"), vec![0xff; 20]];
    assert_eq!(events(&frames), [Event::Close(None)]);
}

#[test]
fn too_large_a_message_is_refused_by_its_header() {
    let too_large = FrameError::TooLarge { limit: 1_000 };
    assert_eq!(read(&frame(LAST | 2, &[0; 1_001])[..8], 1_000, &[1]).1, Some(too_large));
    assert_eq!(read(&frame(LAST | 2, &[0; 1_000]), 1_000, &[1]).0.len(), 1);
    let fragments = [frame(2, &[0; 600]), frame(0, &[0; 400]), frame(0, b""), frame(LAST, b"")];
    assert_eq!(events(&fragments).len(), 1);
    let fragments = [frame(2, &[0; 600]), frame(LAST | 9, &[0; 125]), frame(0, &[0; 401])[..8].to_vec()];
    assert_eq!(refusal(&fragments), too_large);
    for length in [u64::MAX, 1 << 63, 1 << 32, 1_001] {
        let header = [&[LAST | 1, 0x80 | 127][..], &length.to_be_bytes(), &MASK].concat();
        assert_eq!(refusal(&[header]), too_large, "{length}");
    }
    assert_eq!(too_large.close_code(), 1009);
}

#[test]
fn a_declared_length_is_no_reason_to_reserve_memory() {
    let mut parser = Parser::new(1 << 30);
    let header = [&[LAST | 2, 0x80 | 127][..], &(1_u64 << 30).to_be_bytes(), &MASK, b"x"].concat();
    assert_eq!(parser.next(&mut &header[..]), Ok(None));
    let kept = parser.partial.as_ref().and_then(|partial| partial.message.as_ref()).expect("a message has begun");
    assert!(kept.payload.capacity() < 100);
}

#[test]
fn between_messages_a_parser_holds_no_memory() {
    assert_eq!(size_of::<Parser>(), 16);
    let mut parser = Parser::new(1_000);
    for stream in [frame(LAST | 1, b"text"), frame(LAST | 9, b"ping"), [frame(2, b"a"), frame(LAST, b"b")].concat()] {
        for byte in &stream[..stream.len() - 1] {
            assert_eq!(parser.next(&mut &[*byte][..]), Ok(None));
            assert!(parser.partial.is_some());
        }
        assert!(parser.next(&mut &stream[stream.len() - 1..]).unwrap().is_some());
        assert!(parser.partial.is_none());
    }
}

#[test]
fn a_control_frame_inside_a_message_leaves_the_message_alone() {
    let mut parser = Parser::new(1_000);
    let frames = [frame(1, b"be"), frame(LAST | 9, b"?"), frame(LAST, b"gun")].concat();
    let mut input = &frames[..];
    assert_eq!(parser.next(&mut input), Ok(Some(Event::Ping("?".into()))));
    assert!(parser.partial.is_some());
    assert_eq!(parser.next(&mut input), Ok(Some(Event::Text("begun".into()))));
    assert!(parser.partial.is_none() && input.is_empty());
}
