//! The server's side of the NATS client protocol: bytes in, operations out.
//!
//! <https://docs.nats.io/reference/reference-protocols/nats-protocol>

use bytes::{Bytes, BytesMut};

use super::Sid;

/// Bytes in a control line. The server takes 4 KiB by default and can be told to take more.
const MAX_LINE: usize = 64 * 1024;
/// Bytes in an INFO line, which lists every server of a cluster.
const MAX_INFO: usize = 1024 * 1024;
/// Bytes in a message with its headers: 64 MiB, which no server goes beyond, and what republishing appends.
const MAX_MESSAGE: usize = 65 * 1024 * 1024;
/// Messages from here on leave the read buffer without being copied.
const LARGE: usize = 64 * 1024;

/// One thing that a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// JSON about the server.
    Info(Bytes),
    Message(Message),
    Ping,
    Pong,
    Ok,
    /// The text between the quotes.
    Err(String),
}

/// MSG or HMSG. A reply subject is not kept: nobody answers on this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub sid: Sid,
    pub subject: Bytes,
    /// The raw header block with its status line; empty if there is none.
    pub headers: Bytes,
    pub payload: Bytes,
}

/// The bytes are not the NATS protocol: the connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("control line of more than {0} bytes")]
    LongLine(usize),
    #[error("unknown operation {0:?}")]
    Unknown(String),
    #[error("bad arguments: {0:?}")]
    Arguments(String),
    #[error("message of {0} bytes")]
    LargeMessage(usize),
    #[error("message that is longer than it says")]
    Unterminated,
}

/// Takes operations off the front of a buffer. Between two calls only bytes may be added to that buffer.
#[derive(Debug, Default)]
pub struct Parser {
    /// So many bytes at the front hold no end of a line.
    scanned: usize,
    /// A message whose control line is there, but not all of its body.
    envelope: Option<Envelope>,
}

#[derive(Debug, Clone, Copy)]
struct Envelope {
    sid: Sid,
    /// Where the subject stands in the control line.
    subject: (usize, usize),
    /// Bytes of the control line with its end.
    line: usize,
    headers: usize,
    /// Bytes of headers and payload.
    body: usize,
}

impl Envelope {
    const fn end(&self) -> usize {
        self.line + self.body
    }
}

impl Parser {
    /// The next operation, if it is there in full.
    ///
    /// # Errors
    /// When the bytes are not the NATS protocol; the parser must not be used any more.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Op>, Malformed> {
        if self.envelope.is_none() {
            let Some(line) = self.line(input)? else { return Ok(None) };
            let kind = Kind::of(&input[..line])?;
            let Kind::Message { headers } = kind else {
                let line = input.split_to(line);
                return Ok(Some(kind.into_op(&line)));
            };
            self.envelope = Some(Envelope::parse(&input[..line], headers)?);
        }
        Ok(self.message(input)?.map(Op::Message))
    }

    /// Bytes that are certainly missing before the next operation is there in full.
    #[must_use]
    pub fn missing(&self, input: &BytesMut) -> usize {
        self.envelope.map_or(1, |envelope| (envelope.end() + 2).saturating_sub(input.len()))
    }

    fn line(&mut self, input: &BytesMut) -> Result<Option<usize>, Malformed> {
        let limit = if input.starts_with(b"INFO") { MAX_INFO } else { MAX_LINE };
        let found = memchr::memchr(b'\n', &input[self.scanned..]).map(|at| self.scanned + at + 1);
        if found.unwrap_or(input.len()) > limit {
            return Err(Malformed::LongLine(limit));
        }
        self.scanned = if found.is_some() { 0 } else { input.len() };
        Ok(found)
    }

    fn message(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Malformed> {
        let Some(envelope) = self.envelope else { return Ok(None) };
        let end = envelope.end();
        if input.len() < end + 2 {
            return Ok(None);
        }
        if &input[end..end + 2] != b"\r\n" {
            return Err(Malformed::Unterminated);
        }
        self.envelope = None;
        // Whoever keeps a small message must not keep the whole read buffer with it: it gets memory of its own.
        let start = envelope.subject.0;
        let (whole, start) = if end < LARGE {
            let copy = Bytes::copy_from_slice(&input[start..end]);
            let _ = input.split_to(end + 2);
            (copy, start)
        } else {
            (input.split_to(end + 2).freeze(), 0)
        };
        let body = envelope.line - start;
        Ok(Some(Message {
            sid: envelope.sid,
            subject: whole.slice(envelope.subject.0 - start..envelope.subject.1 - start),
            headers: whole.slice(body..body + envelope.headers),
            payload: whole.slice(body + envelope.headers..body + envelope.body),
        }))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Info,
    Message { headers: bool },
    Ping,
    Pong,
    Ok,
    Err,
}

impl Kind {
    fn of(line: &[u8]) -> Result<Self, Malformed> {
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let word = &line[..end];
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        match () {
            () if is(b"MSG") => Ok(Self::Message { headers: false }),
            () if is(b"HMSG") => Ok(Self::Message { headers: true }),
            () if is(b"PING") => Ok(Self::Ping),
            () if is(b"PONG") => Ok(Self::Pong),
            () if is(b"INFO") => Ok(Self::Info),
            () if is(b"+OK") => Ok(Self::Ok),
            () if is(b"-ERR") => Ok(Self::Err),
            () => Err(Malformed::Unknown(shown(word))),
        }
    }

    fn into_op(self, line: &[u8]) -> Op {
        let arguments = |name: usize| line[name..].trim_ascii();
        match self {
            Self::Info => Op::Info(Bytes::copy_from_slice(arguments(4))),
            Self::Ping => Op::Ping,
            Self::Pong => Op::Pong,
            Self::Ok | Self::Message { .. } => Op::Ok,
            Self::Err => {
                let text = String::from_utf8_lossy(arguments(4));
                let text = text.strip_prefix('\'').unwrap_or(&text);
                Op::Err(text.strip_suffix('\'').unwrap_or(text).to_owned())
            }
        }
    }
}

impl Envelope {
    /// `MSG <subject> <sid> [reply] <bytes>`, `HMSG <subject> <sid> [reply] <header bytes> <all bytes>`.
    fn parse(line: &[u8], with_headers: bool) -> Result<Self, Malformed> {
        let bad = || Malformed::Arguments(shown(line));
        let mut words = [(0, 0); 6];
        let mut count = 0;
        let mut at = 0;
        while at < line.len() {
            let end = line[at..].iter().position(u8::is_ascii_whitespace).map_or(line.len(), |found| at + found);
            if end > at {
                *words.get_mut(count).ok_or_else(bad)? = (at, end);
                count += 1;
            }
            at = end + 1;
        }
        let sizes = if with_headers { 2 } else { 1 };
        if count != 3 + sizes && count != 4 + sizes {
            return Err(bad());
        }
        let number = |word: (usize, usize)| decimal(&line[word.0..word.1]).ok_or_else(bad);
        let size = |word| number(word).map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        let sid = Sid(number(words[2])?);
        let body = size(words[count - 1])?;
        let headers = if with_headers { size(words[count - 2])? } else { 0 };
        if headers > body {
            return Err(bad());
        }
        if body > MAX_MESSAGE {
            return Err(Malformed::LargeMessage(body));
        }
        Ok(Self { sid, subject: words[1], line: line.len(), headers, body })
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Foreign bytes as they may stand in an error.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned()
}

#[cfg(test)]
mod tests;
