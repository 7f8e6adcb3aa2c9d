//! What Redis brought and waits to be taken: bounded in bytes, and thrown away beyond that.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Bytes that may wait.
const BYTES: usize = 16 << 20;
const MESSAGES: usize = 16_384;
/// What a message weighs beside its payload.
const OVERHEAD: usize = 256;

/// A message of Redis.
pub(super) struct Heard {
    pub(super) what: What,
    pub(super) payload: Vec<u8>,
}

/// What it is, by the channel on which it came, and of which of the bridged namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Broadcast(usize),
    Request(usize),
    /// It says so itself.
    Sharded,
}

#[derive(Clone)]
pub(super) struct Sender {
    messages: mpsc::Sender<(Heard, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

pub(super) struct Receiver(mpsc::Receiver<(Heard, OwnedSemaphorePermit)>);

pub(super) fn open() -> (Sender, Receiver) {
    let (messages, receiver) = mpsc::channel(MESSAGES);
    (Sender { messages, room: Arc::new(Semaphore::new(BYTES)) }, Receiver(receiver))
}

impl Sender {
    /// Never waits; false where there was no room.
    pub(super) fn offer(&self, heard: Heard) -> bool {
        // One that is larger than all that may wait passes alone.
        let weight = (heard.payload.len() + OVERHEAD).min(BYTES) as u32;
        let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(weight) else { return false };
        self.messages.try_send((heard, permit)).is_ok()
    }
}

impl Receiver {
    pub(super) async fn next(&mut self) -> Option<Heard> {
        self.0.recv().await.map(|(heard, _)| heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(bytes: usize) -> Heard {
        Heard { what: What::Sharded, payload: vec![0; bytes] }
    }

    #[tokio::test]
    async fn bytes_that_wait_are_bounded_and_make_room_once_taken() {
        let (sender, mut receiver) = open();
        assert!(sender.offer(heard(BYTES * 2)), "alone it passes");
        assert!(!sender.offer(heard(0)));
        assert_eq!(receiver.next().await.map(|heard| heard.payload.len()), Some(BYTES * 2));
        assert!(sender.offer(heard(BYTES / 2)) && !sender.offer(heard(BYTES / 2)));
    }
}
