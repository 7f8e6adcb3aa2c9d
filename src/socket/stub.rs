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

    fn wants(&self) -> usize {
        let t = &self.tail;
        let whole = match t.get(1).map(|b| b & 0x7f) {
            None => 2,
            Some(126) if t.len() < 4 => 4,
            Some(126) => 8 + usize::from(u16::from_be_bytes([t[2], t[3]])),
            Some(127) if t.len() < 10 => 10,
            Some(127) => 14 + u64::from_be_bytes(t[2..10].try_into().expect("8 bytes")) as usize,
            Some(n) => 6 + usize::from(n),
        };
        whole.saturating_sub(t.len())
    }

    pub fn next(&mut self, rest: &mut &[u8]) -> Result<Option<Inbound>, TransportError> {
        loop {
            let take = self.wants().min(rest.len());
            self.tail.extend_from_slice(&rest[..take]);
            *rest = &rest[take..];
            if take > 0 && self.wants() > 0 && !rest.is_empty() {
                continue;
            }
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
                3..=7 | 11..=15 => return Err(TransportError::Malformed("unknown opcode")),
                _ => {
                    if opcode == 0 && self.opcode == 0 {
                        return Err(TransportError::Malformed("no beginning"));
                    }
                    if opcode != 0 {
                        self.opcode = opcode;
                    }
                    self.whole.extend(payload);
                    if !fin {
                        continue;
                    }
                    let whole = Bytes::from(std::mem::take(&mut self.whole));
                    let text = std::mem::take(&mut self.opcode) == 1;
                    if text && std::str::from_utf8(&whole).is_err() {
                        return Err(TransportError::NotUtf8);
                    }
                    if text { Inbound::Text(whole) } else { Inbound::Binary(whole) }
                }
            };
            return Ok(Some(message));
        }
    }
}
