//! A call that waits for the acknowledgements of clients, and takes them in.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::acks::{Acked, Acks, Waiting};

/// Bytes of all acknowledgements of one call.
const LARGEST: usize = 16 << 20;

/// A call that waits for acknowledgements; forgotten on drop.
pub struct Awaiting {
    shared: Arc<Acks>,
    call: u64,
    acks: mpsc::Receiver<Waiting>,
    overflown: Arc<AtomicBool>,
    taken: Vec<Waiting>,
    /// What those hold.
    bytes: usize,
}

impl Awaiting {
    pub(super) const fn new(
        shared: Arc<Acks>,
        call: u64,
        acks: mpsc::Receiver<Waiting>,
        overflown: Arc<AtomicBool>,
    ) -> Self {
        Self { shared, call, acks, overflown, taken: Vec::new(), bytes: 0 }
    }

    /// What names this call to the nodes that emit.
    #[must_use]
    pub const fn call(&self) -> u64 {
        self.call
    }

    /// What `work` comes to; takes what is acknowledged meanwhile.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(waiting) = self.acks.recv(), if self.bytes <= LARGEST => self.take(waiting),
            }
        }
    }

    /// The next that comes until then; `None` also where one found no room and no other waits, for then not all will come.
    pub async fn next(&mut self, until: Instant) -> Option<Acked> {
        let waiting = match self.taken.pop() {
            Some(taken) => Some(taken),
            None if self.overflown.load(Ordering::Acquire) => self.acks.try_recv().ok(),
            None => timeout_at(until, self.acks.recv()).await.ok()?,
        };
        waiting.map(|waiting| waiting.acked)
    }

    /// What `asked` clients answer until then, and whether that is all.
    pub async fn collect(mut self, asked: usize, until: Instant) -> (Vec<Acked>, bool) {
        while self.wants_more(asked) && !self.overflown.load(Ordering::Acquire) {
            let Ok(Some(waiting)) = timeout_at(until, self.acks.recv()).await else { break };
            self.take(waiting);
        }
        // Where one found no room, not all will come: but those that wait have.
        while self.wants_more(asked)
            && let Ok(waiting) = self.acks.try_recv()
        {
            self.take(waiting);
        }
        let acks: Vec<_> = std::mem::take(&mut self.taken).into_iter().map(|waiting| waiting.acked).collect();
        let complete = acks.len() == asked;
        (acks, complete)
    }

    const fn wants_more(&self, asked: usize) -> bool {
        self.taken.len() < asked && self.bytes <= LARGEST
    }

    fn take(&mut self, waiting: Waiting) {
        self.bytes += waiting.acked.size();
        self.taken.push(waiting);
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.shared.forget(self.call);
    }
}
