//! From an outbox to a response: what was written waits here, bounded, until the connection takes it.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hub::Wire;

/// Bytes that wait before the outbox is held to be blocked.
const ROOM: usize = 64 << 10;

/// Both ends of a pipe.
#[derive(Clone, Default)]
pub(super) struct Pipe(Arc<Inner>);

#[derive(Default)]
struct Inner {
    bytes: Mutex<BytesMut>,
    written: Notify,
}

impl Pipe {
    /// What was written since the last time, once there is something. Cancel safe.
    pub(super) async fn read(&self) -> Bytes {
        loop {
            let bytes = std::mem::take(&mut *self.0.bytes.lock());
            if !bytes.is_empty() {
                return bytes.freeze();
            }
            self.0.written.notified().await;
        }
    }
}

impl Wire for Pipe {
    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes = self.0.bytes.lock();
        if bytes.len() >= ROOM {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        frames.iter().for_each(|frame| bytes.extend_from_slice(frame));
        drop(bytes);
        self.0.written.notify_one();
        Ok(frames.iter().map(|frame| frame.len()).sum())
    }
}
