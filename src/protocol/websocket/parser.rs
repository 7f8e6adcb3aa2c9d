//! Frames on their way in, cut anywhere.

use bytes::Bytes;

use super::deflate::{COMPRESSED, inflated, largest};
use super::frame::{MAX_CONTROL_PAYLOAD, Opcode};

/// Reads a client's frames. Between messages it holds no memory but itself.
#[derive(Debug)]
pub struct Parser {
    partial: Option<Box<Partial>>,
    limit: u32,
    /// Messages may be compressed.
    deflate: bool,
    /// The peer has closed, or broken the protocol: whatever follows is not looked at.
    over: bool,
}

/// A whole message, fragments put together, or a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Proven UTF-8.
    Text(Bytes),
    Binary(Bytes),
    /// To be answered with a pong that carries the same bytes.
    Ping(Bytes),
    Pong,
    /// The peer closes, with a status code if it gave one (RFC 6455, 5.5.1). Nothing comes after it.
    Close(Option<u16>),
}

/// Why a client's bytes are refused. Nothing can be read after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("message of more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("text that is not UTF-8")]
    NotUtf8,
    #[error("compressed message that cannot be read")]
    Corrupt,
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
}

impl FrameError {
    /// The WebSocket status code that says so to the peer (RFC 6455, 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::TooLarge { .. } => 1009,
            Self::NotUtf8 | Self::Corrupt => 1007,
            Self::Malformed(_) => 1002,
        }
    }
}

/// What is kept of a message that is not whole yet.
#[derive(Debug, Default)]
struct Partial {
    /// A header that is not whole yet.
    header: Vec<u8>,
    /// The frame whose payload is being read, and that payload so far if it is a control frame's.
    frame: Option<Frame>,
    control: Vec<u8>,
    message: Option<Message>,
}

/// A message of which something has come.
#[derive(Debug)]
struct Message {
    text: bool,
    compressed: bool,
    payload: Vec<u8>,
    /// How much of a text is proven UTF-8.
    proven: usize,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    last: bool,
    /// Its message is compressed, which only the first frame of one says.
    compressed: bool,
    opcode: Opcode,
    mask: [u8; 4],
    length: usize,
    /// How much of the payload has been read.
    taken: usize,
}

impl Parser {
    /// Takes messages of at most `limit` bytes (4 GiB at most), fragments put together.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { partial: None, limit: u32::try_from(limit).unwrap_or(u32::MAX), deflate: false, over: false }
    }

    /// The same, for a client that may compress its messages. The limit is that of what they say.
    #[must_use]
    pub fn with_deflate(self, negotiated: bool) -> Self {
        Self { deflate: negotiated, ..self }
    }

    /// The next event in `input`, which loses what was read. `None` once `input` is empty: call again with more.
    ///
    /// # Errors
    /// See [`FrameError`]. After an error or a close everything is read as nothing.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event>, FrameError> {
        if self.over {
            *input = &[];
            return Ok(None);
        }
        let next = self.read(input);
        if matches!(next, Err(_) | Ok(Some(Event::Close(_)))) {
            self.over = true;
            self.partial = None;
        }
        next
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<Option<Event>, FrameError> {
        while !input.is_empty() {
            let frame = match self.partial.as_mut().and_then(|partial| partial.frame.take()) {
                Some(begun) => begun,
                None => match self.header(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if let Some(event) = self.payload(frame, input)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The next frame's header, judged before any of its payload is kept.
    fn header(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        let begun = self.partial.as_mut().map(|partial| std::mem::take(&mut partial.header)).unwrap_or_default();
        let mut header = [0; MAX_HEADER];
        header[..begun.len()].copy_from_slice(&begun);
        let mut filled = begun.len();
        let wanted = loop {
            let wanted = header_length(&header[..filled]);
            let more = (wanted - filled).min(input.len());
            if more == 0 {
                break wanted;
            }
            header[filled..][..more].copy_from_slice(&input[..more]);
            *input = &input[more..];
            filled += more;
            // Judged as soon as there is something to judge: a peer that sends no more is not waited for.
            if filled >= 2 {
                self.judge(header[0], header[1])?;
            }
        };
        if filled < wanted {
            self.partial.get_or_insert_default().header = header[..filled].to_vec();
            return Ok(None);
        }
        let length = match header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
            127 => u64::from_be_bytes([2, 3, 4, 5, 6, 7, 8, 9].map(|at: usize| header[at])),
            short => u64::from(short),
        };
        let opcode = Opcode::from_bits(header[0] & 0x0f).ok_or(FrameError::Malformed("unknown opcode"))?;
        let compressed = header[0] & COMPRESSED != 0;
        let length = self.admit(opcode, compressed, length)?;
        let mask = [4, 3, 2, 1].map(|back| header[wanted - back]);
        Ok(Some(Frame { last: header[0] & 0x80 != 0, compressed, opcode, mask, length, taken: 0 }))
    }

    fn judge(&self, first: u8, second: u8) -> Result<(), FrameError> {
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::Malformed("unknown opcode"))?;
        let may_be_compressed = self.deflate && matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & 0x70 & !(if may_be_compressed { COMPRESSED } else { 0 }) != 0 {
            return Err(FrameError::Malformed("reserved bits that nothing was agreed on"));
        }
        if second & 0x80 == 0 {
            return Err(FrameError::Malformed("not masked"));
        }
        let begun = self.partial.as_ref().is_some_and(|partial| partial.message.is_some());
        match opcode {
            _ if opcode.is_control() => {
                if first & 0x80 == 0 {
                    return Err(FrameError::Malformed("fragmented control frame"));
                }
                if usize::from(second & 0x7f) > MAX_CONTROL_PAYLOAD {
                    return Err(FrameError::Malformed("control frame too long"));
                }
                Ok(())
            }
            Opcode::Continuation if !begun => Err(FrameError::Malformed("nothing to continue")),
            Opcode::Text | Opcode::Binary if begun => Err(FrameError::Malformed("message inside a message")),
            _ => Ok(()),
        }
    }

    /// The length of a frame that fits into its message's limit.
    fn admit(&self, opcode: Opcode, compressed: bool, length: u64) -> Result<usize, FrameError> {
        let limit = self.limit as usize;
        let begun = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let (compressed, before) = begun.map_or((compressed, 0), |begun| (begun.compressed, begun.payload.len()));
        let room = if compressed { largest(limit) } else { limit }.saturating_sub(before);
        let fits = |length: &usize| opcode.is_control() || *length <= room;
        usize::try_from(length).ok().filter(fits).ok_or(FrameError::TooLarge { limit })
    }

    /// As much of the frame's payload as `input` holds; an event if that makes something whole.
    fn payload(&mut self, mut frame: Frame, input: &mut &[u8]) -> Result<Option<Event>, FrameError> {
        let (here, rest) = input.split_at((frame.length - frame.taken).min(input.len()));
        *input = rest;
        let whole = frame.taken + here.len() == frame.length;
        if whole && frame.taken == 0 && self.partial.is_none() && frame.last {
            let payload = unmasked(here, frame);
            let payload = if frame.compressed { inflated(&payload, self.limit as usize)? } else { payload };
            return finish(frame.opcode, payload).map(Some);
        }
        let partial = self.partial.get_or_insert_default();
        let kept = if frame.opcode.is_control() {
            &mut partial.control
        } else {
            let (text, compressed) = (frame.opcode == Opcode::Text, frame.compressed);
            let begin = || Message { text, compressed, payload: Vec::new(), proven: 0 };
            &mut partial.message.get_or_insert_with(begin).payload
        };
        append_unmasked(kept, here, frame);
        frame.taken += here.len();
        if !whole {
            partial.frame = Some(frame);
            return Ok(None);
        }
        let event = partial.frame_end(frame, self.limit as usize)?;
        if partial.message.is_none() {
            self.partial = None;
        }
        Ok(event)
    }
}

impl Partial {
    /// What a frame whose payload is whole completes.
    fn frame_end(&mut self, frame: Frame, limit: usize) -> Result<Option<Event>, FrameError> {
        if frame.opcode.is_control() {
            return finish(frame.opcode, std::mem::take(&mut self.control)).map(Some);
        }
        if !frame.last {
            if let Some(message) = &mut self.message {
                message.prove()?;
            }
            return Ok(None);
        }
        let Some(Message { text, compressed, payload, proven }) = self.message.take() else { return Ok(None) };
        let payload = if compressed { inflated(&payload, limit)? } else { payload };
        if text && str::from_utf8(&payload[proven..]).is_err() {
            return Err(FrameError::NotUtf8);
        }
        Ok(Some(if text { Event::Text(exact(payload)) } else { Event::Binary(exact(payload)) }))
    }
}

impl Message {
    /// Refuses a text as soon as a fragment shows that it is none; a character may be cut by a fragment's end.
    fn prove(&mut self) -> Result<(), FrameError> {
        if !self.text || self.compressed {
            return Ok(());
        }
        self.proven += match str::from_utf8(&self.payload[self.proven..]) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(FrameError::NotUtf8),
        };
        Ok(())
    }
}

/// The event of an unfragmented frame.
fn finish(opcode: Opcode, payload: Vec<u8>) -> Result<Event, FrameError> {
    match opcode {
        Opcode::Text if str::from_utf8(&payload).is_err() => Err(FrameError::NotUtf8),
        Opcode::Text => Ok(Event::Text(exact(payload))),
        Opcode::Continuation | Opcode::Binary => Ok(Event::Binary(exact(payload))),
        Opcode::Ping => Ok(Event::Ping(exact(payload))),
        Opcode::Pong => Ok(Event::Pong),
        Opcode::Close => close(&payload).map(Event::Close),
    }
}

fn close(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    let Some((code, reason)) = payload.split_at_checked(2) else {
        return if payload.is_empty() { Ok(None) } else { Err(FrameError::Malformed("close code cut short")) };
    };
    let code = u16::from_be_bytes([code[0], code[1]]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(FrameError::Malformed("close code that nobody may send"));
    }
    if str::from_utf8(reason).is_err() {
        return Err(FrameError::NotUtf8);
    }
    Ok(Some(code))
}

/// 2 bytes, 8 of an extended length, 4 of the mask.
const MAX_HEADER: usize = 14;

/// Bytes of a header of which this much is there: 2 until its second byte tells.
fn header_length(header: &[u8]) -> usize {
    match header.get(1).map(|second| second & 0x7f) {
        None => 2,
        Some(126) => 8,
        Some(127) => MAX_HEADER,
        Some(_) => 6,
    }
}

fn unmasked(payload: &[u8], frame: Frame) -> Vec<u8> {
    let mut clear = Vec::with_capacity(payload.len());
    append_unmasked(&mut clear, payload, frame);
    clear
}

fn append_unmasked(clear: &mut Vec<u8>, payload: &[u8], frame: Frame) {
    let start = clear.len();
    clear.extend_from_slice(payload);
    let mut mask = frame.mask;
    mask.rotate_left(frame.taken % 4);
    let mut words = clear[start..].chunks_exact_mut(8);
    let wide = u64::from_ne_bytes([0, 1, 2, 3, 0, 1, 2, 3].map(|at: usize| mask[at]));
    for word in &mut words {
        let value = u64::from_ne_bytes(word.try_into().expect("a chunk of eight")) ^ wide;
        word.copy_from_slice(&value.to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Somebody may keep a payload for long: without the room that it had to grow.
fn exact(payload: Vec<u8>) -> Bytes {
    payload.into_boxed_slice().into()
}

#[cfg(test)]
mod compressed;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
