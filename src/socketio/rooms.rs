//! Rooms: channels in which every publication is an event.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::Connection;
use crate::engineio::CloseReason;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::{Channel, Offset, Position};
use crate::relay::Wish;
use crate::settings::SocketIoNamespace;

impl Connection {
    /// Enters the newest socket into what its token names, and into the rooms of everybody.
    pub(super) async fn join_first(&mut self, granted: Vec<String>) -> Result<(), CloseReason> {
        let Some(socket) = self.sockets.len().checked_sub(1) else { return Ok(()) };
        let namespace = Arc::clone(&self.sockets[socket].namespace);
        let max_length = self.shared.services.channel.max_length;
        let granted = granted.iter().filter_map(|name| Channel::parse(name, max_length).ok());
        let of_everybody = namespace.join.iter().filter_map(|room| channel(&namespace, room, max_length));
        let channels: Vec<_> = granted.filter(|channel| is_room(&namespace, channel)).chain(of_everybody).collect();
        for channel in channels {
            self.join(socket, &channel, None).await?;
        }
        Ok(())
    }

    /// Enters a socket into a room, if it is not there, for as long as it likes or until its time is over.
    pub(super) async fn join(
        &mut self,
        index: usize,
        channel: &Channel,
        expires_at: Option<Instant>,
    ) -> Result<(), CloseReason> {
        let services = Arc::clone(&self.shared.services);
        let socket = &mut self.sockets[index];
        let Some(rooms) = socket.namespace.rooms.clone() else { return Ok(()) };
        if socket.rooms.iter().any(|room| room.channel() == channel) {
            return Ok(());
        }
        if socket.rooms.len() >= services.client.channel_limit {
            warn!(socket = %socket.id, %channel, "closing: more rooms than client.channel_limit");
            return Err(DisconnectCode::ChannelLimit.into());
        }
        // Events for several rooms are told by this, too, from those before it was in: its room may have been quiet for long.
        let passed = services.relay.stands(&rooms.name);
        let wish = Wish { positioned: rooms.history.is_some(), ..Wish::default() };
        let joined = services.relay.join(channel, &rooms, &wish, &self.outbox).await.map_err(|error| {
            debug!(socket = %socket.id, %channel, "closing: could not join: {error}");
            CloseReason::from(DisconnectCode::ForceReconnect)
        })?;
        let position = joined.position;
        let epoch = socket.session.as_ref().map(|session| &session.epoch);
        if epoch.is_some_and(|epoch| position.as_ref().is_none_or(|position| position.epoch != *epoch)) {
            debug!(socket = %socket.id, %channel, "closing: the history began anew since it came");
            return Err(DisconnectCode::InsufficientState.into());
        }
        socket.rooms.reserve_exact(1);
        let since = position.map_or(Offset::NONE, |Position { offset, epoch }| {
            passed.filter(|passed| passed.epoch == epoch).map_or(offset, |passed| passed.offset.max(offset))
        });
        let (mut room, first) = socket.entry.join(joined.membership, since);
        room.expire_at(expires_at);
        socket.rooms.push(room);
        // Nothing is delivered there before it is known that it is there.
        self.note_rooms(index).await?;
        drop(joined.hold);
        Arc::clone(&self.shared).tell_join(&self.sockets[index], channel, first).await;
        Ok(())
    }

    /// Writes in which rooms a socket is, for when its client comes back.
    pub(super) async fn note_rooms(&mut self, index: usize) -> Result<(), CloseReason> {
        let shared = Arc::clone(&self.shared);
        shared.note_rooms(&mut self.sockets[index]).await.map_err(|error| {
            debug!("closing, its client comes again: {error}");
            DisconnectCode::ForceReconnect.into()
        })
    }

    /// The channel that a room is, where the socket is in it.
    pub(super) fn room_of(&self, socket: usize, room: &str) -> Option<Channel> {
        let socket = &self.sockets[socket];
        let channel = channel(&socket.namespace, room, self.shared.services.channel.max_length)?;
        socket.rooms.iter().any(|room| *room.channel() == channel).then_some(channel)
    }
}

/// The channel that a room is.
pub(super) fn channel(namespace: &SocketIoNamespace, room: &str, max_length: usize) -> Option<Channel> {
    let rooms = namespace.rooms.as_ref()?;
    let name = if rooms.name.is_empty() { room.to_owned() } else { format!("{}:{room}", rooms.name) };
    parse(namespace, &name, max_length)
}

/// The room that a channel is, by the channel's whole name.
pub(super) fn parse(namespace: &SocketIoNamespace, name: &str, max_length: usize) -> Option<Channel> {
    Channel::parse(name, max_length).ok().filter(|channel| is_room(namespace, channel))
}

/// Whether a channel is a room of the namespace.
fn is_room(namespace: &SocketIoNamespace, channel: &Channel) -> bool {
    namespace.rooms.as_ref().is_some_and(|rooms| *rooms.name == *channel.namespace())
}
