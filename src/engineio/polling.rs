//! Long-polling as a transport: what waits in the outbox goes out whenever a request waits for it.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::CloseReason;
use super::door::{Ask, Door};
use super::sessions::Entry;
use crate::hub::{Outbox, Wire};
use crate::protocol::socketio::payload;
use crate::socket::{RawTransport, RawWire};

/// How long a request may wait that the client sends between probing a WebSocket and taking it. It holds the client up;
/// but one that comes at the same time as the last word on the WebSocket is no request of this transport any more.
const NOOP_AFTER: Duration = Duration::from_millis(50);

/// How long what a client has said may still take once its client is gone: a page that is left says its last so.
const COURTESY: Duration = Duration::from_secs(1);

const BROKEN_OFF: CloseReason = CloseReason::TransportError("a request was broken off");
const MISUSED: CloseReason = CloseReason::TransportError("a request that no client may make");

/// A session's requests.
pub(super) struct Polling {
    entry: Entry,
    pub(super) mailbox: mpsc::Receiver<Ask>,
    body: Arc<Mutex<Body>>,
    waiting: Option<Waiting>,
    /// The request whose packets are being taken.
    posting: Option<oneshot::Sender<()>>,
    /// Since when a request is known to be broken off while the session was busy.
    deserted: Option<Instant>,
    /// Requests that are refused once nobody finds the session any more.
    refused: Vec<Unanswered>,
}

/// A request that waits for something to be said.
struct Waiting {
    answer: oneshot::Sender<Bytes>,
    since: Instant,
}

/// Dropping it refuses the request.
enum Unanswered {
    Poll(#[expect(dead_code, reason = "dropped")] oneshot::Sender<Bytes>),
    Post(#[expect(dead_code, reason = "dropped")] oneshot::Sender<()>),
}

/// What the next request gets.
#[derive(Default)]
struct Body {
    /// A request waits, so that there is somewhere to write to.
    open: bool,
    payload: Vec<u8>,
}

struct BodyWire(Arc<Mutex<Body>>);

impl Wire for BodyWire {
    /// Takes frames, which are whole, until what waits has been taken.
    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut body = self.0.lock();
        if !body.open {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        frames.iter().for_each(|frame| payload::append(&mut body.payload, frame));
        Ok(frames.iter().map(|frame| frame.len()).sum())
    }
}

impl Polling {
    pub(super) fn begin(outbox: &Outbox, entry: Entry, mailbox: mpsc::Receiver<Ask>) -> Self {
        let body = Arc::<Mutex<Body>>::default();
        outbox.attach(Box::new(BodyWire(Arc::clone(&body))));
        Self { entry, mailbox, body, waiting: None, posting: None, deserted: None, refused: Vec::new() }
    }

    pub(super) const fn door(&self) -> &Arc<Door> {
        self.entry.door()
    }

    /// What comes next through the door, unless the client is gone or has to go. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Ask, CloseReason> {
        let Self { entry, mailbox, waiting, .. } = self;
        tokio::select! {
            biased;
            () = entry.door().misused() => Err(MISUSED),
            ask = mailbox.recv() => ask.ok_or(BROKEN_OFF),
            () = closed(waiting.as_mut().map(|waiting| &mut waiting.answer)) => Err(BROKEN_OFF),
        }
    }

    /// Ready where [`verify`](Self::verify) finds something new, for a session that is busy. Cancel safe.
    pub(super) async fn trouble(&mut self) {
        let Self { entry, waiting, posting, deserted, .. } = self;
        let known = deserted.is_some();
        tokio::select! {
            () = entry.door().misused() => {}
            () = closed(waiting.as_mut().map(|waiting| &mut waiting.answer)), if !known => {}
            () = closed(posting.as_mut()), if !known => {}
        }
    }

    /// Whether the client is there, and behaves. Where it is gone what it said before may take a moment.
    pub(super) fn verify(&mut self, now: Instant) -> Result<(), CloseReason> {
        if self.door().is_misused() {
            return Err(MISUSED);
        }
        let broken_off = self.waiting.as_ref().is_some_and(|waiting| waiting.answer.is_closed())
            || self.posting.as_ref().is_some_and(oneshot::Sender::is_closed);
        self.deserted = broken_off.then(|| self.deserted.unwrap_or(now));
        if self.leave_by().is_some_and(|by| now >= by) { Err(BROKEN_OFF) } else { Ok(()) }
    }

    /// When a session is over whose client is gone.
    pub(super) fn leave_by(&self) -> Option<Instant> {
        self.deserted.map(|since| since + COURTESY)
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Lets a request wait, if no other does; it is refused at the end then.
    pub(super) fn wait(&mut self, answer: oneshot::Sender<Bytes>, now: Instant) -> bool {
        if self.waiting.is_some() {
            self.refused.push(Unanswered::Poll(answer));
            return false;
        }
        self.waiting = Some(Waiting { answer, since: now });
        true
    }

    pub(super) fn begin_post(&mut self, answer: oneshot::Sender<()>) {
        self.posting = Some(answer);
    }

    /// Its packets have been taken, or it is refused at the end.
    pub(super) fn end_post(&mut self, taken: bool) {
        match self.posting.take() {
            // The client may have given it up.
            Some(answer) if taken => drop(answer.send(())),
            answer => self.refused.extend(answer.map(Unanswered::Post)),
        }
    }

    /// Answers the request that waits with what waits for it; returns whether there was anything.
    pub(super) fn say_rest(&mut self, outbox: &Outbox) -> bool {
        let payload = if self.is_waiting() { self.collect(outbox) } else { Vec::new() };
        let is_some = !payload.is_empty();
        if is_some {
            self.answer(payload.into());
        }
        is_some
    }

    /// Answers the request that waits, if something waits for it; returns when to look again at the latest.
    pub(super) fn flush(&mut self, outbox: &Outbox, now: Instant) -> Option<Instant> {
        let since = self.waiting.as_ref()?.since;
        if self.say_rest(outbox) {
            return None;
        }
        if !self.door().is_probed() {
            return None;
        }
        let noop_at = since + NOOP_AFTER;
        if now < noop_at {
            return Some(noop_at);
        }
        self.end_waiting(payload::NOOP);
        None
    }

    /// What waits in the outbox, as a body.
    fn collect(&self, outbox: &Outbox) -> Vec<u8> {
        self.body.lock().open = true;
        // Where it is closed for good, or was overrun, nothing is written.
        outbox.flush_writable();
        let mut body = self.body.lock();
        body.open = false;
        std::mem::take(&mut body.payload)
    }

    /// Ends the request that waits, if one does, with this.
    pub(super) fn end_waiting(&mut self, with: &'static [u8]) {
        self.answer(Bytes::from_static(with));
    }

    fn answer(&mut self, body: Bytes) {
        if let Some(waiting) = self.waiting.take() {
            // The client may have given it up.
            let _ = waiting.answer.send(body);
        }
    }

    /// The next request for what waits, within `patience`, or the WebSocket that the client has gone on to; others are
    /// refused.
    pub(super) async fn linger(&mut self, patience: Duration) -> Option<(RawTransport, RawWire)> {
        let request = async {
            while self.waiting.is_none() {
                match self.mailbox.recv().await? {
                    Ask::Poll(answer) => self.waiting = Some(Waiting { answer, since: Instant::now() }),
                    Ask::Upgrade(transport, wire) => return Some((transport, wire)),
                    Ask::Post(..) | Ask::MayMove(_) | Ask::Probed | Ask::Pack(_) | Ask::Depart(_) => {}
                }
            }
            None
        };
        tokio::time::timeout(patience, request).await.ok().flatten()
    }

    /// The session has moved to a WebSocket. It stays known, so that what still asks for it hears that.
    pub(super) fn leave(self) -> Entry {
        self.door().moved();
        self.entry
    }

    /// The session is over: nobody finds it from here on, and then the last request is answered, with what waits in
    /// `outbox` or else with `last`.
    pub(super) fn finish(self, outbox: &Outbox, last: &'static [u8]) {
        let payload = if self.waiting.is_some() { self.collect(outbox) } else { Vec::new() };
        let Self { entry, waiting, mailbox, refused, .. } = self;
        drop(entry);
        if let Some(waiting) = waiting {
            let body = if payload.is_empty() { Bytes::from_static(last) } else { payload.into() };
            let _ = waiting.answer.send(body);
        }
        drop((mailbox, refused));
    }
}

/// Ready once nobody waits for that answer any more; never where there is none.
async fn closed<T>(answer: Option<&mut oneshot::Sender<T>>) {
    match answer {
        Some(answer) => answer.closed().await,
        None => std::future::pending().await,
    }
}
