//! Frames on their way out: whole, unmasked.

use bytes::Bytes;

/// Bytes that a control frame can carry (RFC 6455, 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// What a frame is for (RFC 6455, 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message that has begun.
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    /// Its four bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    pub(super) const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    /// Whether such frames may stand between the fragments of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.bits() >= 8
    }
}

/// A whole frame, the last of its message, in one allocation of exactly its size.
///
/// A control frame's `payload` must not exceed [`MAX_CONTROL_PAYLOAD`].
#[must_use]
pub fn server_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    debug_assert!(!opcode.is_control() || payload.len() <= MAX_CONTROL_PAYLOAD, "control frame of {}", payload.len());
    whole_frame(opcode.bits(), payload)
}

/// As [`server_frame`], of a message whose payload lies in pieces.
#[must_use]
pub fn server_frame_of(opcode: Opcode, pieces: &[&[u8]]) -> Bytes {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    let (header, header_length) = header(opcode.bits(), length);
    let mut frame = Vec::with_capacity(header_length + length);
    frame.extend_from_slice(&header[..header_length]);
    pieces.iter().for_each(|piece| frame.extend_from_slice(piece));
    frame.into()
}

/// The frames in `bytes`, all whole and of those that a server writes here, with their payloads; ends at what is not.
pub fn server_frames(mut bytes: &[u8]) -> impl Iterator<Item = (Opcode, &[u8])> {
    std::iter::from_fn(move || {
        let opcode = Opcode::from_bits(bytes.first()? & 0x0f)?;
        let (length, header) = match *bytes.get(1)? {
            126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
            short => (u64::from(short), 2),
        };
        let end = usize::try_from(length).ok()?.checked_add(header)?;
        let payload = bytes.get(header..end)?;
        bytes = &bytes[end..];
        Some((opcode, payload))
    })
}

/// As [`server_frame`]; `bits` are the reserved ones and the opcode.
pub(super) fn whole_frame(bits: u8, payload: &[u8]) -> Bytes {
    let (header, length) = header(bits, payload.len());
    let mut frame = Vec::with_capacity(length + payload.len());
    frame.extend_from_slice(&header[..length]);
    frame.extend_from_slice(payload);
    frame.into()
}

/// A whole frame as a client would send it, under a mask that changes nothing.
#[must_use]
pub fn client_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let (mut header, length) = header(opcode.bits(), payload.len());
    header[1] |= 0x80;
    [&header[..length], &[0; 4], payload].concat()
}

/// A close frame. Of a reason too long for it only what fits is sent.
#[must_use]
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let fits = (0..=reason.len().min(MAX_CONTROL_PAYLOAD - 2)).rev().find(|end| reason.is_char_boundary(*end));
    let reason = &reason[..fits.unwrap_or(0)];
    let mut payload = [0; MAX_CONTROL_PAYLOAD];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..][..reason.len()].copy_from_slice(reason.as_bytes());
    server_frame(Opcode::Close, &payload[..2 + reason.len()])
}

/// The header, and how much of the array it takes.
fn header(bits: u8, length: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = 0x80 | bits;
    if let Ok(short) = u8::try_from(length)
        && short < 126
    {
        header[1] = short;
        return (header, 2);
    }
    if let Ok(medium) = u16::try_from(length) {
        header[1] = 126;
        header[2..4].copy_from_slice(&medium.to_be_bytes());
        return (header, 4);
    }
    header[1] = 127;
    header[2..].copy_from_slice(&(length as u64).to_be_bytes());
    (header, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_takes_as_few_bytes_as_it_can() {
        for (length, header) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (0xffff, &[0x82, 126, 0xff, 0xff]),
            (0x1_0000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = server_frame(Opcode::Binary, &vec![7; length]);
            assert_eq!((&frame[..header.len()], frame.len()), (header, header.len() + length), "{length}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_frame_by_frame() {
        let payloads = [0, 125, 126, 0xffff, 0x1_0000].map(|length| vec![7; length]);
        let mut bytes: Vec<u8> = payloads.iter().flat_map(|payload| server_frame(Opcode::Binary, payload)).collect();
        bytes.extend(server_frame_of(Opcode::Text, &[b"4", b"", b"hello"]));
        bytes.extend(close_frame(1000, "").slice(..3));
        let mut frames = server_frames(&bytes);
        for payload in &payloads {
            assert_eq!(frames.next(), Some((Opcode::Binary, &payload[..])));
        }
        assert_eq!(frames.next(), Some((Opcode::Text, &b"4hello"[..])));
        assert_eq!(frames.next(), None, "half a frame is none");
    }

    #[test]
    fn a_client_frame_is_masked_by_nothing() {
        assert_eq!(client_frame(Opcode::Text, b"{}"), b"\x81\x82\0\0\0\0{}");
        assert_eq!(client_frame(Opcode::Text, &[7; 200])[..8], [0x81, 0xfe, 0, 200, 0, 0, 0, 0]);
    }

    #[test]
    fn a_close_frame_holds_code_and_reason() {
        assert_eq!(close_frame(3001, "shutdown"), &b"\x88\x0a\x0b\xb9shutdown"[..]);
        let long = close_frame(4000, &"ä".repeat(100));
        assert_eq!(long.len(), 2 + 2 + 122);
        assert!(str::from_utf8(&long[4..]).is_ok());
    }
}
