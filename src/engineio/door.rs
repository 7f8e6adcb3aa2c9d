//! Where requests of a client reach its session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::protocol::socketio::Sid;
use crate::socket::{RawTransport, RawWire};

/// What a request asks of the session. Whoever gets no answer is refused.
pub(super) enum Ask {
    /// What waits for the client, or will.
    Poll(oneshot::Sender<Bytes>),
    /// Packets of the client.
    Post(Bytes, oneshot::Sender<()>),
    /// The client does what no client may.
    Misuse,
    /// A WebSocket has shown that it works.
    Probed,
    /// That WebSocket is to be the transport from now on.
    Upgrade(RawTransport, RawWire),
}

/// Where requests of a client reach its session.
pub struct Door {
    sid: Sid,
    /// None once the session has moved to a WebSocket.
    asks: Mutex<Option<mpsc::Sender<Ask>>>,
    /// A request that brings packets is under way.
    posting: AtomicBool,
    /// A WebSocket wants to be the transport, or is.
    claimed: AtomicBool,
    /// That WebSocket has shown that it works.
    probed: AtomicBool,
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
    /// Nobody knows whether it was done.
    #[error("no answer from the session's node")]
    Timeout,
    #[error("the session's node cannot be reached, or not understood")]
    Unavailable,
}

/// A request that brings packets. There is one at a time.
pub struct Post {
    door: Arc<Door>,
}

/// The WebSocket that may become a session's transport. There is one at a time.
pub struct Candidate {
    door: Arc<Door>,
    /// It is the transport, or about to be.
    taken: bool,
}

impl Door {
    pub(super) fn new(sid: Sid, asks: mpsc::Sender<Ask>) -> Self {
        let no = || AtomicBool::new(false);
        Self { sid, asks: Mutex::new(Some(asks)), posting: no(), claimed: no(), probed: no() }
    }

    pub(super) const fn sid(&self) -> Sid {
        self.sid
    }

    /// Waits for what there is to say to the client, a body.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn poll(&self) -> Result<Bytes, Refused> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Poll(answer)).await?;
        answered.await.map_err(|_| Refused::Closed)
    }

    /// Begins a request that brings packets; before its body is read, so that a second one is noticed.
    ///
    /// # Errors
    /// See [`Refused`]. A second one ends the session.
    pub async fn begin_post(self: &Arc<Self>) -> Result<Post, Refused> {
        if self.posting.swap(true, Ordering::AcqRel) {
            self.misuse().await;
            return Err(Refused::Closed);
        }
        let post = Post { door: Arc::clone(self) };
        if self.has_moved() { Err(Refused::Moved) } else { Ok(post) }
    }

    /// Ends the session for what its client did.
    pub async fn misuse(&self) {
        // If it is over, all the better.
        let _ = self.ask(Ask::Misuse).await;
    }

    /// Lets a WebSocket try to become the session's transport; `None` where another does, or did.
    #[must_use]
    pub fn claim(self: &Arc<Self>) -> Option<Candidate> {
        let free = !self.claimed.swap(true, Ordering::AcqRel);
        free.then(|| Candidate { door: Arc::clone(self), taken: false })
    }

    /// Whether the session has moved to a WebSocket.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.asks.lock().is_none()
    }

    pub(super) fn is_probed(&self) -> bool {
        self.probed.load(Ordering::Acquire)
    }

    /// From now on the session is on its WebSocket and takes no requests.
    pub(super) fn moved(&self) {
        *self.asks.lock() = None;
    }

    async fn ask(&self, ask: Ask) -> Result<(), Refused> {
        let asks = self.asks.lock().clone().ok_or(Refused::Moved)?;
        asks.send(ask).await.map_err(|_| Refused::Closed)
    }
}

impl Post {
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

impl Drop for Post {
    fn drop(&mut self) {
        self.door.posting.store(false, Ordering::Release);
    }
}

impl Candidate {
    /// The WebSocket works: requests that wait are ended, so that the client can let go of them.
    pub(super) async fn probed(&self) -> Result<(), Refused> {
        self.door.probed.store(true, Ordering::Release);
        self.door.ask(Ask::Probed).await
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
            self.door.probed.store(false, Ordering::Release);
            self.door.claimed.store(false, Ordering::Release);
        }
    }
}
