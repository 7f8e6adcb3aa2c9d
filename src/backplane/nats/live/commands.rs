//! What the handles ask of the connection's owner.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::unconstrained;

use super::Sid;

/// Subscriptions that may wait to be written.
const ROOM: usize = 8192;

pub(super) enum Command {
    Subscribe { sid: Sid, subject: Box<str>, answer: oneshot::Sender<Answer>, _room: OwnedSemaphorePermit },
    Unsubscribe(Sid),
}

/// Whether the server took a subscription; if not, its word for it.
pub(super) type Answer = Result<(), String>;

/// The subscription was not made.
pub(super) enum Unanswered {
    Refused(String),
    Closed,
}

/// Commands in the order in which they were given. Subscribing waits for room; unsubscribing never waits, and there are no
/// more of that kind than there were subscriptions.
pub(super) struct Commands {
    queue: Mutex<Queue>,
    wake: Notify,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Command>,
    closed: bool,
}

impl Commands {
    pub(super) fn new() -> Self {
        Self { queue: Mutex::default(), wake: Notify::new(), room: Arc::new(Semaphore::new(ROOM)) }
    }

    /// Returns once the server has answered. Whoever stops waiting has unsubscribed.
    pub(super) async fn subscribe(&self, sid: Sid, subject: &str) -> Result<(), Unanswered> {
        let room = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(room) => room,
            Err(_) => Arc::clone(&self.room).acquire_owned().await.map_err(|_| Unanswered::Closed)?,
        };
        let (answer, answered) = oneshot::channel();
        self.push(Command::Subscribe { sid, subject: subject.into(), answer, _room: room });
        let mut undo = Undo { commands: self, sid, armed: true };
        // One task may wait for thousands of these together; each that used up the task's budget would wake all the others.
        let answer = unconstrained(answered).await.map_err(|_| Unanswered::Closed)?;
        undo.armed = false;
        answer.map_err(Unanswered::Refused)
    }

    pub(super) fn unsubscribe(&self, sid: Sid) {
        self.push(Command::Unsubscribe(sid));
    }

    /// Waits until there may be something to take.
    pub(super) async fn given(&self) {
        self.wake.notified().await;
    }

    pub(super) fn take(&self) -> Vec<Command> {
        std::mem::take(&mut self.queue.lock().waiting)
    }

    /// Everything that waits, and whatever comes later, is dropped.
    pub(super) fn close(&self) {
        self.room.close();
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.waiting = Vec::new();
    }

    fn push(&self, command: Command) {
        {
            let mut queue = self.queue.lock();
            if queue.closed {
                return;
            }
            queue.waiting.push(command);
        }
        self.wake.notify_one();
    }
}

struct Undo<'a> {
    commands: &'a Commands,
    sid: Sid,
    armed: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.commands.unsubscribe(self.sid);
        }
    }
}
