//! What waits while its channel is being opened or healed.

use std::collections::VecDeque;

use crate::backplane::Incoming;
use crate::protocol::Offset;

/// Messages that wait. Beyond it the oldest go: they are read again.
const PENDING: usize = 256;

/// Messages that came too early, ascending.
#[derive(Default)]
pub(super) struct Pending(VecDeque<Incoming>);

impl Pending {
    /// Takes a message; returns whether an older one had to go for it.
    pub(super) fn push(&mut self, message: Incoming) -> bool {
        let full = self.0.len() >= PENDING;
        if full {
            self.0.pop_front();
        }
        self.0.push_back(message);
        full
    }

    pub(super) fn pop(&mut self) -> Option<Incoming> {
        self.0.pop_front()
    }

    /// The next message, if it lies at or before `end`.
    pub(super) fn pop_up_to(&mut self, end: Offset) -> Option<Incoming> {
        let next = self.0.front().and_then(|message| message.link)?;
        if next.offset <= end { self.0.pop_front() } else { None }
    }

    /// The offset of the last that waits.
    pub(super) fn last(&self) -> Option<Offset> {
        self.0.back().and_then(|message| message.link).map(|link| link.offset)
    }

    /// The offset of the first that waits.
    pub(super) fn first(&self) -> Option<Offset> {
        self.0.front().and_then(|message| message.link).map(|link| link.offset)
    }

    /// Puts back what was taken last.
    pub(super) fn unpop(&mut self, message: Incoming) {
        self.0.push_front(message);
    }
}
