//! Sessions that clients may come back to, as all nodes share them: which socket that was, whose, in which rooms, and from
//! where on each of them was heard.
//!
//! A session is written when its client comes and whenever its rooms change, before anything is delivered there: so it is
//! right also where its node is killed. Every write names the one before; of two nodes that both take a session for theirs
//! the second to write is refused, and lets its connection go. A session whose connection has ended goes by itself after
//! the time in which its client may come back; those of a node that died get that time from whoever cleans up after it.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::{debug, warn};
use uuid::Uuid;

use super::SocketIo;
use super::connection::Socket;
use crate::backplane::{Bucket, Guard, Registry, RegistryError, Revision};
use crate::protocol::{Epoch, Offset, Position};
use crate::relay::Membership;

/// How often it is tried to write that a session has ended.
const ATTEMPTS: u32 = 3;

/// What is written of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) sid: Uuid,
    /// Of Socket.IO.
    pub(super) namespace: String,
    /// `""` for an anonymous user.
    pub(super) user: String,
    /// The life of the node that has it, and where that is asked for it.
    pub(super) life: String,
    pub(super) process: Uuid,
    /// Of all offsets here.
    pub(super) epoch: String,
    /// From where on events are heard that are not for one room.
    pub(super) events: Offset,
    /// Channels that are its rooms, each with from where on it is heard.
    pub(super) rooms: Vec<(String, Offset)>,
    /// Its connection has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ended: bool,
}

/// The session of a socket that is here.
pub(super) struct Session {
    /// A secret: whoever has it may come back as this socket. Empty where nobody can.
    pub(super) pid: String,
    pub(super) revision: Revision,
    pub(super) epoch: Epoch,
    /// Events that are not for one room.
    #[expect(dead_code, reason = "the socket listens to them as long as it lives")]
    pub(super) events: Membership,
    pub(super) since: Offset,
}

/// Somebody else has the session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session is not this connection's any more, or nobody can say whose it is")]
pub(super) struct NotOurs;

/// A name for a session that nobody can guess.
pub(super) fn new_pid() -> String {
    let secret: [u8; 20] = rand::rng().random();
    hex(&secret)
}

/// Where a session is written. Who reads what nodes share must not be able to come back as others.
pub(super) fn key_of(pid: &str) -> String {
    hex(&Sha256::digest(pid))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to memory cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Session {
    /// One that nobody knows yet.
    pub(super) fn unwritten(events: Membership, position: Position) -> Self {
        let Position { offset, epoch } = position;
        Self { pid: String::new(), revision: Revision::default(), epoch, events, since: offset }
    }
}

impl Record {
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn to_bytes(&self) -> bytes::Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

impl SocketIo {
    pub(super) fn sessions(&self) -> &dyn Registry {
        self.backplane.registry(Bucket::Sessions)
    }

    /// This node as its sessions name it.
    pub(super) fn life(&self) -> String {
        self.life.borrow().to_string()
    }

    fn record(&self, socket: &Socket, session: &Session) -> Record {
        Record {
            sid: socket.id,
            namespace: socket.namespace.name.to_string(),
            user: socket.user.to_string(),
            life: self.life(),
            process: self.process,
            epoch: session.epoch.to_string(),
            events: session.since,
            rooms: socket.rooms.iter().map(|room| (room.channel().as_str().to_owned(), room.since())).collect(),
            ended: false,
        }
    }

    /// Writes the session of a socket for the first time. Where that fails its client cannot come back, and has no name
    /// for it.
    pub(super) async fn begin_session(&self, socket: &mut Socket) {
        let Some(session) = socket.session.as_deref() else { return };
        let pid = new_pid();
        let record = self.record(socket, session).to_bytes();
        match (self.sessions().put(&key_of(&pid), record, Guard::Absent, None).await, &mut socket.session) {
            (Ok(revision), Some(session)) => (session.pid, session.revision) = (pid, revision),
            (Ok(_), None) => {}
            (Err(error), _) => {
                warn!(socket = %socket.id, %error, "a session is not written: its client cannot come back to it");
            }
        }
    }

    /// Writes in which rooms a socket is now.
    pub(super) async fn note_rooms(&self, socket: &mut Socket) -> Result<(), NotOurs> {
        let Some(session) = socket.session.as_deref().filter(|session| !session.pid.is_empty()) else { return Ok(()) };
        let (key, guard) = (key_of(&session.pid), Guard::Revision(session.revision));
        let written = self.sessions().put(&key, self.record(socket, session).to_bytes(), guard, None).await;
        let revision = written.map_err(|error| {
            debug!(socket = %socket.id, %error, "rooms are not written");
            NotOurs
        })?;
        if let Some(session) = &mut socket.session {
            session.revision = revision;
        }
        Ok(())
    }

    /// The connection of a socket has ended. Its client `may_return` for a time, or not at all. Whether the session was
    /// still its own.
    pub(super) async fn end_session(&self, socket: &mut Socket, may_return: bool) -> bool {
        let Some(session) = socket.session.take().filter(|session| !session.pid.is_empty()) else { return true };
        let within = socket.namespace.recovery.filter(|_| may_return);
        let record = Record { ended: true, ..self.record(socket, &session) }.to_bytes();
        let (key, guard) = (key_of(&session.pid), Guard::Revision(session.revision));
        for _ in 0..ATTEMPTS {
            let written = match within {
                Some(within) => self.sessions().put(&key, record.clone(), guard, Some(within)).await,
                None => self.sessions().delete(&key, guard).await,
            };
            match written {
                Ok(_) => return true,
                Err(RegistryError::Conflict(_)) => return false,
                Err(error) => debug!(socket = %socket.id, %error, "the end of a session is not written yet"),
            }
        }
        // It stands there as long as this node lives.
        warn!(socket = %socket.id, "the end of a session is not written");
        true
    }

    /// Gives the clients of a life that is over their time to come back; returns how many there were.
    ///
    /// # Errors
    /// When the sessions cannot be listed, or one of them not be written.
    pub async fn bury(&self, life: &str) -> Result<usize, RegistryError> {
        let mut buried = 0;
        for entry in self.list_sessions().await? {
            let Some(record) = Record::from_bytes(&entry.value) else { continue };
            if record.life != life || record.ended {
                continue;
            }
            let within = self.within(&record.namespace);
            let record = Record { ended: true, ..record }.to_bytes();
            match self.sessions().put(&entry.key, record, Guard::Revision(entry.revision), Some(within)).await {
                Ok(_) => buried += 1,
                // Its client was faster.
                Err(RegistryError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(buried)
    }

    /// The lives that have sessions.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn lives(&self) -> Result<BTreeSet<String>, RegistryError> {
        let records = self.list_sessions().await?.into_iter().filter_map(|entry| Record::from_bytes(&entry.value));
        Ok(records.filter(|record| !record.ended).map(|record| record.life).collect())
    }

    async fn list_sessions(&self) -> Result<Vec<crate::backplane::Entry>, RegistryError> {
        if self.has_sessions() { self.sessions().list().await } else { Ok(Vec::new()) }
    }

    /// Whether clients may come back to any.
    pub(super) fn has_sessions(&self) -> bool {
        self.namespaces.values().any(|namespace| namespace.recovery.is_some())
    }

    /// How long clients of a namespace may take to come back. One that another node has, and this one has not, is not
    /// forgotten before others are.
    fn within(&self, namespace: &str) -> Duration {
        let own = self.namespaces.get(namespace).and_then(|namespace| namespace.recovery);
        own.or_else(|| self.namespaces.values().filter_map(|namespace| namespace.recovery).max()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            sid: Uuid::from_u128(7),
            namespace: "/".to_owned(),
            user: "ada".to_owned(),
            life: "node-1~3".to_owned(),
            process: Uuid::from_u128(8),
            epoch: "e".to_owned(),
            events: Offset(4),
            rooms: vec![("chat:lobby".to_owned(), Offset(5))],
            ended: false,
        };
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record.clone()));
        let ended = Record { ended: true, ..record };
        assert_eq!(Record::from_bytes(&ended.to_bytes()), Some(ended));
        assert_eq!(Record::from_bytes(b"{}"), None);
    }

    #[test]
    fn what_is_shared_does_not_tell_how_to_come_back() {
        let (one, other) = (new_pid(), new_pid());
        assert_ne!(one, other);
        assert_eq!(one.len(), 40);
        assert!(!key_of(&one).contains(&one) && key_of(&one) != key_of(&other));
    }
}
