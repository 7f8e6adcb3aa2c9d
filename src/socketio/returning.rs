//! A client comes back to its session: the same socket in the same rooms, which gets what it missed. Or it does not, and
//! is another socket.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tracing::{debug, info};
use uuid::Uuid;

use super::call::{Call, Selection, Target, Verb, What};
use super::giving_up::Yielded;
use super::owed::Ending;
use super::record::{Record, Written, key_of};
use super::sessions::Session;
use super::sockets::{Entry, Room};
use super::{SocketIo, rooms};
use crate::backplane::{Guard, RegistryError, Stored};
use crate::hub::Outbox;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::socketio::{Arguments, Body, Packet, Stand};
use crate::protocol::{Channel, Epoch, Offset, Position};
use crate::relay::{Membership, MissedError, NotLetIn, Refusal, Wish};
use crate::settings::{Namespace, SocketIoNamespace};
use crate::telemetry::{Label, Returned};

/// How often it is tried to take a session that others write.
const ATTEMPTS: u32 = 3;

/// What a client says where it comes again: its session, and what it has of it.
#[derive(Deserialize)]
pub(super) struct Back {
    pid: String,
    offset: Option<String>,
}

/// Somebody who may come back, and whose session is this node's from here on.
struct Returning {
    /// What was written of it before.
    record: Record,
    /// For this connection.
    written: Written,
    /// What its client says that it has.
    offset: Option<Offset>,
}

/// Who has come back.
pub(super) struct Restored {
    record: Record,
    pub(super) entry: Arc<Entry>,
    pub(super) rooms: Vec<(Room, bool)>,
    pub(super) session: Box<Session>,
    /// What it missed, as frames, in order.
    pub(super) missed: Vec<Bytes>,
}

impl SocketIo {
    /// Puts somebody back to where it was; `None` where it has to begin anew.
    ///
    /// # Errors
    /// Where something has come already for the socket that it cannot be any more: its connection has to end.
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
                return Ok(None);
            }
        };
        let restored = Box::pin(self.restore(outbox, namespace, user, &returning)).await;
        self.count_returned(restored.as_ref().err().copied().unwrap_or(Returned::Recovered));
        if restored.is_err() {
            self.forget(namespace, &returning.record, &returning.written).await;
            if outbox.holds_some() {
                return Err(DisconnectCode::ForceReconnect);
            }
        }
        Ok(restored.ok())
    }

    /// Somebody who has come back may not stay: for good, or only for `now`.
    pub(super) async fn send_back(&self, namespace: &SocketIoNamespace, restored: Restored, now: bool) {
        let Restored { record, session, .. } = restored;
        let Some(written) = session.written else { return };
        if now {
            let Written { pid, holder, revision } = written;
            let record = Record { holder, ..record }.ended();
            self.end(Ending { key: key_of(&pid), holder, revision: Some(revision), record: Some(record) }).await;
        } else {
            self.forget(namespace, &record, &written).await;
        }
    }

    /// Takes the session of a client that comes again.
    ///
    /// # Errors
    /// Why it cannot come back. If somebody has the session, they have it still.
    async fn take_session(
        &self,
        namespace: &SocketIoNamespace,
        pid: String,
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
        self.written_for(&key_of(pid), *holder).await.is_ok_and(|found| found == Some(*revision))
    }

    /// `None` where somebody else wrote it meanwhile: that its connection has ended, say.
    async fn try_to_take(
        &self,
        namespace: &SocketIoNamespace,
        pid: &str,
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
        let offset = offset.map(|offset| since(offset, &record)).transpose()?;
        let holder = Uuid::new_v4();
        let taken = Record { life: self.life(), process: self.process, holder, ended: false, ..record.clone() };
        match self.sessions().put(&key, taken.to_bytes(), Guard::Revision(entry.revision), None).await {
            Ok(revision) => {
                let written = Written { pid: pid.to_owned(), holder, revision };
                Ok(Some(Returning { record, written, offset }))
            }
            Err(RegistryError::Conflict(_)) => Ok(None),
            Err(error) => {
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

impl SocketIo {
    /// Puts a client where it was, unless something that it missed cannot be had. Deliveries must be held back meanwhile.
    async fn restore(
        &self,
        outbox: &Arc<Outbox>,
        namespace: &Arc<SocketIoNamespace>,
        user: &Arc<str>,
        returning: &Returning,
    ) -> Result<Restored, Returned> {
        let Returning { record, written, offset } = returning;
        let channels = namespace.rooms.as_ref().ok_or(Returned::Unknown)?;
        let entry = self.sockets.enter(&namespace.name, record.sid, user, outbox).ok_or(Returned::Taken)?;
        let events = self.wait_in(outbox, channels, &Channel::of_events(&channels.name)).await?;
        let mut rooms = Vec::with_capacity(record.rooms.len());
        for (name, since) in &record.rooms {
            let channel = rooms::parse(namespace, name, self.services.channel.max_length);
            let membership = self.wait_in(outbox, channels, &channel.ok_or(Returned::Unknown)?).await?;
            rooms.push(entry.join(membership, *since));
        }
        let epoch = Epoch::new(&record.epoch);
        let relay = &self.services.relay;
        let through = {
            let all: Vec<_> = rooms.iter().map(|(room, _)| room.membership()).chain([&events]).collect();
            let since = Position { offset: offset.unwrap_or_default(), epoch: epoch.clone() };
            relay.let_in(&all, &since).await?
        };
        let mut room = self.services.client.queue_max_size / 2;
        let mut missed = Vec::new();
        for (of, _) in &rooms {
            let since = of.since().max(offset.unwrap_or_default());
            let messages = relay.missed(of.membership(), since, &through, room).await?;
            take_room(&mut room, &messages)?;
            missed.extend(messages.into_iter().map(|message| {
                let arguments = Arguments::of_publication(&message.data);
                (message.offset, arguments)
            }));
        }
        let since = record.events.max(offset.unwrap_or_default());
        let messages = relay.missed(&events, since, &through, room).await?;
        take_room(&mut room, &messages)?;
        missed.extend(messages.iter().filter_map(|message| Some((message.offset, self.missed(record, message)?))));
        missed.sort_by_key(|(offset, _)| *offset);
        let frames = missed.into_iter().map(|(offset, arguments)| frames(namespace, &epoch, offset, &arguments));
        let missed: Vec<_> = frames.collect();
        if missed.iter().map(Bytes::len).sum::<usize>() > self.services.client.queue_max_size / 2 {
            return Err(Returned::TooMuch);
        }
        let session = Session { written: Some(written.clone()), epoch, events, since: record.events };
        Ok(Restored { record: record.clone(), entry, rooms, session: Box::new(session), missed })
    }

    /// Listens to a channel, and gets nothing yet.
    async fn wait_in(
        &self,
        outbox: &Arc<Outbox>,
        namespace: &Arc<Namespace>,
        channel: &Channel,
    ) -> Result<Membership, Returned> {
        let wish = Wish { positioned: true, waits: true, ..Wish::default() };
        let joined = self.services.relay.join(channel, namespace, &wish, outbox).await;
        joined.map(|joined| joined.membership).map_err(|error| {
            debug!(%channel, "could not join: {error}");
            Returned::Unavailable
        })
    }
}

fn take_room(room: &mut usize, messages: &[Stored]) -> Result<(), Returned> {
    let bytes: usize = messages.iter().map(|message| message.data.len()).sum();
    *room = room.checked_sub(bytes).ok_or(Returned::TooMuch)?;
    Ok(())
}

/// An event that was missed. Whoever has it has all before it.
fn frames(namespace: &SocketIoNamespace, epoch: &Epoch, offset: Offset, arguments: &Arguments) -> Bytes {
    let stand = Stand { position: Position { offset, epoch: epoch.clone() }, doubtful: false };
    let arguments = arguments.followed_by(&stand.to_string());
    Packet { namespace: namespace.name.to_string().into(), body: Body::Event { id: None, arguments } }.frames()
}

impl SocketIo {
    /// An event that is not for one room, where a socket would have got it.
    fn missed(&self, record: &Record, message: &Stored) -> Option<Arguments> {
        let json = str::from_utf8(&message.data).ok()?;
        let Ok(Call { target, what: What::Emit(emit) }) = self.read(Verb::Emit, json) else { return None };
        (*target.namespace.name == *record.namespace && is_for(&target, record, message.offset))
            .then_some(emit.arguments)
    }
}

/// Whether an event was for a socket when it was stored.
fn is_for(target: &Target, record: &Record, at: Offset) -> bool {
    let names = |selection: &Selection| {
        let is_in = |room: &Channel| record.rooms.iter().any(|(name, since)| name == room.as_str() && *since < at);
        selection.sockets.contains(&record.sid)
            || (!record.user.is_empty() && selection.users.contains(&record.user))
            || selection.rooms.iter().any(is_in)
    };
    (target.to.is_empty() || names(&target.to)) && !names(&target.except)
}

impl From<NotLetIn> for Returned {
    fn from(error: NotLetIn) -> Self {
        match error {
            NotLetIn::Unknown => Self::Unproven,
            NotLetIn::Epoch => Self::Epoch,
        }
    }
}

impl From<MissedError> for Returned {
    fn from(error: MissedError) -> Self {
        debug!("what was missed cannot be had: {error}");
        match error {
            MissedError::Refused(Refusal::Epoch) => Self::Epoch,
            MissedError::Refused(Refusal::Limit) => Self::TooMuch,
            MissedError::Refused(
                Refusal::Trimmed | Refusal::Removed | Refusal::Expired | Refusal::Ahead | Refusal::Inexact,
            ) => Self::Gone,
            MissedError::Unavailable(_) | MissedError::Busy(_) => Self::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            sid: Uuid::from_u128(7),
            namespace: "/".to_owned(),
            user: "ada".to_owned(),
            life: "node-1~1".to_owned(),
            process: Uuid::nil(),
            holder: Uuid::nil(),
            epoch: "e".to_owned(),
            events: Offset(4),
            rooms: vec![("chat:red".to_owned(), Offset(5)), ("chat:blue".to_owned(), Offset(9))],
            ended: false,
        }
    }

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
            assert_eq!(since(offset, &record()), expected, "{offset}");
        }
    }

    #[test]
    fn an_event_was_for_whoever_it_names_and_does_not_leave_out() {
        let rooms = |names: &[&str]| names.iter().map(|name| Channel::parse(name, 255).expect("a room")).collect();
        let of = |names: &[&str]| Selection { rooms: rooms(names), ..Selection::default() };
        let ada = || Selection { users: vec!["ada".to_owned()], ..Selection::default() };
        let sid = || Selection { sockets: vec![Uuid::from_u128(7)], ..Selection::default() };
        let target = |to, except| Target { namespace: Arc::new(namespace()), to, except };
        for (to, except, at, expected) in [
            (of(&[]), of(&[]), 6, true),
            (of(&["chat:red", "chat:green"]), of(&[]), 6, true),
            (of(&["chat:green"]), of(&[]), 6, false),
            (of(&["chat:blue"]), of(&[]), 9, false),
            (of(&["chat:blue"]), of(&[]), 10, true),
            (of(&["chat:red"]), of(&["chat:blue"]), 10, false),
            (of(&["chat:red"]), of(&["chat:blue"]), 8, true),
            (ada(), of(&[]), 6, true),
            (sid(), of(&[]), 6, true),
            (of(&[]), ada(), 6, false),
            (of(&["chat:red"]), sid(), 6, false),
        ] {
            let rooms = (to.rooms.clone(), except.rooms.clone());
            assert_eq!(is_for(&target(to, except), &record(), Offset(at)), expected, "{rooms:?} {at}");
        }
    }

    fn namespace() -> SocketIoNamespace {
        let settings =
            crate::settings::Settings::from_toml("[socketio]\nnamespaces = [{ name = \"/\" }]").expect("valid");
        SocketIoNamespace::clone(&settings.socketio.namespaces[0])
    }
}
