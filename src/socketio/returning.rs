//! A client comes back to its session: the same socket in the same rooms, which gets what it missed. Or it does not, and
//! is another socket.

use std::sync::Arc;

use secrecy::SecretString;
use serde::Deserialize;
use tracing::{debug, info};
use uuid::Uuid;

use super::SocketIo;
use super::giving_up::Yielded;
use super::owed::Ending;
use super::record::{Record, Written, key_of};
use super::restoring::Restored;
use super::sessions::Found;
use crate::backplane::{Guard, RegistryError};
use crate::hub::Outbox;
use crate::protocol::Offset;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::socketio::Stand;
use crate::settings::SocketIoNamespace;
use crate::telemetry::{Label, Returned};

/// How often it is tried to take a session that others write.
const ATTEMPTS: u32 = 3;
/// How often a client may come in vain for what passes, before it is another socket: longer than servers take to elect a leader.
const TRIES: u8 = 16;

/// What a client says where it comes again: its session, and what it has of it.
#[derive(Deserialize)]
pub(super) struct Back {
    pid: SecretString,
    offset: Option<String>,
}

/// Somebody who may come back, and whose session is this node's from here on.
pub(super) struct Returning {
    /// What was written of it before.
    pub(super) record: Record,
    /// For this connection.
    pub(super) written: Written,
    /// What its client says that it has.
    pub(super) offset: Option<Offset>,
}

impl SocketIo {
    /// Puts somebody back to where it was; `None` where it has to begin anew.
    ///
    /// # Errors
    /// Where the connection has to end: what is in the way passes, and its client comes again; or something has come already
    /// for the socket that it cannot be any more.
    pub(super) async fn come_back(
        &self,
        outbox: &Arc<Outbox>,
        namespace: &Arc<SocketIoNamespace>,
        user: &Arc<str>,
        Back { pid, offset }: Back,
    ) -> Result<Option<Restored>, DisconnectCode> {
        let returning = match self.take_session(namespace, pid, offset.as_deref(), user).await {
            Ok(returning) => returning,
            Err(why) => {
                self.count_returned(why);
                return if passes(why) { Err(DisconnectCode::ForceReconnect) } else { Ok(None) };
            }
        };
        let restored = Box::pin(self.restore(outbox, namespace, user, &returning)).await;
        self.count_returned(restored.as_ref().err().copied().unwrap_or(Returned::Recovered));
        let Err(why) = restored else { return Ok(restored.ok()) };
        let Returning { record, written, .. } = returning;
        if passes(why) && record.tries < TRIES {
            self.put_back(namespace, record, written).await;
            return Err(DisconnectCode::ForceReconnect);
        }
        self.forget(namespace, &record, &written).await;
        if outbox.holds_some() { Err(DisconnectCode::ForceReconnect) } else { Ok(None) }
    }

    /// Somebody who has come back may not stay: for good, or only for `now`.
    pub(super) async fn send_back(&self, namespace: &SocketIoNamespace, restored: Restored, now: bool) {
        let Restored { record, session, .. } = restored;
        let Some(written) = session.written else { return };
        if now {
            self.put_back(namespace, record, written).await;
        } else {
            self.forget(namespace, &record, &written).await;
        }
    }

    /// A session that this node has taken waits for its client again.
    async fn put_back(&self, namespace: &SocketIoNamespace, record: Record, written: Written) {
        let Written { pid, holder, revision } = written;
        let waiting = Record { holder, tries: record.tries.saturating_add(1), ..record.clone() }.ended();
        let ending = Ending { key: key_of(&pid), holder, revision: Some(revision), record: Some(waiting) };
        if self.end(ending).await && !record.ended {
            self.tell_lost(namespace, &record).await;
        }
    }

    /// Takes the session of a client that comes again.
    ///
    /// # Errors
    /// Why it cannot come back. If somebody has the session, they have it still.
    async fn take_session(
        &self,
        namespace: &SocketIoNamespace,
        pid: SecretString,
        offset: Option<&str>,
        user: &str,
    ) -> Result<Returning, Returned> {
        for _ in 0..ATTEMPTS {
            let Some(returning) = self.try_to_take(namespace, &pid, offset, user).await? else { continue };
            let Returning { record, written, .. } = &returning;
            match self.have_given_up(record).await {
                Yielded::Gone if record.ended => return Ok(returning),
                // Its client may not have waited, and be here with another connection by now.
                Yielded::Gone | Yielded::Unanswered if self.has_still(written).await => return Ok(returning),
                Yielded::Gone | Yielded::Unanswered => {}
                Yielded::StillHere => self.forget(namespace, record, written).await,
            }
            break;
        }
        Err(Returned::Taken)
    }

    async fn has_still(&self, Written { pid, holder, revision }: &Written) -> bool {
        let found = self.written_for(&key_of(pid), *holder).await;
        matches!(found, Ok(Found::Ours(found)) if found == *revision)
    }

    /// `None` where somebody else wrote it meanwhile: that its connection has ended, say.
    async fn try_to_take(
        &self,
        namespace: &SocketIoNamespace,
        pid: &SecretString,
        offset: Option<&str>,
        user: &str,
    ) -> Result<Option<Returning>, Returned> {
        let key = key_of(pid);
        let found = self.sessions().get(&key).await.map_err(|error| {
            debug!(%error, "a session cannot be read");
            Returned::Unavailable
        })?;
        let entry = found.ok_or(Returned::Unknown)?;
        let record = Record::from_bytes(&entry.value).ok_or(Returned::Unknown)?;
        if record.namespace != *namespace.name {
            return Err(Returned::Unknown);
        }
        if record.user != user {
            return Err(Returned::Identity);
        }
        // What came there after its time is not for it, and the rest is not all that came.
        if record.is_over() {
            return Err(Returned::Gone);
        }
        let offset = offset.map(|offset| since(offset, &record)).transpose()?;
        if record.left > offset.unwrap_or(record.events) {
            return Err(Returned::Left);
        }
        let holder = Uuid::new_v4();
        let taken =
            Record { life: self.life(), process: self.process, holder, tries: 0, ended: false, ..record.clone() };
        match self.sessions().put(&key, taken.to_bytes(), Guard::Revision(entry.revision), None).await {
            Ok(revision) => {
                let written = Written { pid: pid.clone(), holder, revision };
                Ok(Some(Returning { record, written, offset }))
            }
            Err(RegistryError::Conflict(_)) => Ok(None),
            Err(error @ RegistryError::Refused(_)) => {
                debug!(%error, "a session cannot be taken, now or later");
                Err(Returned::Unknown)
            }
            Err(error @ RegistryError::Unavailable(_)) => {
                debug!(%error, "a session cannot be taken");
                // It may be all the same: then its client gets its time once more.
                let record = Some(Record { holder, ..record }.ended());
                self.owed.push(self, Ending { key, holder, revision: None, record });
                Err(Returned::Unavailable)
            }
        }
    }

    /// Nobody comes back any more to a session that this node has taken.
    async fn forget(&self, namespace: &SocketIoNamespace, record: &Record, written: &Written) {
        let Written { pid, holder, revision } = written;
        let ending = Ending { key: key_of(pid), holder: *holder, revision: Some(*revision), record: None };
        if self.end(ending).await && !record.ended {
            self.tell_lost(namespace, record).await;
        }
    }

    /// Counts what became of a client that came again.
    fn count_returned(&self, returned: Returned) {
        self.services.telemetry.clients.returned.of(returned).increment(1);
        match returned {
            Returned::Recovered => debug!("a client is back"),
            refused => {
                if let Some(left_out) = self.refused.due() {
                    let why = refused.value();
                    info!(why, left_out, "a client comes again and cannot have its session back");
                }
            }
        }
    }
}

/// Whether somebody who cannot come back now may be able to in a moment.
const fn passes(why: Returned) -> bool {
    matches!(why, Returned::Unproven | Returned::Unavailable)
}

/// What a client says that it has.
fn since(offset: &str, record: &Record) -> Result<Offset, Returned> {
    let Stand { position, doubtful } = Stand::parse(offset).map_err(|_| Returned::Offset)?;
    if doubtful {
        return Err(Returned::Doubtful);
    }
    if position.epoch.as_str() != record.epoch {
        return Err(Returned::Epoch);
    }
    Ok(position.offset)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Shared;
    use super::*;

    #[test]
    fn only_an_offset_of_this_session_is_one() {
        for (offset, expected) in [
            ("~mpe.7", Ok(Offset(7))),
            ("~mpe.3", Ok(Offset(3))),
            ("~mpe.7?", Err(Returned::Doubtful)),
            ("~mpf.7", Err(Returned::Epoch)),
            ("7", Err(Returned::Offset)),
            ("a text of the application", Err(Returned::Offset)),
        ] {
            assert_eq!(since(offset, &Record::of_ada()), expected, "{offset}");
        }
    }
    #[tokio::test(start_paused = true)]
    async fn who_could_not_be_let_in_at_that_moment_lost_its_session_for_good() {
        let shared = Shared::new();
        let node = shared.node("ada~1");
        let pid: SecretString = "a secret".into();
        shared.write(&key_of(&pid), &node.record(1).ended()).await;
        let namespace = Arc::clone(&node.sockets.namespaces["/"]);
        for tries in 1..=2 {
            let taken = node.sockets.take_session(&namespace, pid.clone(), None, "").await;
            let Returning { record, written, .. } = taken.expect("it waits for its client");
            let here = shared.read(&key_of(&pid)).await.expect("it is taken");
            assert_eq!((here.tries, here.ended), (0, false), "who gets in has tried in vain for the last time");
            node.sockets.put_back(&namespace, record, written).await;
            let waits = shared.read(&key_of(&pid)).await.expect("it waits again");
            assert_eq!((waits.tries, waits.ended), (tries, true));
        }
    }
}
