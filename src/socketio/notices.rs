//! What services are told of sockets: that they come and go, and into which rooms.

use bytes::Bytes;
use serde_json::json;
use tracing::debug;

use super::connection::Socket;
use super::events::Event;
use super::sockets::Room;
use super::{SocketIo, subject};
use crate::protocol::{Channel, Position};
use crate::settings::SocketIoNotice as Notice;
use crate::telemetry::NoticeResult;

impl SocketIo {
    /// A client has come into a namespace. What it is sent for that waits until it knows.
    pub(super) async fn tell_connect(&self, socket: &Socket) {
        self.tell(socket, Notice::Connect, None).await;
    }

    /// A socket is there no more, for a reason as servers of this protocol call it. It leaves its rooms first. Its client
    /// `may_return` to its session, or not; one that has is the same socket elsewhere, of which nobody is told that it is gone.
    pub(super) async fn depart(&self, mut socket: Socket, reason: &str, may_return: bool) {
        let is_ours = self.end_session(&mut socket, may_return).await;
        for room in std::mem::take(&mut socket.rooms) {
            self.leave_room(&socket, room).await;
        }
        if is_ours {
            self.tell(&socket, Notice::Disconnect, Some(reason)).await;
        }
    }

    /// A socket has entered a room, as the first of this node perhaps.
    pub(super) async fn tell_join(&self, socket: &Socket, room: &Channel, first: bool) {
        if first {
            self.tell(socket, Notice::Create, Some(room.rest())).await;
        }
        self.tell(socket, Notice::Join, Some(room.rest())).await;
    }

    /// A socket leaves a room, as the last of this node perhaps.
    pub(super) async fn leave_room(&self, socket: &Socket, room: Room) {
        let channel = room.channel().clone();
        let last = room.leave();
        self.tell(socket, Notice::Leave, Some(channel.rest())).await;
        if last {
            self.tell(socket, Notice::Delete, Some(channel.rest())).await;
        }
    }

    /// A socket leaves a room for another node, where it is in the room as before. Where it stands there; `None` without
    /// history.
    pub(super) async fn move_out(&self, socket: &Socket, room: Room) -> Option<Position> {
        let channel = room.channel().clone();
        let position = room.end();
        if room.leave() {
            self.tell(socket, Notice::Delete, Some(channel.rest())).await;
        }
        position
    }

    /// A socket came with a room from another node, perhaps as the first of this one.
    pub(super) async fn tell_moved_in(&self, socket: &Socket, room: &Channel, first: bool) {
        if first {
            self.tell(socket, Notice::Create, Some(room.rest())).await;
        }
    }

    /// Tells services, where they are to be told. It goes out before whatever the socket emits next.
    async fn tell(&self, socket: &Socket, notice: Notice, about: Option<&str>) {
        // A node by itself has no services.
        if !socket.namespace.tell.contains(&notice) || self.backplane.requests().is_none() {
            return;
        }
        let name = name(notice);
        let body = about.map_or_else(|| json!([name]), |about| json!([name, about])).to_string();
        let subject = subject::notice(&socket.namespace.name, notice);
        let told = Event::notice(socket, subject, name, Bytes::from(body)).tell_plainly(self).await;
        let result = if told.is_ok() { NoticeResult::Told } else { NoticeResult::Failed };
        self.services.telemetry.clients.notices.of((notice.into(), result)).increment(1);
        if let Err(error) = told {
            debug!(socket = %socket.id, name, "services are not told: {error}");
        }
    }
}

/// The event's name, as adapters of this protocol call it.
const fn name(notice: Notice) -> &'static str {
    match notice {
        Notice::Connect => "connect",
        Notice::Disconnect => "disconnect",
        Notice::Join => "join",
        Notice::Leave => "leave",
        Notice::Create => "create",
        Notice::Delete => "delete",
    }
}
