//! Where requests of a client reach its session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::protocol::socketio::Sid;
use crate::socket::{RawTransport, RawWire};

/// What a request asks of the session. Whoever gets no answer is refused.
pub(super) enum Ask {
    /// What waits for the client, or will.
    Poll(oneshot::Sender<Bytes>),
    /// Packets of the client.
    Post(Bytes, oneshot::Sender<()>),
    /// Whether the session may go on at another node.
    MayMove(oneshot::Sender<bool>),
    /// A WebSocket has shown that it works.
    Probed,
    /// That WebSocket is to be the transport from now on.
    Upgrade(RawTransport, RawWire),
    /// Another node prepares for the session, and wants to know of it.
    Pack(oneshot::Sender<Bytes>),
    /// The session is to go on at another node.
    Depart(Departure),
}

/// Where a session goes on.
pub(super) struct Departure {
    pub(super) to: Uuid,
    /// As which the WebSocket there claimed the session.
    pub(super) number: u64,
    /// What that node goes on with.
    pub(super) answer: oneshot::Sender<Bytes>,
}

/// Where requests of a client reach its session.
pub struct Door {
    sid: Sid,
    /// None once the session has moved to a WebSocket.
    asks: Mutex<Option<mpsc::Sender<Ask>>>,
    /// A request for what there is to say is under way.
    polling: AtomicBool,
    /// A request that brings packets is under way.
    posting: AtomicBool,
    /// The client did what no client may.
    misused: CancellationToken,
    claimant: Mutex<Option<Claimant>>,
}

/// A WebSocket that wants to be the transport, or is.
struct Claimant {
    number: u64,
    /// It is at another node, which may die before it lets go.
    until: Option<Instant>,
    /// It has shown that it works.
    probed: bool,
    /// The session has left for its node.
    departed: bool,
}

impl Claimant {
    fn is_valid(&self) -> bool {
        self.until.is_none_or(|until| until > Instant::now())
    }
}

/// Why the session does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the session has another transport")]
    Moved,
    #[error("the session is over, or about to be for what was asked")]
    Closed,
    #[error("no such session")]
    Unknown,
    /// It is gone, or never was.
    #[error("the session's node is not there")]
    NoNode,
    #[error("too many requests wait at the session's node")]
    Busy,
    #[error("more than one message to the session's node carries")]
    TooLarge { limit: usize },
    /// Nobody knows whether it was done.
    #[error("no answer from the session's node")]
    Timeout,
    #[error("the session's node cannot be reached, or not understood")]
    Unavailable,
}

/// A request that brings packets. There is one at a time.
pub struct Posting {
    door: Arc<Door>,
}

/// The turn of a request that waits for what there is to say. There is one at a time.
struct Turn<'a>(&'a AtomicBool);

/// The WebSocket that may become a session's transport. There is one at a time.
pub struct Candidate {
    door: Arc<Door>,
    number: u64,
    /// It is the transport, or about to be.
    taken: bool,
}

impl Door {
    pub(super) fn new(sid: Sid, asks: mpsc::Sender<Ask>) -> Self {
        Self {
            sid,
            asks: Mutex::new(Some(asks)),
            polling: AtomicBool::new(false),
            posting: AtomicBool::new(false),
            misused: CancellationToken::new(),
            claimant: Mutex::default(),
        }
    }

    pub(super) const fn sid(&self) -> Sid {
        self.sid
    }

    /// Waits for what there is to say to the client, a body. `waits` is called where the request has to.
    ///
    /// # Errors
    /// See [`Refused`]. A second one at a time ends the session: no client that follows the protocol sends it, and
    /// however many came, each would hold a connection.
    pub async fn poll(&self, waits: impl FnOnce() + Send) -> Result<Bytes, Refused> {
        let Some(_turn) = Turn::take(&self.polling) else {
            self.misuse();
            return Err(Refused::Closed);
        };
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Poll(answer)).await?;
        waits();
        answered.await.map_err(|_| Refused::Closed)
    }

    /// Begins a request that brings packets; before its body is read, so that a second one is noticed.
    ///
    /// # Errors
    /// See [`Refused`]. A second one ends the session.
    pub async fn begin_post(self: &Arc<Self>) -> Result<Posting, Refused> {
        if self.posting.swap(true, Ordering::AcqRel) {
            self.misuse();
            return Err(Refused::Closed);
        }
        let posting = Posting { door: Arc::clone(self) };
        if self.has_moved() { Err(Refused::Moved) } else { Ok(posting) }
    }

    /// Ends the session for what its client did, also while it is busy.
    pub fn misuse(&self) {
        self.misused.cancel();
    }

    pub(super) fn is_misused(&self) -> bool {
        self.misused.is_cancelled()
    }

    /// Ready once the client did what no client may. Cancel safe.
    pub(super) async fn misused(&self) {
        self.misused.cancelled().await;
    }

    /// Whether the session may go on at another node. Where it may not, no WebSocket there is to try: clients that have been
    /// told that one works do not return to long-polling.
    pub(super) async fn may_move(&self) -> bool {
        let (answer, may_move) = oneshot::channel();
        self.ask(Ask::MayMove(answer)).await.is_ok() && may_move.await.unwrap_or(false)
    }

    /// Lets a WebSocket try to become the session's transport; `None` where another does, or did.
    #[must_use]
    pub fn claim(self: &Arc<Self>) -> Option<Candidate> {
        let number = rand::random();
        self.claim_as(number, None).then(|| Candidate { door: Arc::clone(self), number, taken: false })
    }

    /// The same for a WebSocket of another node, until that moment; whether none other does.
    pub(super) fn claim_as(&self, number: u64, until: Option<Instant>) -> bool {
        let mut claimant = self.claimant.lock();
        let free = !claimant.as_ref().is_some_and(Claimant::is_valid);
        if free {
            *claimant = Some(Claimant { number, until, probed: false, departed: false });
        }
        free
    }

    /// That WebSocket works: requests that wait are ended, so that the client can let go of them.
    pub(super) async fn probed(&self, number: u64) -> Result<(), Refused> {
        self.claimed(number, |claimant| claimant.probed = true)?;
        self.ask(Ask::Probed).await
    }

    /// What another node needs to prepare for the session, whose WebSocket it has.
    pub(super) async fn pack(&self, number: u64) -> Result<Bytes, Refused> {
        self.claimed(number, |_| ())?;
        let (answer, packed) = oneshot::channel();
        self.ask(Ask::Pack(answer)).await?;
        packed.await.map_err(|_| Refused::Closed)
    }

    /// Lets the session go on at another node, whose WebSocket is its transport from now on.
    pub(super) async fn depart(&self, number: u64, to: Uuid) -> Result<Bytes, Refused> {
        self.claimed(number, |claimant| claimant.until = None)?;
        let (answer, handover) = oneshot::channel();
        self.ask(Ask::Depart(Departure { to, number, answer })).await?;
        handover.await.map_err(|_| Refused::Closed)
    }

    /// The session leaves, for good; false where its WebSocket was given up meanwhile, and it stays.
    pub(super) fn let_go(&self, number: u64) -> bool {
        self.claimed(number, |claimant| claimant.departed = true).is_ok()
    }

    /// Another WebSocket may try from here on; false where the session has left already for the one that gives up.
    pub(super) fn release(&self, number: u64) -> bool {
        let mut claimant = self.claimant.lock();
        let gone = claimant.take_if(|claimant| claimant.number == number && !claimant.departed).is_some();
        gone || claimant.as_ref().is_none_or(|claimant| claimant.number != number)
    }

    fn claimed(&self, number: u64, change: impl FnOnce(&mut Claimant)) -> Result<(), Refused> {
        let mut claimant = self.claimant.lock();
        let claimant = claimant.as_mut().filter(|claimant| claimant.number == number && claimant.is_valid());
        claimant.map(change).ok_or(Refused::Closed)
    }

    /// Whether the session has moved to a WebSocket.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.asks.lock().is_none()
    }

    pub(super) fn is_probed(&self) -> bool {
        self.claimant.lock().as_ref().is_some_and(|claimant| claimant.probed && claimant.is_valid())
    }

    /// From now on the session is on its WebSocket and takes no requests.
    pub(super) fn moved(&self) {
        *self.asks.lock() = None;
    }

    async fn ask(&self, ask: Ask) -> Result<(), Refused> {
        let asks = self.asks.lock().clone().ok_or(Refused::Moved)?;
        if self.is_misused() {
            return Err(Refused::Closed);
        }
        asks.send(ask).await.map_err(|_| Refused::Closed)
    }
}

impl Posting {
    /// Brings the packets; returns once the session has taken them.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn bring(self, body: Bytes) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        self.door.ask(Ask::Post(body, answer)).await?;
        answered.await.map_err(|_| Refused::Closed)
    }
}

impl<'a> Turn<'a> {
    fn take(taken: &'a AtomicBool) -> Option<Self> {
        (!taken.swap(true, Ordering::AcqRel)).then_some(Self(taken))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for Posting {
    fn drop(&mut self) {
        self.door.posting.store(false, Ordering::Release);
    }
}

impl Candidate {
    /// The WebSocket works: requests that wait are ended, so that the client can let go of them.
    pub(super) async fn probed(&self) -> Result<(), Refused> {
        self.door.probed(self.number).await
    }

    /// Makes the WebSocket the transport.
    pub(super) async fn take_over(mut self, transport: RawTransport, wire: RawWire) -> Result<(), Refused> {
        self.door.ask(Ask::Upgrade(transport, wire)).await?;
        self.taken = true;
        Ok(())
    }

    /// Ends with the session.
    pub(super) async fn deserted(&self) {
        let asks = self.door.asks.lock().clone();
        if let Some(asks) = asks {
            asks.closed().await;
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if !self.taken {
            self.door.release(self.number);
        }
    }
}
