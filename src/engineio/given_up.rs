//! What is given up here and is to be told to the node of its session: a request whose client has gone, a WebSocket that is
//! of no use.
//!
//! One task tells it all, whoever gives up how much. What finds no place, or no answer, ends by itself: a request that waits
//! with the next ping, a claim after its time.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Engine;
use super::remote::Remote;
use super::words::Verb;
use crate::protocol::socketio::Sid;
use crate::telemetry::Overflow;

/// What may wait to be told.
const MOST: usize = 16 * 1024;
/// What is told at a time: each may take its seconds where a node hangs.
const AT_ONCE: usize = 1024;

/// What is to be told about one session.
struct Given {
    sid: Sid,
    verb: Verb,
    number: u64,
}

/// What waits to be told, the oldest first.
#[derive(Default)]
pub(super) struct GivenUp {
    waiting: Mutex<VecDeque<Given>>,
    filled: Notify,
}

impl GivenUp {
    /// Whether there was room.
    fn push(&self, given: Given) -> bool {
        let mut waiting = self.waiting.lock();
        let fits = waiting.len() < MOST;
        if fits {
            waiting.push_back(given);
            self.filled.notify_one();
        }
        fits
    }

    async fn next(&self) -> Given {
        loop {
            if let Some(given) = self.waiting.lock().pop_front() {
                return given;
            }
            self.filled.notified().await;
        }
    }
}

impl Engine {
    /// Has the session's node told that a request or a WebSocket of this node is given up.
    pub(super) fn give_up(&self, sid: Sid, verb: Verb, number: u64) {
        if !self.given_up.push(Given { sid, verb, number }) {
            self.telemetry.queues.overflows.of(Overflow::GivenUp).increment(1);
        }
    }

    /// Tells other nodes what is given up here, for ever.
    pub async fn tell_given_up(self: Arc<Self>) {
        let given_up = stream::unfold(&self.given_up, async |given_up| Some((given_up.next().await, given_up)));
        let tell = |Given { sid, verb, number }| Remote::new(Arc::clone(&self), sid).tell(verb, number);
        given_up.for_each_concurrent(AT_ONCE, tell).await;
    }
}
