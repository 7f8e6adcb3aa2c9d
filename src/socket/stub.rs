//! Stands in for the frame parser until it is there.

use bytes::Bytes;

use crate::session::{Inbound, TransportError};

pub struct Parser {
    limit: usize,
    tail: Vec<u8>,
    whole: Vec<u8>,
    opcode: u8,
}

impl Parser {
    pub const fn new(limit: usize) -> Self {
        Self { limit, tail: Vec::new(), whole: Vec::new(), opcode: 0 }
    }

    pub fn next(&mut self, rest: &mut &[u8]) -> Result<Option<Inbound>, TransportError> {
        self.tail.extend_from_slice(rest);
        *rest = &[];
        loop {
            let t = &self.tail;
            if t.len() < 2 {
                return Ok(None);
            }
            if t[1] & 0x80 == 0 {
                return Err(TransportError::Malformed("not masked"));
            }
            let (mut at, len) = match t[1] & 0x7f {
                126 if t.len() < 4 => return Ok(None),
                126 => (4, usize::from(u16::from_be_bytes([t[2], t[3]]))),
                127 if t.len() < 10 => return Ok(None),
                127 => (10, u64::from_be_bytes(t[2..10].try_into().expect("8 bytes")) as usize),
                n => (2, usize::from(n)),
            };
            if len + self.whole.len() > self.limit {
                return Err(TransportError::TooLarge { limit: self.limit });
            }
            if t.len() < at + 4 + len {
                return Ok(None);
            }
            let mask = [t[at], t[at + 1], t[at + 2], t[at + 3]];
            at += 4;
            let payload: Vec<u8> = t[at..at + len].iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
            let (fin, opcode) = (t[0] & 0x80 != 0, t[0] & 0x0f);
            self.tail.drain(..at + len);
            let message = match opcode {
                9 => Inbound::Ping(payload.into()),
                10 => Inbound::Pong,
                8 => Inbound::Close(payload.get(..2).map(|c| u16::from_be_bytes([c[0], c[1]]))),
                _ => {
                    if opcode != 0 {
                        self.opcode = opcode;
                    }
                    self.whole.extend(payload);
                    if !fin {
                        continue;
                    }
                    let whole = Bytes::from(std::mem::take(&mut self.whole));
                    if self.opcode == 1 { Inbound::Text(whole) } else { Inbound::Binary(whole) }
                }
            };
            return Ok(Some(message));
        }
    }
}
