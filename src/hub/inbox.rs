//! What clients post for connections that they cannot send on: the other direction of a stream.
//!
//! Whoever knows a connection's **session** may speak for its client. It is random, told to nobody but the client, and
//! never logged.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Posts that may wait for one connection.
const POSTS: usize = 64;

/// The inboxes of this node's connections, by session.
pub struct Inboxes {
    /// By half of the session; the other half is compared without telling how much of it was right.
    by_half: Mutex<HashMap<u64, Arc<Shared>>>,
    /// Bytes that may wait in one of them.
    limit: usize,
}

/// What was posted for one connection. Gone, with everything in it, on drop.
pub struct Inbox {
    inboxes: Arc<Inboxes>,
    shared: Arc<Shared>,
}

/// Why a post was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// There is no such session here.
    Unknown,
    /// The session has not come to what was posted before.
    Full,
}

struct Shared {
    session: Uuid,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    posts: VecDeque<Bytes>,
    bytes: usize,
    waker: Option<Waker>,
}

impl Inboxes {
    /// No inboxes yet; in each `limit` bytes may wait, or one larger post.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { by_half: Mutex::default(), limit })
    }

    /// Opens the inbox of a new session.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> Inbox {
        let shared = Arc::new(Shared { session: Uuid::new_v4(), state: Mutex::default() });
        self.by_half.lock().insert(half(shared.session), Arc::clone(&shared));
        Inbox { inboxes: Arc::clone(self), shared }
    }

    /// Leaves a client's message for its session.
    ///
    /// # Errors
    /// When there is no such session, or too much waits for it already.
    pub fn post(&self, session: Uuid, message: Bytes) -> Result<(), NotTaken> {
        let shared = self.by_half.lock().get(&half(session)).cloned().ok_or(NotTaken::Unknown)?;
        if !bool::from(shared.session.as_bytes().ct_eq(session.as_bytes())) {
            return Err(NotTaken::Unknown);
        }
        let waker = {
            let mut state = shared.state.lock();
            let fits = state.posts.is_empty() || state.bytes + message.len() <= self.limit;
            if !fits || state.posts.len() >= POSTS {
                return Err(NotTaken::Full);
            }
            state.bytes += message.len();
            state.posts.push_back(message);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

fn half(session: Uuid) -> u64 {
    session.as_u64_pair().0
}

impl Inbox {
    /// What its client must know to post here.
    #[must_use]
    pub fn session(&self) -> Uuid {
        self.shared.session
    }

    /// The oldest message that waits.
    pub fn poll_take(&mut self, cx: &Context<'_>) -> Poll<Bytes> {
        let mut state = self.shared.state.lock();
        let Some(message) = state.posts.pop_front() else {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        state.bytes -= message.len();
        if state.posts.is_empty() {
            // A drained queue keeps its places otherwise, for as long as the connection lives.
            state.posts = VecDeque::new();
        }
        Poll::Ready(message)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.inboxes.by_half.lock().remove(&half(self.shared.session));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn what_is_posted_comes_in_order_and_wakes_who_waits() {
        let inboxes = Inboxes::new(100);
        let mut inbox = inboxes.open();
        let session = inbox.session();
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            for _ in 0..3 {
                got.push(poll_fn(|cx| inbox.poll_take(cx)).await);
            }
            got
        });
        tokio::task::yield_now().await;
        for message in ["a", "b", "c"] {
            inboxes.post(session, message.into()).unwrap();
        }
        assert_eq!(reading.await.unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn no_more_waits_than_the_limit_but_one_large_post_always_goes() {
        let inboxes = Inboxes::new(10);
        let mut inbox = inboxes.open();
        let session = inbox.session();
        inboxes.post(session, Bytes::from(vec![0; 100])).unwrap();
        assert_eq!(inboxes.post(session, "x".into()), Err(NotTaken::Full));
        assert!(inbox.poll_take(&Context::from_waker(Waker::noop())).is_ready());
        for _ in 0..POSTS {
            inboxes.post(session, Bytes::new()).unwrap();
        }
        assert_eq!(inboxes.post(session, Bytes::new()), Err(NotTaken::Full), "empty ones count too");
    }

    #[test]
    fn nobody_is_reached_by_half_a_session_or_after_its_end() {
        let inboxes = Inboxes::new(10);
        let inbox = inboxes.open();
        let (first, second) = inbox.session().as_u64_pair();
        for wrong in [(first, second ^ 1), (first ^ 1, second), (0, 0)] {
            let wrong = Uuid::from_u64_pair(wrong.0, wrong.1);
            assert_eq!(inboxes.post(wrong, "x".into()), Err(NotTaken::Unknown));
        }
        let session = inbox.session();
        drop(inbox);
        assert_eq!(inboxes.post(session, "x".into()), Err(NotTaken::Unknown));
        assert!(inboxes.by_half.lock().is_empty());
    }
}
