//! The sessions of this node that requests may ask for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::door::{Ask, Door};
use crate::protocol::socketio::Sid;

/// What may wait at a door: a client has one request each way under way, and a WebSocket that wants to take over.
const ASKS: usize = 4;
/// How long a session stays known here that went on at another node.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Every door of this node.
pub(super) struct Sessions {
    /// Another one after each start.
    node: Uuid,
    /// By half of the session's id; the other half is compared without telling how much of it was right.
    by_half: Mutex<HashMap<u64, Arc<Door>>>,
    /// Those that went on at other nodes, in order. They stay known for a while, so that what still asks hears that.
    gone: Mutex<VecDeque<(Instant, u64)>>,
}

/// A session's entry; leaves on drop.
pub(super) struct Entry {
    sessions: Arc<Sessions>,
    door: Arc<Door>,
    /// It went on at another node.
    gone: bool,
}

impl Sessions {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { node: Uuid::new_v4(), by_half: Mutex::default(), gone: Mutex::default() })
    }

    pub(super) const fn node(&self) -> Uuid {
        self.node
    }

    /// An id for a session that nobody will ask for.
    pub(super) fn sid(&self) -> Sid {
        Sid { node: self.node, session: Uuid::new_v4() }
    }

    /// The door of a new session, and what comes through it.
    pub(super) fn open(self: &Arc<Self>) -> (Entry, mpsc::Receiver<Ask>) {
        let (asks, mailbox) = mpsc::channel(ASKS);
        let door = Arc::new(Door::new(self.sid(), asks));
        self.forget_gone(Instant::now());
        self.by_half.lock().insert(half(door.sid()), Arc::clone(&door));
        (Entry { sessions: Arc::clone(self), door, gone: false }, mailbox)
    }

    fn forget_gone(&self, now: Instant) {
        let mut gone = self.gone.lock();
        while gone.front().is_some_and(|(at, _)| now - *at >= REMEMBERED) {
            if let Some((_, half)) = gone.pop_front() {
                self.by_half.lock().remove(&half);
            }
        }
    }

    pub(super) fn find(&self, sid: Sid) -> Option<Arc<Door>> {
        let door = self.by_half.lock().get(&half(sid)).cloned().filter(|_| sid.node == self.node)?;
        bool::from(door.sid().session.as_bytes().ct_eq(sid.session.as_bytes())).then_some(door)
    }
}

const fn half(sid: Sid) -> u64 {
    sid.session.as_u64_pair().0
}

impl Entry {
    pub(super) fn sid(&self) -> Sid {
        self.door.sid()
    }

    /// The session goes on at another node, which has its WebSocket.
    pub(super) fn retire(mut self) {
        self.gone = true;
    }

    pub(super) const fn door(&self) -> &Arc<Door> {
        &self.door
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let half = half(self.door.sid());
        if self.gone {
            self.sessions.gone.lock().push_back((Instant::now(), half));
        } else {
            self.sessions.by_half.lock().remove(&half);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_its_whole_id_and_while_it_lives() {
        let sessions = Sessions::new();
        let (entry, _mailbox) = sessions.open();
        let sid = entry.sid();
        assert!(sessions.find(sid).is_some());
        let (first, second) = sid.session.as_u64_pair();
        for (first, second) in [(first, second ^ 1), (first ^ 1, second)] {
            assert!(sessions.find(Sid { session: Uuid::from_u64_pair(first, second), ..sid }).is_none());
        }
        assert!(sessions.find(Sid { node: Uuid::nil(), ..sid }).is_none());
        drop(entry);
        assert!(sessions.find(sid).is_none() && sessions.by_half.lock().is_empty());
    }
}
