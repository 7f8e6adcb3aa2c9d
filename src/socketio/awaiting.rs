//! A call that waits for the acknowledgements of clients, and takes them in.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::acks::{Acked, Acks};

/// Bytes of all acknowledgements of one call.
const LARGEST: usize = 16 << 20;

/// A call that waits for acknowledgements; forgotten on drop.
pub struct Awaiting {
    shared: Arc<Acks>,
    call: u64,
    acks: mpsc::Receiver<Acked>,
    overflown: Arc<AtomicBool>,
    taken: Vec<Acked>,
    /// What those hold.
    bytes: usize,
}

impl Awaiting {
    pub(super) const fn new(
        shared: Arc<Acks>,
        call: u64,
        acks: mpsc::Receiver<Acked>,
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
                Some(acked) = self.acks.recv(), if self.bytes <= LARGEST => self.take(acked),
            }
        }
    }

    /// The next that comes until then; `None` also where one found no room and no other waits, for then not all will come.
    pub async fn next(&mut self, until: Instant) -> Option<Acked> {
        if let Some(acked) = self.taken.pop() {
            return Some(acked);
        }
        if self.overflown.load(Ordering::Acquire) {
            return self.acks.try_recv().ok();
        }
        timeout_at(until, self.acks.recv()).await.ok()?
    }

    /// What `asked` clients answer until then, and whether that is all.
    pub async fn collect(mut self, asked: usize, until: Instant) -> (Vec<Acked>, bool) {
        while self.wants_more(asked) && !self.overflown.load(Ordering::Acquire) {
            let Ok(Some(acked)) = timeout_at(until, self.acks.recv()).await else { break };
            self.take(acked);
        }
        // Where one found no room, not all will come: but those that wait have.
        while self.wants_more(asked)
            && let Ok(acked) = self.acks.try_recv()
        {
            self.take(acked);
        }
        let acks = std::mem::take(&mut self.taken);
        let complete = acks.len() == asked;
        (acks, complete)
    }

    const fn wants_more(&self, asked: usize) -> bool {
        self.taken.len() < asked && self.bytes <= LARGEST
    }

    fn take(&mut self, acked: Acked) {
        self.bytes += acked.args.get().len() + acked.attachments.iter().map(String::len).sum::<usize>();
        self.taken.push(acked);
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.shared.forget(self.call);
    }
}
