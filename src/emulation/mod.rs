//! Brings what a client posts to its session, wherever in the cluster that is.
//!
//! A client on a stream cannot send on it. It posts its commands over HTTP to whichever node a proxy chooses, with the
//! node and the session that its connect result named; that node passes them on to the owner, as a request below the
//! backplane's prefix, and the owner leaves them in the session's inbox. A session that is over, with its node or
//! without it, is an answer of its own: the client has to connect anew.
//!
//! A node's name here is its own and new at every start, so that nothing meant for a session can reach a node that
//! never had it.

mod forward;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use crate::backplane::{Backplane, Request, SubscribeError};
use crate::hub::{Inbox, Inboxes, NotTaken};
use crate::protocol::centrifuge::EmulationRequest;
use crate::telemetry::{Posted, Telemetry};

/// How long a post may take in all. Clients give up a command after five seconds.
const DEADLINE: Duration = Duration::from_secs(4);
/// Posts of other nodes that are answered at a time.
const AT_ONCE: usize = 256;
/// How long to wait before asking a full inbox again, the first time and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// What clients post, on its way to their sessions.
pub struct Emulation {
    node: Uuid,
    inboxes: Arc<Inboxes>,
    backplane: Arc<dyn Backplane>,
    telemetry: Arc<Telemetry>,
}

/// Why a post did not reach its session. After [`Timeout`](Self::Timeout), and where the connection to the other node
/// broke meanwhile, nobody knows; all others say that it never will.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Its node is gone, or never was.
    #[error("no such node")]
    UnknownNode,
    #[error("no such session")]
    UnknownSession,
    #[error("the session is busy with what was posted before")]
    Busy,
    #[error("no answer from the session's node")]
    Timeout,
    #[error("the session's node cannot be reached: {0}")]
    Unavailable(String),
}

impl Emulation {
    /// For the sessions of this node; in the inbox of each may wait `limit` bytes.
    #[must_use]
    pub fn new(limit: usize, backplane: Arc<dyn Backplane>, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Arc::new(Self { node: Uuid::new_v4(), inboxes: Inboxes::new(limit), backplane, telemetry })
    }

    /// How clients name this node.
    #[must_use]
    pub const fn node(&self) -> Uuid {
        self.node
    }

    /// Opens the inbox of a new session.
    #[must_use]
    pub fn open(&self) -> Inbox {
        self.inboxes.open()
    }

    /// Begins to take what other nodes pass on; `None` where there are none. Give it to [`take`](Self::take).
    ///
    /// # Errors
    /// When the backplane does not accept the subscription.
    pub async fn listen(&self) -> Result<Option<mpsc::Receiver<Request>>, SubscribeError> {
        match self.backplane.requests() {
            Some(requests) => requests.serve(&forward::subject(self.node), AT_ONCE).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes what other nodes pass on, until they cannot any more.
    pub async fn take(self: Arc<Self>, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            forward::answer(&self.inboxes, request, &self.telemetry);
        }
    }

    /// Brings a post to its session. It is handled in its turn; what it leads to comes on the session's connection.
    ///
    /// # Errors
    /// See [`PostError`].
    pub async fn post(&self, request: EmulationRequest) -> Result<(), PostError> {
        let here = request.node == self.node;
        let outcome = self.bring(request).await;
        let posted = match &outcome {
            Ok(()) if here => Posted::Here,
            Ok(()) => Posted::Forwarded,
            Err(PostError::UnknownNode) => Posted::UnknownNode,
            Err(PostError::UnknownSession) => Posted::UnknownSession,
            Err(PostError::Busy) => Posted::Busy,
            Err(PostError::Timeout) => Posted::Timeout,
            Err(PostError::Unavailable(_)) => Posted::Unavailable,
        };
        self.telemetry.clients.emulation.of(posted).increment(1);
        outcome
    }

    /// Asks again while the inbox is full, as a socket that is not read would let its client wait.
    async fn bring(&self, request: EmulationRequest) -> Result<(), PostError> {
        let EmulationRequest { node, session, data } = request;
        let deadline = Instant::now() + DEADLINE;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.attempt(node, session, data.clone(), deadline).await {
                Err(PostError::Busy) if Instant::now() + pause < deadline => {}
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, node: Uuid, session: Uuid, data: Bytes, deadline: Instant) -> Result<(), PostError> {
        if node == self.node {
            return self.inboxes.post(session, data).map_err(PostError::from);
        }
        let requests = self.backplane.requests().ok_or(PostError::UnknownNode)?;
        let within = deadline.saturating_duration_since(Instant::now());
        forward::ask(requests, node, session, data, within).await
    }
}

impl From<NotTaken> for PostError {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Unknown => Self::UnknownSession,
            NotTaken::Full => Self::Busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::task::{Context, Waker};

    use super::*;
    use crate::backplane::embedded::Embedded;
    use crate::backplane::feed;
    use crate::settings::Namespaces;

    fn alone() -> Arc<Emulation> {
        let namespaces = Namespaces(HashMap::new());
        let (sender, _) = feed::open(1);
        Emulation::new(100, Embedded::new(&namespaces, 1 << 20, sender), Telemetry::new(&namespaces))
    }

    fn post(node: Uuid, session: Uuid) -> EmulationRequest {
        EmulationRequest { node, session, data: vec![0; 60].into() }
    }

    #[tokio::test]
    async fn a_post_reaches_its_session_and_no_other() {
        let emulation = alone();
        let mut inbox = emulation.open();
        let (node, session) = (emulation.node(), inbox.session());
        assert_eq!(emulation.post(post(node, session)).await, Ok(()));
        assert!(inbox.poll_take(&Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(emulation.post(post(node, Uuid::nil())).await, Err(PostError::UnknownSession));
        assert_eq!(emulation.post(post(Uuid::nil(), session)).await, Err(PostError::UnknownNode));
    }

    #[tokio::test(start_paused = true)]
    async fn a_post_waits_for_room_but_not_for_ever() {
        let emulation = alone();
        let mut inbox = emulation.open();
        let (node, session) = (emulation.node(), inbox.session());
        emulation.post(post(node, session)).await.unwrap();
        assert_eq!(emulation.post(post(node, session)).await, Err(PostError::Busy));

        let waiting = tokio::spawn({
            let emulation = Arc::clone(&emulation);
            async move { emulation.post(post(node, session)).await }
        });
        tokio::time::sleep(DEADLINE / 2).await;
        assert!(inbox.poll_take(&Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
}
