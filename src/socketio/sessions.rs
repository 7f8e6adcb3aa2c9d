//! Sessions that clients may come back to, of the sockets that are here.
//!
//! A session is written when its client comes and whenever its rooms change, before anything is delivered there: so it is
//! right also where its node is killed. Every write names the one before; of two connections that both take a session for
//! theirs the second to write is refused, and ends. A session whose connection has ended goes by itself after the time in
//! which its client may come back; those of a node that died get that time from whoever cleans up after it (`graves`).

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};
use uuid::Uuid;

use super::SocketIo;
use super::connection::Socket;
use super::owed::Ending;
use super::record::{Record, Written, key_of, moment_for_all, new_pid};
use super::sockets::Room;
use crate::backplane::{Bucket, Guard, Registry, RegistryError, Revision};
use crate::protocol::{Epoch, Offset, Position};
use crate::relay::Membership;
use crate::telemetry::{Label, Unwritten};

/// How long a change of rooms waits to be written: longer than servers take to elect a leader.
const PATIENCE: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(200);

/// The session of a socket that is here.
pub(super) struct Session {
    /// `None` where nobody can come back to it.
    pub(super) written: Option<Written>,
    pub(super) epoch: Epoch,
    /// Events that are not for one room.
    pub(super) events: Membership,
    pub(super) since: Offset,
    /// Up to here something came in rooms that the socket has left.
    pub(super) left: Offset,
}

/// What stands where a connection wrote its session.
pub(super) enum Found {
    Ours(Revision),
    Others,
    /// What nodes share was lost, or the session was ended for good.
    Nothing,
}

/// Why something is not written of a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    #[error("another connection has it now")]
    NotOurs,
    #[error("it is not there any more")]
    Lost,
    /// For good.
    #[error(transparent)]
    Refused(RegistryError),
    #[error(transparent)]
    Unavailable(RegistryError),
}

impl From<RegistryError> for NotWritten {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Refused(_) => Self::Refused(error),
            RegistryError::Conflict(_) | RegistryError::Unavailable(_) => Self::Unavailable(error),
        }
    }
}

impl Session {
    /// One that nobody knows yet.
    pub(super) fn unwritten(events: Membership, position: Position) -> Self {
        let Position { offset, epoch } = position;
        Self { written: None, epoch, events, since: offset, left: Offset::NONE }
    }

    /// The socket leaves a room: what came there, or for several rooms, while it was in nobody can look up any more.
    pub(super) fn note_left(&mut self, room: &Room) {
        let stand = [room.membership(), &self.events].into_iter().filter_map(Membership::had);
        let came = stand.filter(|had| *had > room.since()).max();
        self.left = self.left.max(came.unwrap_or_default());
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

    fn record(&self, socket: &Socket, session: &Session, holder: Uuid) -> Record {
        let until = |room: &Room| Some((room.channel().as_str().to_owned(), moment_for_all(room.expires_at()?)));
        Record {
            sid: socket.id,
            namespace: socket.namespace.name.to_string(),
            user: socket.user.to_string(),
            life: self.life(),
            process: self.process,
            holder,
            epoch: session.epoch.to_string(),
            events: session.since,
            rooms: socket.rooms.iter().map(|room| (room.channel().as_str().to_owned(), room.since())).collect(),
            until: socket.rooms.iter().filter_map(until).collect(),
            left: session.left,
            tries: 0,
            ended: false,
        }
    }

    /// Writes the session of a socket for the first time. Where that fails its client cannot come back, and has no name
    /// for it.
    pub(super) async fn begin_session(&self, socket: &mut Socket) {
        let Some(session) = socket.session.as_deref() else { return };
        let (pid, holder) = (new_pid(), Uuid::new_v4());
        let record = self.record(socket, session, holder).to_bytes();
        let written = self.sessions().put(&key_of(&pid), record, Guard::Absent, None).await;
        match written {
            Ok(revision) => {
                if let Some(session) = &mut socket.session {
                    session.written = Some(Written { pid, holder, revision });
                }
            }
            Err(error) => {
                self.count_unwritten(Unwritten::Begin, &error);
                // It may be there all the same.
                self.owed.push(self, Ending { key: key_of(&pid), holder, revision: None, record: None });
            }
        }
    }

    /// Writes in which rooms a socket is now.
    pub(super) async fn note_rooms(&self, socket: &mut Socket) -> Result<(), NotWritten> {
        let Some(session) = socket.session.as_deref() else { return Ok(()) };
        let Some(written) = &session.written else { return Ok(()) };
        let key = key_of(&written.pid);
        let begun = Instant::now();
        let revision = loop {
            // The node may have another life by now.
            let record = self.record(socket, session, written.holder);
            match self.write_again(&key, &record, None, written.revision).await {
                Ok(revision) => break revision,
                Err(NotWritten::Unavailable(error)) if begun.elapsed() < PATIENCE => {
                    debug!(socket = %socket.id, %error, "rooms are not written yet");
                    sleep(PAUSE).await;
                }
                Err(error) => {
                    if let NotWritten::Unavailable(error) | NotWritten::Refused(error) = &error {
                        self.count_unwritten(Unwritten::Rooms, error);
                    }
                    return Err(error);
                }
            }
        };
        if let Some(written) = socket.session.as_mut().and_then(|session| session.written.as_mut()) {
            written.revision = revision;
        }
        Ok(())
    }

    /// Writes over what was written for the same connection: by itself, or by who took its node for dead. Where nothing is
    /// left of that it is written anew.
    pub(super) async fn write_again(
        &self,
        key: &str,
        record: &Record,
        within: Option<Duration>,
        revision: Revision,
    ) -> Result<Revision, NotWritten> {
        match self.write_over(key, record, within, revision).await {
            Err(NotWritten::Lost) => Ok(self.sessions().put(key, record.to_bytes(), Guard::Absent, within).await?),
            outcome => outcome,
        }
    }

    async fn write_over(
        &self,
        key: &str,
        record: &Record,
        within: Option<Duration>,
        mut revision: Revision,
    ) -> Result<Revision, NotWritten> {
        loop {
            match self.sessions().put(key, record.to_bytes(), Guard::Revision(revision), within).await {
                Err(RegistryError::Conflict(_)) => revision = self.written_since(key, record.holder, revision).await?,
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Where the session of a connection stands that was written over since `revision`.
    pub(super) async fn written_since(
        &self,
        key: &str,
        holder: Uuid,
        revision: Revision,
    ) -> Result<Revision, NotWritten> {
        match self.written_for(key, holder).await? {
            Found::Ours(found) if found != revision => Ok(found),
            Found::Ours(_) | Found::Others => Err(NotWritten::NotOurs),
            Found::Nothing => Err(NotWritten::Lost),
        }
    }

    pub(super) async fn written_for(&self, key: &str, holder: Uuid) -> Result<Found, RegistryError> {
        let found = self.sessions().get(key).await?;
        Ok(found.map_or(Found::Nothing, |entry| {
            let is_ours = Record::from_bytes(&entry.value).is_some_and(|found| found.holder == holder);
            if is_ours { Found::Ours(entry.revision) } else { Found::Others }
        }))
    }

    /// The connection of a socket has ended. Its client `may_return` for a time, or not at all. Whether the session was
    /// still its own.
    pub(super) async fn end_session(&self, socket: &mut Socket, may_return: bool) -> bool {
        let Some(mut session) = socket.session.take() else { return true };
        let Some(Written { pid, holder, revision }) = session.written.take() else { return true };
        let returns = may_return && socket.namespace.recovery.is_some();
        let record = returns.then(|| self.record(socket, &session, holder).ended());
        self.end(Ending { key: key_of(&pid), holder, revision: Some(revision), record }).await
    }

    pub(super) fn count_unwritten(&self, what: Unwritten, error: &RegistryError) {
        self.services.telemetry.clients.unwritten.of(what).increment(1);
        if let Some(left_out) = self.unwritten.due() {
            warn!(what = what.value(), left_out, "a session is not written: {error}");
        }
    }

    /// Whether clients may come back to any.
    pub(super) fn has_sessions(&self) -> bool {
        self.namespaces.values().any(|namespace| namespace.recovery.is_some())
    }

    /// How long clients of a namespace may take to come back. One that another node has, and this one has not, is not
    /// forgotten before others are.
    pub(super) fn within(&self, namespace: &str) -> Duration {
        let own = self.namespaces.get(namespace).and_then(|namespace| namespace.recovery);
        own.or_else(|| self.namespaces.values().filter_map(|namespace| namespace.recovery).max()).unwrap_or_default()
    }
}
