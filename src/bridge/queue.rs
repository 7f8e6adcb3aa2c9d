//! What Redis brought and waits to be taken: bounded in bytes, each message and all of them, and thrown away beyond that.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Bytes that may wait.
const BYTES: usize = 16 << 20;
const MESSAGES: usize = 16_384;
/// What a message weighs beside its payload.
const OVERHEAD: usize = 256;
/// Bytes of one message: what NATS takes where nobody told it otherwise. It is read into values of many times its size, one for
/// each of its elements, and Redis would bring 512 MiB.
pub(super) const LARGEST: usize = 1 << 20;

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

/// Why a message was thrown away.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// It has so many bytes.
    TooLarge(usize),
    NoRoom,
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
    /// Never waits.
    pub(super) fn offer(&self, heard: Heard) -> Result<(), NotTaken> {
        let size = heard.payload.len();
        if size > LARGEST {
            return Err(NotTaken::TooLarge(size));
        }
        let weight = (size + OVERHEAD) as u32;
        let permit = Arc::clone(&self.room).try_acquire_many_owned(weight).map_err(|_| NotTaken::NoRoom)?;
        self.messages.try_send((heard, permit)).map_err(|_| NotTaken::NoRoom)
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
        let taken = std::iter::repeat_with(|| sender.offer(heard(LARGEST))).take_while(Result::is_ok).count();
        assert_eq!(taken, BYTES / (LARGEST + OVERHEAD));
        assert_eq!(sender.offer(heard(LARGEST)), Err(NotTaken::NoRoom));
        assert_eq!(receiver.next().await.map(|heard| heard.payload.len()), Some(LARGEST));
        assert_eq!(sender.offer(heard(LARGEST)), Ok(()));
    }

    #[tokio::test]
    async fn a_message_of_any_size_was_taken_while_no_other_waited() {
        let (sender, _receiver) = open();
        assert_eq!(sender.offer(heard(LARGEST + 1)), Err(NotTaken::TooLarge(LARGEST + 1)));
        assert_eq!(sender.offer(heard(LARGEST)), Ok(()));
    }
}
