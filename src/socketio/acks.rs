//! Acknowledgements that clients owe for events of backends, on their way to the node that was asked.
//!
//! Whoever asks gets an [`Awaiting`]; each node that emits notes who **owes** one. Numbers of acknowledgements are the
//! node's own, one for all whom it asks at a time, so that an event is encoded once.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use super::awaiting::Awaiting;
use super::connection::Socket;
use super::{Connection, SocketIo};
use crate::protocol::socketio::Arguments;
use crate::telemetry::{AckResult, Overflow, Topic};

/// Calls that wait for acknowledgements at a time, on the node that was asked and on each that emits.
const CALLS: usize = 256;
/// Acknowledgements of a call that wait to be taken.
const WAITING: usize = 1024;
/// Bytes of what came for all calls and was not answered yet.
const ROOM: usize = 64 << 20;
/// What one weighs beside what the client sent.
const OVERHEAD: usize = 128;
/// JavaScript counts exactly up to twice this.
const FIRST_IDS: u64 = 1 << 52;

/// What a client answered.
#[derive(Debug, Serialize, Deserialize)]
pub struct Acked {
    pub socket: Uuid,
    /// `""` for an anonymous user.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    pub args: Box<RawValue>,
    /// What its placeholders stand for, in base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
}

impl Acked {
    /// Its attachments.
    #[must_use]
    pub fn buffers(&self) -> Vec<Bytes> {
        self.attachments.iter().filter_map(|text| BASE64_STANDARD.decode(text).ok()).map(Bytes::from).collect()
    }

    /// Bytes of what the client sent.
    pub(super) fn size(&self) -> usize {
        self.args.get().len() + self.attachments.iter().map(String::len).sum::<usize>()
    }
}

/// One that waits, and has room as long as it does.
pub(super) struct Waiting {
    pub(super) acked: Acked,
    _room: OwnedSemaphorePermit,
}

/// The same on its way to the node that was asked.
#[derive(Serialize, Deserialize)]
struct Passed {
    call: u64,
    acked: Acked,
}

/// What became of an acknowledgement that a node passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Told,
    /// Nobody waits for it any more.
    Late,
    NoRoom,
}

/// Too many wait for acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{CALLS} calls are waiting for acknowledgements of clients already; try again later")]
pub struct TooManyCalls;

/// Acknowledgements under way, both those that are awaited here and those that are owed.
pub(super) struct Acks {
    /// Begins anywhere: an answer to what another process asked under this node's name is none to this one.
    next: AtomicU64,
    awaited: Mutex<HashMap<u64, Asker>>,
    /// For what waits for the askers.
    room: Arc<Semaphore>,
    owed: Mutex<HashMap<u64, Owed>>,
}

#[derive(Clone)]
struct Asker {
    acks: mpsc::Sender<Waiting>,
    /// One found no room.
    overflown: Arc<AtomicBool>,
}

/// Who owes an acknowledgement, and to whom.
struct Owed {
    call: u64,
    node: String,
    by: HashSet<Uuid>,
    until: Instant,
}

/// What a socket owes that moves to another node.
#[derive(Serialize, Deserialize)]
pub(super) struct Owing {
    id: u64,
    call: u64,
    node: String,
    within: Duration,
}

impl Default for Acks {
    fn default() -> Self {
        let next = AtomicU64::new(rand::random_range(0..FIRST_IDS));
        Self { next, awaited: Mutex::default(), room: Arc::new(Semaphore::new(ROOM)), owed: Mutex::default() }
    }
}

impl Acks {
    /// Begins to wait for acknowledgements of clients on all nodes.
    fn wait(self: &Arc<Self>) -> Result<Awaiting, TooManyCalls> {
        let mut awaited = self.awaited.lock();
        if awaited.len() >= CALLS {
            return Err(TooManyCalls);
        }
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, acks) = mpsc::channel(WAITING);
        let overflown = Arc::new(AtomicBool::new(false));
        awaited.insert(call, Asker { acks: sender, overflown: Arc::clone(&overflown) });
        Ok(Awaiting::new(Arc::clone(self), call, acks, overflown))
    }

    /// Nobody waits for the acknowledgements of this call any more.
    pub(super) fn forget(&self, call: u64) {
        self.awaited.lock().remove(&call);
    }

    /// Gives an acknowledgement to the call that waits for it.
    fn give(&self, Passed { call, acked }: Passed) -> Given {
        let Some(asker) = self.awaited.lock().get(&call).cloned() else { return Given::Late };
        // One that is larger than all that may wait passes alone.
        let weight = (acked.size() + OVERHEAD).min(ROOM) as u32;
        let room = Arc::clone(&self.room).try_acquire_many_owned(weight);
        let given = match room.map(|room| asker.acks.try_send(Waiting { acked, _room: room })) {
            Ok(Ok(())) => Given::Told,
            Ok(Err(mpsc::error::TrySendError::Closed(_))) => Given::Late,
            Ok(Err(mpsc::error::TrySendError::Full(_))) | Err(_) => Given::NoRoom,
        };
        if given == Given::NoRoom {
            asker.overflown.store(true, Ordering::Release);
        }
        given
    }

    /// Notes that `by` owe an acknowledgement; returns its number.
    pub(super) fn owe(&self, call: u64, node: &str, by: HashSet<Uuid>, within: Duration) -> Result<u64, TooManyCalls> {
        let now = Instant::now();
        let mut owed = self.owed.lock();
        owed.retain(|_, owed| owed.until > now);
        if owed.len() >= CALLS {
            return Err(TooManyCalls);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        owed.insert(id, Owed { call, node: node.to_owned(), by, until: now + within });
        Ok(id)
    }

    /// Lets those go who were not asked after all.
    pub(super) fn release(&self, id: u64, not_asked: &[Uuid]) {
        let mut all = self.owed.lock();
        let Some(owed) = all.get_mut(&id) else { return };
        not_asked.iter().for_each(|socket| {
            owed.by.remove(socket);
        });
        if owed.by.is_empty() {
            all.remove(&id);
        }
    }

    /// Takes off a socket what it owes: it moves to another node.
    pub(super) fn take_owed(&self, socket: Uuid) -> Vec<Owing> {
        let now = Instant::now();
        let mut all = self.owed.lock();
        let mut taken = Vec::new();
        all.retain(|id, owed| {
            if owed.by.remove(&socket) {
                let within = owed.until.saturating_duration_since(now);
                taken.push(Owing { id: *id, call: owed.call, node: owed.node.clone(), within });
            }
            !owed.by.is_empty()
        });
        taken
    }

    /// Has a socket owe what it owed at another node. Numbers begin anywhere: they are no other call's here.
    pub(super) fn owe_on(&self, socket: Uuid, owing: Owing) {
        let Owing { id, call, node, within } = owing;
        let mut all = self.owed.lock();
        if all.len() < CALLS || all.contains_key(&id) {
            let new = || Owed { call, node, by: HashSet::new(), until: Instant::now() + within };
            let owed = all.entry(id).or_insert_with(new);
            if owed.call == call {
                owed.by.insert(socket);
            }
        }
    }

    /// Forgets what nobody waits for any more.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.owed.lock().retain(|_, owed| owed.until > now);
    }

    /// A socket answers: which call, and at which node. Only the first answer counts.
    fn settle(&self, id: u64, socket: Uuid) -> Option<(u64, String)> {
        let mut all = self.owed.lock();
        let owed = all.get_mut(&id)?;
        if owed.until <= Instant::now() || !owed.by.remove(&socket) {
            return None;
        }
        let settled = (owed.call, owed.node.clone());
        if owed.by.is_empty() {
            all.remove(&id);
        }
        Some(settled)
    }
}

/// Where a node takes acknowledgements for the calls that it was asked.
pub(super) fn topic(node: &str) -> String {
    format!("sio-ack.{node}")
}

impl SocketIo {
    /// Begins to wait for acknowledgements.
    ///
    /// # Errors
    /// When too many calls do.
    pub fn wait_for_acks(&self) -> Result<Awaiting, TooManyCalls> {
        self.acks.wait()
    }

    /// An acknowledgement that a node passed on.
    pub(super) fn acked(&self, message: &Bytes) {
        let Ok(passed) = serde_json::from_slice(message) else {
            self.services.telemetry.cluster.not_understood(Topic::Ack);
            return;
        };
        match self.acks.give(passed) {
            Given::Told => self.count_ack(AckResult::Told),
            Given::Late => self.count_ack(AckResult::Late),
            Given::NoRoom => self.services.telemetry.queues.overflows.of(Overflow::Acks).increment(1),
        }
    }

    fn count_ack(&self, result: AckResult) {
        self.services.telemetry.clients.acks.of(result).increment(1);
    }
}

impl Connection {
    /// A client acknowledges an event; whoever waits for that is told.
    pub(super) async fn acknowledged(&mut self, socket: usize, id: u64, arguments: &Arguments) {
        let Socket { id: socket, user, .. } = &self.sockets[socket];
        let Some((call, node)) = self.shared.acks.settle(id, *socket) else {
            return self.shared.count_ack(AckResult::Late);
        };
        let Some(args) =
            str::from_utf8(arguments.json()).ok().and_then(|json| RawValue::from_string(json.to_owned()).ok())
        else {
            return self.shared.count_ack(AckResult::Failed);
        };
        let attachments = arguments.attachments().iter().map(|attachment| BASE64_STANDARD.encode(attachment)).collect();
        let acked = Acked { socket: *socket, user: user.to_string(), args, attachments };
        let Ok(message) = serde_json::to_vec(&Passed { call, acked }) else {
            return self.shared.count_ack(AckResult::Failed);
        };
        if let Err(error) = self.shared.backplane.broadcast().tell(&topic(&node), message.into()).await {
            debug!(%socket, %error, "an acknowledgement was not passed on");
            self.shared.count_ack(AckResult::Failed);
        }
    }
}
