//! A session as all nodes see it: which socket that was, whose, in which rooms, and from where on each of them was heard.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use crate::backplane::Revision;
use crate::clock::unix_millis;
use crate::protocol::Offset;

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
    /// The connection that has it, another one each time: the next may come to the same process.
    pub(super) holder: Uuid,
    /// Of all offsets here.
    pub(super) epoch: String,
    /// From where on events are heard that are not for one room.
    pub(super) events: Offset,
    /// Channels that are its rooms, each with from where on it is heard.
    pub(super) rooms: Vec<(String, Offset)>,
    /// Those of them that it is in for a time only, each with when that is over, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) until: BTreeMap<String, i64>,
    /// Up to here something came in rooms that it has left since.
    #[serde(default)]
    pub(super) left: Offset,
    /// How often its client has come, and could not be let in at that moment, since it was last in.
    #[serde(default)]
    pub(super) tries: u8,
    /// Its connection has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ended: bool,
}

/// Where a session is written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// Whoever has it may come back as this socket.
    pub(super) pid: SecretString,
    pub(super) holder: Uuid,
    pub(super) revision: Revision,
}

impl Record {
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn to_bytes(&self) -> bytes::Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Whether its time in one of its rooms is over.
    pub(super) fn is_over(&self) -> bool {
        let now = unix_millis();
        self.until.values().any(|until| *until <= now)
    }

    /// When it has to leave a room, where it is in for a time only.
    pub(super) fn expiry(&self, room: &str) -> Option<Instant> {
        let left = self.until.get(room)?.saturating_sub(unix_millis());
        Some(Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    /// The same, without a connection.
    pub(super) fn ended(self) -> Self {
        Self { ended: true, ..self }
    }
}

/// A moment for other nodes, in milliseconds since the Unix epoch.
pub(super) fn moment_for_all(at: Instant) -> i64 {
    let left = at.saturating_duration_since(Instant::now());
    unix_millis().saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
}

/// A name for a session that nobody can guess.
pub(super) fn new_pid() -> SecretString {
    let secret: [u8; 20] = rand::rng().random();
    hex(&secret).into()
}

/// Where a session is written. Who reads what nodes share must not be able to come back as others.
pub(super) fn key_of(pid: &SecretString) -> String {
    hex(&Sha256::digest(pid.expose_secret()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to memory cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
impl Record {
    /// A session in two rooms.
    pub(super) fn of_ada() -> Self {
        Self {
            sid: Uuid::from_u128(7),
            namespace: "/".to_owned(),
            user: "ada".to_owned(),
            life: "node-1~1".to_owned(),
            process: Uuid::nil(),
            holder: Uuid::nil(),
            epoch: "e".to_owned(),
            events: Offset(4),
            rooms: vec![("chat:red".to_owned(), Offset(5)), ("chat:blue".to_owned(), Offset(9))],
            until: BTreeMap::new(),
            left: Offset::NONE,
            tries: 0,
            ended: false,
        }
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
            holder: Uuid::from_u128(9),
            epoch: "e".to_owned(),
            events: Offset(4),
            rooms: vec![("chat:lobby".to_owned(), Offset(5))],
            until: [("chat:lobby".to_owned(), 7)].into(),
            tries: 2,
            left: Offset(3),
            ended: false,
        };
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record.clone()));
        let ended = record.ended();
        assert_eq!(Record::from_bytes(&ended.to_bytes()), Some(ended));
        assert_eq!(Record::from_bytes(b"{}"), None);
    }

    #[test]
    fn what_is_shared_does_not_tell_how_to_come_back() {
        let (one, other) = (new_pid(), new_pid());
        let secret = one.expose_secret();
        assert_ne!(secret, other.expose_secret());
        assert_eq!(secret.len(), 40);
        assert!(!key_of(&one).contains(secret) && key_of(&one) != key_of(&other));
    }

    #[test]
    fn what_a_client_comes_back_with_could_be_printed() {
        let written = Written { pid: new_pid(), holder: Uuid::nil(), revision: Revision(1) };
        assert!(!format!("{written:?}").contains(written.pid.expose_secret()));
    }
}
