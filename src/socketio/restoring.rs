//! Who has taken its session is put where it was: in its rooms, with what it missed, or not at all.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::call::{Call, Selection, Target, Verb, What};
use super::record::Record;
use super::returning::Returning;
use super::sessions::Session;
use super::sockets::{Entry, Room};
use super::{SocketIo, rooms};
use crate::backplane::Stored;
use crate::hub::Outbox;
use crate::protocol::socketio::{Arguments, Body, Packet, Stand};
use crate::protocol::{Channel, Epoch, Offset, Position};
use crate::relay::{Membership, MissedError, NotLetIn, Refusal, Wish};
use crate::settings::{Namespace, SocketIoNamespace};
use crate::telemetry::Returned;

/// Who has come back.
pub(super) struct Restored {
    pub(super) record: Record,
    pub(super) entry: Arc<Entry>,
    pub(super) rooms: Vec<(Room, bool)>,
    pub(super) session: Box<Session>,
    /// What it missed, as frames, in order.
    pub(super) missed: Vec<Bytes>,
}

impl SocketIo {
    /// Puts a client where it was, unless something that it missed cannot be had. Deliveries must be held back meanwhile.
    pub(super) async fn restore(
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
            let (mut room, first) = entry.join(membership, *since);
            room.expire_at(record.expiry(name));
            rooms.push((room, first));
        }
        let epoch = Epoch::new(&record.epoch);
        let relay = &self.services.relay;
        let through = {
            let all: Vec<_> = rooms.iter().map(|(room, _)| room.membership()).chain([&events]).collect();
            let since = Position { offset: offset.unwrap_or_default(), epoch: epoch.clone() };
            relay.let_in(&all, &since).await?
        };
        let mut missed = Missed { room: self.services.client.queue_max_size / 2, frames: Vec::new() };
        let mut miss = |offset, event: &Arguments| missed.take(offset, frames(namespace, &epoch, offset, event));
        for (of, _) in &rooms {
            let since = of.since().max(offset.unwrap_or_default());
            let take = |message: Stored| miss(message.offset, &Arguments::of_publication(&message.data));
            relay.missed(of.membership(), since, &through, take).await?;
        }
        let since = record.events.max(offset.unwrap_or_default());
        let mut unread = false;
        let take = |message: Stored| {
            let event = self.event_for(record, &message);
            unread |= event.is_err();
            event.ok().flatten().map_or(Ok(()), |event| miss(message.offset, &event))
        };
        relay.missed(&events, since, &through, take).await?;
        if unread {
            return Err(Returned::NotUnderstood);
        }
        let missed = missed.in_order();
        let session =
            Session { written: Some(written.clone()), epoch, events, since: record.events, left: record.left };
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

/// What somebody missed, of all of its rooms.
struct Missed {
    /// Bytes that may come to it yet.
    room: usize,
    frames: Vec<(Offset, Bytes)>,
}

impl Missed {
    fn take(&mut self, offset: Offset, frames: Bytes) -> Result<(), Refusal> {
        self.room = self.room.checked_sub(frames.len()).ok_or(Refusal::Limit)?;
        self.frames.push((offset, frames));
        Ok(())
    }

    fn in_order(mut self) -> Vec<Bytes> {
        self.frames.sort_by_key(|(offset, _)| *offset);
        self.frames.into_iter().map(|(_, frames)| frames).collect()
    }
}

/// What was stored is not an event that this node can read.
struct NotRead;

/// An event that was missed. Whoever has it has all before it.
fn frames(namespace: &SocketIoNamespace, epoch: &Epoch, offset: Offset, arguments: &Arguments) -> Bytes {
    let stand = Stand { position: Position { offset, epoch: epoch.clone() }, doubtful: false };
    let arguments = arguments.followed_by(&stand.to_string());
    Packet { namespace: namespace.name.to_string().into(), body: Body::Event { id: None, arguments } }.frames()
}

impl SocketIo {
    /// An event that is not for one room, where a socket would have got it.
    fn event_for(&self, record: &Record, message: &Stored) -> Result<Option<Arguments>, NotRead> {
        let call = str::from_utf8(&message.data).ok().and_then(|json| self.read(Verb::Emit, json).ok());
        let Some(Call { target, what: What::Emit(emit) }) = call else { return Err(NotRead) };
        let was_for = *target.namespace.name == *record.namespace && is_for(&target, record, message.offset);
        Ok(was_for.then_some(emit.arguments))
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
            NotLetIn::Ahead => Self::Offset,
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
    use uuid::Uuid;

    use super::*;

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
            assert_eq!(is_for(&target(to, except), &Record::of_ada(), Offset(at)), expected, "{rooms:?} {at}");
        }
    }

    fn namespace() -> SocketIoNamespace {
        let settings =
            crate::settings::Settings::from_toml("[socketio]\nnamespaces = [{ name = \"/\" }]").expect("valid");
        SocketIoNamespace::clone(&settings.socketio.namespaces[0])
    }
}
