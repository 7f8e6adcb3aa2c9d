#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane::backplane::nats::live::{Headers, Malformed, Op, Parser};

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, stream) = (usize::from(input.0) + 1, input.1);
    assert_eq!(read(stream.chunks(piece)), read([stream]), "cuts make no difference");
});

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Op>, Option<Malformed>) {
    let (mut parser, mut buffer, mut ops) = (Parser::default(), Default::default(), Vec::new());
    for piece in pieces {
        bytes::BytesMut::extend_from_slice(&mut buffer, piece);
        loop {
            match parser.next(&mut buffer) {
                Ok(Some(op)) => ops.push(op),
                Ok(None) => break,
                Err(malformed) => return (ops, Some(malformed)),
            }
        }
    }
    for op in &ops {
        if let Op::Message(message) = op {
            let headers = Headers::new(&message.headers);
            let _ = headers.status();
            for (name, _) in headers.iter() {
                assert!(headers.all(name).count() > 0);
            }
        }
    }
    (ops, None)
}
