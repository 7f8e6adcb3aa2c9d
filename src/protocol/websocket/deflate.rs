//! Messages compressed one by one (permessage-deflate, RFC 7692).
//!
//! No context outlives a message, in either direction: so what is compressed once can be sent to many, and a connection
//! holds neither compressor nor window. Each thread has one of both, for all connections.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::{Opcode, server_frame, whole_frame};
use super::parser::FrameError;

/// In a frame's first byte: its message is compressed (RSV1).
pub(super) const COMPRESSED: u8 = 0x40;
/// What an empty block without compression ends with. It is left out on the wire.
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];
/// An empty block that is the last: where the decompressor does not come to its end, something was missing.
const LAST: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];
/// What is made at first of a compressed message. It doubles from there.
const FIRST: usize = 1024;

/// How messages to a client are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Deflate {
    /// From 1, quick, to 9, small.
    pub level: u8,
    /// Messages of fewer bytes go as they are.
    pub min_size: u32,
}

thread_local! {
    static DEFLATER: RefCell<Option<(u8, Compress)>> = const { RefCell::new(None) };
    static INFLATER: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// As [`server_frame`], compressed where that makes it smaller.
#[must_use]
pub fn deflated_frame(opcode: Opcode, payload: &[u8], deflate: Deflate) -> Bytes {
    match compressed(payload, deflate) {
        Some(smaller) => whole_frame(COMPRESSED | opcode.bits(), &smaller),
        None => server_frame(opcode, payload),
    }
}

/// A message as it goes compressed; `None` where it goes as it is.
#[must_use]
pub fn compressed(payload: &[u8], deflate: Deflate) -> Option<Vec<u8>> {
    if payload.is_empty() || payload.len() < deflate.min_size as usize {
        return None;
    }
    // With the end that is left out it has to fit in here, or it is not smaller.
    let mut smaller = Vec::with_capacity(payload.len() + FLUSHED.len());
    DEFLATER.with_borrow_mut(|deflater| {
        let compress = match deflater {
            Some((level, compress)) if *level == deflate.level => {
                compress.reset();
                compress
            }
            _ => &mut deflater.insert((deflate.level, new_compressor(deflate.level))).1,
        };
        compress.compress_vec(payload, &mut smaller, FlushCompress::Sync).ok()?;
        (compress.total_in() == payload.len() as u64).then_some(())
    })?;
    // A buffer that is full may not be all.
    let whole = smaller.len() < smaller.capacity() && smaller.ends_with(&FLUSHED);
    smaller.truncate(smaller.len().saturating_sub(FLUSHED.len()));
    (whole && smaller.len() < payload.len()).then_some(smaller)
}

fn new_compressor(level: u8) -> Compress {
    Compress::new(Compression::new(level.into()), false)
}

/// The largest that a message of `limit` bytes may become by compression: what cannot be compressed grows a little.
pub(super) const fn largest(limit: usize) -> usize {
    limit.saturating_add(limit / 256).saturating_add(64)
}

/// What a compressed message says, at most `limit` bytes.
///
/// # Errors
/// Where it would be larger, or is not what a compressor makes.
pub(super) fn inflated(payload: &[u8], limit: usize) -> Result<Vec<u8>, FrameError> {
    INFLATER.with_borrow_mut(|inflater| {
        let inflater = inflater.get_or_insert_with(|| Decompress::new(false));
        inflater.reset(false);
        let mut message = Vec::new();
        // Whoever makes the last block itself may leave it at that.
        if inflate(inflater, payload, &mut message, limit)? || inflate(inflater, &LAST, &mut message, limit)? {
            Ok(message)
        } else {
            Err(FrameError::Corrupt)
        }
    })
}

/// Appends what `input` says to `message`; whether it ends with the end of a last block.
fn inflate(
    inflater: &mut Decompress,
    mut input: &[u8],
    message: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, FrameError> {
    loop {
        if message.len() == message.capacity() {
            message.reserve_exact(message.len().max(FIRST).min(limit + 1 - message.len()));
        }
        let (read, made) = (inflater.total_in(), message.len());
        let status = inflater.decompress_vec(input, message, FlushDecompress::None).map_err(|_| FrameError::Corrupt)?;
        let read = usize::try_from(inflater.total_in() - read).map_err(|_| FrameError::Corrupt)?;
        input = &input[read..];
        if message.len() > limit {
            return Err(FrameError::TooLarge { limit });
        }
        let full = message.len() == message.capacity();
        match status {
            Status::StreamEnd if input.is_empty() => return Ok(true),
            // There is more behind a last block, which then is not the last.
            Status::StreamEnd => inflater.reset(false),
            Status::Ok | Status::BufError if full => {}
            Status::Ok | Status::BufError if input.is_empty() => return Ok(false),
            Status::Ok | Status::BufError if read == 0 && message.len() == made => return Err(FrameError::Corrupt),
            Status::Ok | Status::BufError => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Deflate = Deflate { level: 1, min_size: 0 };

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 7692, 7.2.3: compressed, without compression, with a last block, in two blocks.
        for payload in [
            &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
            b"\x00\x05\x00\xfa\xffHello\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ] {
            assert_eq!(inflated(payload, 5).as_deref(), Ok(&b"Hello"[..]), "{payload:x?}");
            assert_eq!(inflated(payload, 4), Err(FrameError::TooLarge { limit: 4 }));
        }
        assert_eq!(inflated(b"\x00", 0), Ok(Vec::new()), "an empty message");
        assert_eq!(inflated(b"\xf3\x48\xcd\xc9\xc9\x07\x00", 5).as_deref(), Ok(&b"Hello"[..]), "and no more");
    }

    #[test]
    fn what_is_cut_short_or_no_deflate_is_corrupt() {
        let whole = compressed(&b"many words, many words, and some of them twice".repeat(9), QUICK).unwrap();
        for end in 0..whole.len() {
            assert_eq!(inflated(&whole[..end], 10_000), Err(FrameError::Corrupt), "{end} of {}", whole.len());
        }
        assert_eq!(inflated(b"\xff\xff\xff\xff", 100), Err(FrameError::Corrupt));
    }

    #[test]
    fn a_bomb_goes_off_at_the_limit() {
        let mut bomb = Vec::new();
        let mut zeros = vec![0; 64 << 20];
        zeros.push(1);
        bomb.extend(compressed(&zeros, Deflate { level: 9, min_size: 0 }).unwrap());
        assert!(bomb.len() < 100_000);
        assert_eq!(inflated(&bomb, 1 << 16), Err(FrameError::TooLarge { limit: 1 << 16 }));
        assert_eq!(inflated(&bomb, zeros.len()).unwrap().len(), zeros.len());
        assert_eq!(inflated(&bomb, zeros.len() - 1), Err(FrameError::TooLarge { limit: zeros.len() - 1 }));
    }

    #[test]
    fn only_what_gets_smaller_is_compressed() {
        let text = b"abcd".repeat(25);
        assert!(compressed(&text, Deflate { level: 1, min_size: 101 }).is_none());
        let frame = deflated_frame(Opcode::Text, &text, Deflate { level: 1, min_size: 100 });
        assert!(frame.len() < 50 && frame[0] == 0xc1);
        let noise: Vec<u8> = (0..=255).collect();
        assert_eq!(deflated_frame(Opcode::Binary, &noise, QUICK), server_frame(Opcode::Binary, &noise));
        assert_eq!(deflated_frame(Opcode::Text, b"", QUICK), &b"\x81\0"[..]);
    }

    #[test]
    fn one_level_follows_another() {
        let text = b"to be or not to be, that is the question; ".repeat(20);
        for level in [1, 9, 1, 6, 6] {
            let smaller = compressed(&text, Deflate { level, min_size: 0 }).unwrap();
            assert_eq!(inflated(&smaller, text.len()).as_deref(), Ok(&text[..]));
        }
    }
}
