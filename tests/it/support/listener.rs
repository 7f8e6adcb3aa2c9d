//! A listener without a socket: an outbox whose wire remembers every frame.

use std::io::{self, IoSlice};
use std::sync::Arc;

use midplane::hub::{Control, Outbox, Wire};
use midplane::protocol::centrifuge::Encoding;
use parking_lot::Mutex;

/// Writes into memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Wire for Memory {
    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
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
        let memory = Memory::default();
        let outbox = Outbox::new(Encoding::Json, 1 << 20, Arc::default());
        outbox.attach(Box::new(memory.clone()));
        Self { outbox, memory }
    }

    /// The data of every publication heard, in order.
    pub fn heard(&self) -> Vec<u64> {
        self.outbox.flush();
        let bytes = self.memory.0.lock().clone();
        publications(&bytes)
    }

    /// What the relay asked of the session.
    pub fn requests(&self) -> Vec<Control> {
        self.outbox.take_requests().0
    }
}

/// The numbers published, out of a stream of frames.
fn publications(bytes: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(|line| line.rsplit(' ').next().and_then(|data| data.parse().ok()).expect("a number")).collect()
}
