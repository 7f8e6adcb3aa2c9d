//! How much the relay has to do, for whoever tells other nodes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counted where it changes: nobody has to look at every topic.
#[derive(Debug, Default)]
pub struct Tally {
    channels: AtomicUsize,
    subscriptions: AtomicUsize,
    sent: AtomicU64,
}

impl Tally {
    /// Channels with listeners on this node.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.load(Ordering::Relaxed)
    }

    /// Listeners of all channels.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Deliveries to listeners since the start.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Notes a listener that came, whether it is the first of its channel.
    pub(super) fn came(&self, first: bool) {
        self.channels.fetch_add(usize::from(first), Ordering::Relaxed);
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a listener that went, whether it was the last of its channel.
    pub(super) fn went(&self, last: bool) {
        self.channels.fetch_sub(usize::from(last), Ordering::Relaxed);
        self.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self, messages: usize) {
        self.sent.fetch_add(messages as u64, Ordering::Relaxed);
    }
}
