//! What services are told of sockets, and operators who watch: that they come and go, and into which rooms.

use bytes::Bytes;
use serde_json::json;
use tracing::debug;
use uuid::Uuid;

use super::connection::Socket;
use super::events::Event;
use super::gone::Gone;
use super::record::Record;
use super::sockets::Room;
use super::{SocketIo, subject};
use crate::protocol::centrifuge::Format;
use crate::protocol::{Channel, Position};
use crate::settings::{SocketIoNamespace, SocketIoNotice as Notice};
use crate::telemetry::NoticeResult;
use crate::watch::What;

/// Why a socket is gone whose client has come again, as servers of this protocol call it.
const LOST: &str = "transport close";

impl SocketIo {
    /// A client has come into a namespace. What it is sent for that waits until it knows.
    pub(super) async fn tell_connect(&self, socket: &Socket) {
        self.seen(socket, || What::Connected { transport: Format::SocketIo.transport().to_owned() });
        self.tell(socket, Notice::Connect, None).await;
    }

    /// A socket is there no more. Its session ends first, then it leaves its rooms. One whose client has returned to its session
    /// is the same socket elsewhere, and services are not told that it is gone.
    pub(super) async fn depart(&self, mut socket: Socket, gone: &Gone<'_>) {
        let is_ours = self.end_session(&mut socket, gone.may_return()).await;
        let (code, reason) = gone.told();
        for room in std::mem::take(&mut socket.rooms) {
            let channel = || room.channel().to_string();
            self.seen(&socket, || What::Left { channel: channel(), code, reason: reason.to_owned() });
            self.let_go(&mut socket, room).await;
        }
        self.seen(&socket, || What::Closed { code, reason: reason.to_owned() });
        if is_ours {
            self.tell(&socket, Notice::Disconnect, Some(gone.name())).await;
        }
    }

    /// A socket has entered a room, as the first of this node perhaps.
    pub(super) async fn tell_join(&self, socket: &Socket, room: &Channel, first: bool) {
        self.seen(socket, || What::Subscribed { channel: room.to_string() });
        if first {
            self.tell(socket, Notice::Create, Some(room.rest())).await;
        }
        self.tell(socket, Notice::Join, Some(room.rest())).await;
    }

    /// A socket leaves a room, and stays.
    pub(super) async fn leave_room(&self, socket: &mut Socket, room: Room) {
        self.seen(socket, || What::Unsubscribed { channel: room.channel().to_string() });
        self.let_go(socket, room).await;
    }

    /// A socket is in a room no more, as the last of this node perhaps.
    async fn let_go(&self, socket: &mut Socket, room: Room) {
        if let Some(session) = &mut socket.session {
            session.note_left(&room);
        }
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

    /// A socket is over that came from another node, without a room in which it was there.
    pub(super) async fn tell_left(&self, socket: &Socket, room: &Channel) {
        self.tell(socket, Notice::Leave, Some(room.rest())).await;
    }

    /// Tells services, where they are to be told. It goes out before whatever the socket emits next.
    async fn tell(&self, socket: &Socket, notice: Notice, about: Option<&str>) {
        if !self.tells(&socket.namespace, notice) {
            return;
        }
        let subject = subject::notice(&socket.namespace.name, notice);
        let event = Event::notice(socket, subject, name(notice), body(notice, about));
        self.tell_event(socket.id, notice, event).await;
    }

    /// A client has come again and cannot have its session, whose connection had to go without a word for that.
    pub(super) async fn tell_lost(&self, namespace: &SocketIoNamespace, record: &Record) {
        let notice = Notice::Disconnect;
        if self.tells(namespace, notice) {
            let subject = subject::notice(&namespace.name, notice);
            let event = Event::notice_of(record, subject, name(notice), body(notice, Some(LOST)));
            self.tell_event(record.sid, notice, event).await;
        }
    }

    /// A node by itself has no services.
    fn tells(&self, namespace: &SocketIoNamespace, notice: Notice) -> bool {
        namespace.tell.contains(&notice) && self.backplane.requests().is_some()
    }

    async fn tell_event(&self, id: Uuid, notice: Notice, event: Event) {
        let told = event.tell_plainly(self).await;
        let result = if told.is_ok() { NoticeResult::Told } else { NoticeResult::Failed };
        self.services.telemetry.clients.notices.of((notice.into(), result)).increment(1);
        if let Err(error) = told {
            debug!(socket = %id, name = name(notice), "services are not told: {error}");
        }
    }
}

/// A JSON array that begins with the event's name.
fn body(notice: Notice, about: Option<&str>) -> Bytes {
    let name = name(notice);
    about.map_or_else(|| json!([name]), |about| json!([name, about])).to_string().into()
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
