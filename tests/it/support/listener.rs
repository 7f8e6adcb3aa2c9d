//! A listener without a socket: an outbox whose wire remembers every frame.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use midplane::hub::{Control, Outbox, Wire};
use midplane::protocol::centrifuge::{Encoding, Format};
use parking_lot::Mutex;
use serde_json::Value;

/// Writes into memory, as long as it is not stopped.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>, Arc<AtomicBool>);

impl Wire for Memory {
    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.1.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut memory = self.0.lock();
        Ok(frames.iter().map(|frame| memory.write_slice(frame)).sum())
    }
}

trait WriteSlice {
    fn write_slice(&mut self, slice: &[u8]) -> usize;
}

impl WriteSlice for Vec<u8> {
    fn write_slice(&mut self, slice: &[u8]) -> usize {
        self.extend_from_slice(slice);
        slice.len()
    }
}

/// Somebody who listens, and what they got.
pub struct Ear {
    pub outbox: Arc<Outbox>,
    memory: Memory,
}

impl Ear {
    pub fn new() -> Self {
        Self::with_room(1 << 20)
    }

    /// One for which at most so many bytes wait.
    pub fn with_room(limit: usize) -> Self {
        let memory = Memory::default();
        let outbox = Outbox::new(Encoding::Json, limit, Arc::default());
        outbox.attach(Box::new(memory.clone()));
        Self { outbox, memory }
    }

    /// One of Socket.IO.
    pub fn of_socketio() -> Self {
        let memory = Memory::default();
        let outbox = Outbox::new(Format::SocketIo, 1 << 20, Arc::default());
        outbox.attach(Box::new(memory.clone()));
        Self { outbox, memory }
    }

    /// Every event of the main namespace of Socket.IO, in order.
    pub fn events(&self) -> Vec<Value> {
        self.outbox.flush();
        let bytes = self.memory.0.lock().clone();
        let events = texts(&bytes).into_iter();
        events.map(|text| serde_json::from_slice(text.strip_prefix(b"42").expect("an event")).expect("JSON")).collect()
    }

    /// Takes nothing more from its socket.
    pub fn stop_reading(&self) {
        self.memory.1.store(true, Ordering::SeqCst);
    }

    /// Takes what waits, and everything from now on.
    pub fn read_on(&self) {
        self.memory.1.store(false, Ordering::SeqCst);
        self.outbox.flush_writable();
    }

    /// The data of every publication heard, in order.
    pub fn heard(&self) -> Vec<u64> {
        self.outbox.flush();
        let bytes = self.memory.0.lock().clone();
        publications(&bytes)
    }

    /// Every push, in order.
    pub fn pushes(&self) -> Vec<Value> {
        self.outbox.flush();
        let bytes = self.memory.0.lock().clone();
        frames(&bytes).into_iter().map(|mut reply| reply["push"].take()).collect()
    }

    /// What the relay asked of the session.
    pub fn requests(&self) -> Vec<Control> {
        self.outbox.take_requests().0
    }
}

/// The numbers published, out of a stream of frames.
fn publications(bytes: &[u8]) -> Vec<u64> {
    let replies = frames(bytes).into_iter();
    replies.map(|reply| reply["push"]["pub"]["data"].as_u64().expect("a number")).collect()
}

/// The JSON in a stream of WebSocket frames (RFC 6455, 5.2: text, whole, unmasked).
fn frames(bytes: &[u8]) -> Vec<Value> {
    texts(bytes).into_iter().map(|text| serde_json::from_slice(text).expect("JSON")).collect()
}

/// What stands in these frames.
fn texts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut texts = Vec::new();
    loop {
        let (length, rest) = match bytes {
            [0x81, 126, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            [0x81, 127, a, b, c, d, e, f, g, h, rest @ ..] => {
                let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                (usize::try_from(length).expect("a length"), rest)
            }
            [0x81, length, rest @ ..] if *length < 126 => (usize::from(*length), rest),
            [] => return texts,
            _ => panic!("nothing but whole frames, not {:?}", &bytes[..bytes.len().min(10)]),
        };
        let (payload, rest) = rest.split_at(length);
        texts.push(payload);
        bytes = rest;
    }
}
