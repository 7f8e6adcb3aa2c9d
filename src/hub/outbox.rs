//! What waits for one connection: whole frames of its format, shared with every other outbox that holds them.
//!
//! The pump appends and flushes; the session flushes when the socket takes bytes again. Both write under the outbox's
//! own lock and only as much as the socket takes at once, so nobody waits for a slow reader. Too slow a reader is
//! closed, and never silently loses a frame while it stays open.

mod asked;
mod hold;
mod queue;
mod removal;
#[cfg(test)]
pub(super) mod tests;
mod words;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use self::hold::Hold;
pub use self::queue::Wire;
pub use self::words::{Control, Flushed, Spill, Taken};

use self::queue::Queue;
use super::pulse::Appointment;
use crate::protocol::centrifuge::Format;
use crate::protocol::centrifuge::codes::DisconnectCode;

/// Bytes that wait in all outboxes of a node.
pub type Backlog = Arc<AtomicUsize>;

/// What waits for one connection.
pub struct Outbox {
    format: Format,
    limit: usize,
    backlog: Backlog,
    state: Mutex<State>,
    attention: Notify,
    appointment: Appointment,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// Bytes in `queue`, `held` and `latest`.
    bytes: usize,
    /// What a reply takes that is large by itself: it is not held against the reader while it goes out.
    allowance: usize,
    /// The newest delivery of each key, for when the socket takes bytes again.
    latest: Option<Box<Latest>>,
    /// Deliveries that must come after a reply which is still being made.
    held: Option<Box<Held>>,
    wire: Option<Box<dyn Wire>>,
    controls: Vec<Control>,
    /// No frame is taken any more.
    closed: bool,
    /// The session waits for the socket to become writable; nobody else needs to try.
    blocked: bool,
    gone: bool,
    /// A deadline of the connection has come.
    due: bool,
    /// Something was delivered since the last flush.
    dirty: bool,
    /// Something was refused: the session is told when there is room again.
    refused: bool,
}

/// One delivery of each key. Boxed where it is kept: most outboxes have none.
#[derive(Default)]
struct Latest(Vec<(u64, Bytes)>);

#[derive(Default)]
struct Held {
    depth: usize,
    frames: Vec<Bytes>,
}

impl Outbox {
    /// An empty outbox that closes its connection as slow beyond `limit` waiting bytes.
    #[must_use]
    pub fn new(format: impl Into<Format>, limit: usize, backlog: Backlog) -> Arc<Self> {
        Arc::new(Self {
            format: format.into(),
            limit,
            backlog,
            state: Mutex::default(),
            attention: Notify::new(),
            appointment: Appointment::default(),
        })
    }

    /// How the connection's messages are written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    pub(super) const fn appointment(&self) -> &Appointment {
        &self.appointment
    }

    /// Sets the socket that [`flush`](Self::flush) writes to.
    pub fn attach(&self, wire: Box<dyn Wire>) {
        self.state.lock().wire = Some(wire);
    }

    /// Appends a delivery. Beyond the limit everything that waits is thrown away and the session told to close, as slow unless
    /// it is what is held back.
    pub fn deliver(&self, frame: Bytes) -> Taken {
        self.offer(frame, Spill::Close)
    }

    /// Appends a delivery, or does what `spill` says if its reader is too slow for it.
    pub fn offer(&self, frame: Bytes, spill: Spill<'_>) -> Taken {
        let mut state = self.state.lock();
        if state.closed {
            return Taken::Closed;
        }
        let limit = match spill {
            Spill::Replace { key, alone } if state.blocked || state.latest_of(key).is_some() => {
                return self.replace(&mut state, key, alone);
            }
            Spill::Drop if state.blocked || state.bytes > 0 => return Taken::Dropped,
            Spill::Close | Spill::Replace { .. } | Spill::Drop => self.limit,
            Spill::Refuse => self.limit / 2,
        };
        if !self.has_room(&mut state, frame.len(), limit) {
            return match spill {
                _ if state.gone => Taken::Closed,
                Spill::Close | Spill::Drop => self.overflow(&mut state),
                Spill::Replace { key, alone } => self.replace(&mut state, key, alone),
                Spill::Refuse => {
                    state.refused = true;
                    Taken::Full
                }
            };
        }
        self.count(&mut state, frame.len());
        match &mut state.held {
            Some(held) => held.frames.push(frame),
            None => state.queue.push(frame),
        }
        if std::mem::replace(&mut state.dirty, true) { Taken::Again } else { Taken::First }
    }

    /// Lets a delivery wait in place of the last one of its key.
    fn replace(&self, state: &mut State, key: u64, alone: &Bytes) -> Taken {
        let older = state.latest_of(key).map_or(0, |older| older.len());
        // One of each key may wait beside what is queued; but not without end.
        if state.bytes - older + alone.len() > self.limit * 2 && state.bytes > older {
            return self.overflow(state);
        }
        self.uncount(state, older);
        self.count(state, alone.len());
        match state.latest_of(key) {
            Some(older) => *older = alone.clone(),
            None => state.latest.get_or_insert_default().0.push((key, alone.clone())),
        }
        Taken::Replaced
    }

    /// Whether nothing waits, so that what was refused may be offered again. If not, [`Control::Drained`] tells when.
    pub fn is_drained(&self) -> bool {
        let mut state = self.state.lock();
        if state.bytes > 0 && !state.blocked {
            self.write_out(&mut state);
        }
        state.refused = state.bytes > 0;
        !state.refused
    }

    /// Takes back what waits alone under a key: nobody wants it any more.
    pub fn forget(&self, key: u64) {
        let mut state = self.state.lock();
        let Some(latest) = &mut state.latest else { return };
        let Some(index) = latest.0.iter().position(|(known, _)| *known == key) else { return };
        let (_, frame) = latest.0.swap_remove(index);
        if latest.0.is_empty() {
            state.latest = None;
        }
        self.uncount(&mut state, frame.len());
    }

    /// Appends a reply, also while deliveries are held back.
    pub fn reply(&self, frame: Bytes) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if !self.has_room(&mut state, frame.len(), self.limit) {
            if !state.gone {
                self.overflow(&mut state);
            }
            return;
        }
        if frame.len() > self.limit / 2 && state.allowance == 0 {
            state.allowance = frame.len();
        }
        self.count(&mut state, frame.len());
        state.queue.push(frame);
    }

    /// Writes what the socket takes at once.
    pub fn flush(&self) -> Flushed {
        let mut state = self.state.lock();
        state.dirty = false;
        if state.blocked && !state.closed {
            return Flushed::Blocked;
        }
        self.write_out(&mut state)
    }

    /// As [`flush`](Self::flush), by the session after the socket became writable.
    pub fn flush_writable(&self) -> Flushed {
        let mut state = self.state.lock();
        state.blocked = false;
        self.write_out(&mut state)
    }

    /// Takes no further frames; what is queued goes out.
    pub fn take_no_more(&self) {
        self.state.lock().closed = true;
    }

    /// Takes no further frames but `last` (a close frame, say), which follows what is queued.
    pub fn finish(&self, last: Option<Bytes>) {
        let mut state = self.state.lock();
        state.queue_latest();
        if let Some(frame) = last
            && !state.gone
        {
            self.count(&mut state, frame.len());
            state.queue.push(frame);
        }
        state.closed = true;
    }

    /// Whether the session waits for the socket to become writable.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.state.lock().blocked
    }

    /// Whether little enough waits for a large reply: that may take half of the limit, and what is delivered meanwhile
    /// needs room too. What waits alone does not count: there may always be some for who reads slowly.
    #[must_use]
    pub fn has_ample_room(&self) -> bool {
        let mut state = self.state.lock();
        let ample = |state: &State| state.bytes - state.alone() <= self.limit / 4;
        if !ample(&state) && !state.blocked {
            self.write_out(&mut state);
        }
        ample(&state)
    }

    /// Frees everything: the connection is over.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        self.backlog.fetch_sub(state.bytes, Ordering::Relaxed);
        *state = State { closed: true, gone: true, ..State::default() };
    }

    fn count(&self, state: &mut State, bytes: usize) {
        state.bytes += bytes;
        self.backlog.fetch_add(bytes, Ordering::Relaxed);
    }

    fn uncount(&self, state: &mut State, bytes: usize) {
        state.bytes -= bytes;
        self.backlog.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether `bytes` more may wait. What nobody has tried to write yet says nothing about the reader (a burst may be
    /// larger than the limit), so that is written first.
    fn has_room(&self, state: &mut State, bytes: usize, limit: usize) -> bool {
        let fits = |state: &State| state.bytes == 0 || state.bytes + bytes <= limit + state.allowance;
        if !fits(state) && !state.blocked {
            self.write_out(state);
        }
        fits(state) && !state.gone
    }

    /// Too much waits. A frame that is half written must stay, or the close frame behind it would be rubbish.
    fn overflow(&self, state: &mut State) -> Taken {
        // Of what is held back for a reply the reader can have had nothing.
        let held: usize = state.held.take().iter().flat_map(|held| &held.frames).map(Bytes::len).sum();
        let (code, taken) = match held > self.limit / 2 {
            true => (DisconnectCode::ForceReconnect, Taken::Closed),
            false => (DisconnectCode::Slow, Taken::Overflow),
        };
        let kept = state.queue.keep_half_written();
        self.uncount(state, state.bytes - kept);
        state.latest = None;
        state.closed = true;
        state.controls.push(Control::Close(code.into()));
        self.attention.notify_one();
        taken
    }

    fn write_out(&self, state: &mut State) -> Flushed {
        if state.gone {
            return Flushed::Gone;
        }
        while !state.queue.is_empty() || state.queue_latest() {
            let Some(wire) = &state.wire else { return Flushed::Blocked };
            match state.queue.write_to(wire.as_ref()) {
                Ok(0) => return self.lost(state),
                Ok(written) => self.uncount(state, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.blocked = true;
                    self.attention.notify_one();
                    return Flushed::Blocked;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.lost(state),
            }
        }
        // A drained queue keeps its slots otherwise, for as long as the connection lives.
        state.queue = Queue::default();
        state.allowance = 0;
        if state.bytes == 0 && std::mem::take(&mut state.refused) {
            state.controls.push(Control::Drained);
            self.attention.notify_one();
        }
        Flushed::Empty
    }

    fn lost(&self, state: &mut State) -> Flushed {
        self.uncount(state, state.bytes);
        state.queue = Queue::default();
        state.held = None;
        state.latest = None;
        state.closed = true;
        state.gone = true;
        self.attention.notify_one();
        Flushed::Gone
    }
}

impl State {
    fn latest_of(&mut self, key: u64) -> Option<&mut Bytes> {
        let latest = self.latest.as_mut()?;
        latest.0.iter_mut().find(|(known, _)| *known == key).map(|(_, frame)| frame)
    }

    /// Bytes that wait alone.
    fn alone(&self) -> usize {
        self.latest.iter().flat_map(|latest| &latest.0).map(|(_, frame)| frame.len()).sum()
    }

    /// Queues what waits alone; whether there was something. Not before a reply that everything waits for.
    fn queue_latest(&mut self) -> bool {
        if self.held.is_some() {
            return false;
        }
        let latest = self.latest.take();
        self.queue.extend(latest.into_iter().flat_map(|latest| latest.0).map(|(_, frame)| frame));
        !self.queue.is_empty()
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.backlog.fetch_sub(self.state.get_mut().bytes, Ordering::Relaxed);
    }
}
