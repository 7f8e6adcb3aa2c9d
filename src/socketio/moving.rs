//! A connection that moves to another node with its WebSocket: what the one packs, and what the other makes of it.
//!
//! The other node takes it in twice. First it prepares ([`Connection::arrive`]): backends find the sockets there, and they
//! listen to the rooms without history, whose events are held back. Only then the first node lets go ([`Connection::depart`]),
//! so that no event falls between the two but what is still on its way to the first; and says where it stands in rooms with
//! history, from where the other one recovers ([`Connection::settle`]).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use super::acks::Owing;
use super::connection::Socket;
use super::sockets::Room;
use super::{Connection, SocketIo};
use crate::engineio::{CloseReason, Handover};
use crate::hub::{Outbox, Profile};
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::socketio::Message;
use crate::protocol::{Channel, Offset};
use crate::relay::{Outcome, Since, Wish, event_frames};
use crate::settings::SocketIoNamespace;

/// A connection as it goes over the backplane.
#[derive(Serialize, Deserialize)]
struct Packed {
    headers: Vec<(String, String)>,
    sockets: Vec<PackedSocket>,
    /// What has come of a packet whose attachments have not all come.
    half: Vec<Piece>,
}

#[derive(Serialize, Deserialize)]
struct PackedSocket {
    namespace: String,
    id: Uuid,
    user: String,
    meta: Option<String>,
    /// Clocks differ.
    expires_in: Option<Duration>,
    issued_at: u32,
    token: Option<Uuid>,
    connected_at: i64,
    rooms: Vec<PackedRoom>,
    owes: Vec<Owing>,
}

#[derive(Serialize, Deserialize)]
struct PackedRoom {
    channel: String,
    /// Where it is in for a time only.
    #[serde(default)]
    expires_in: Option<Duration>,
    /// Where it stands, once it has left.
    position: Option<(u64, String)>,
}

/// A socket on its way, and its rooms.
pub(super) struct Coming {
    id: Uuid,
    rooms: Vec<Channel>,
}

#[derive(Serialize, Deserialize)]
enum Piece {
    Text(String),
    /// In base64.
    Binary(String),
}

impl PackedRoom {
    fn of(room: &Room) -> Self {
        let expires_in = room.expires_at().map(|at| at.saturating_duration_since(Instant::now()));
        Self { channel: room.channel().to_string(), expires_in, position: None }
    }

    fn expires_at(&self) -> Option<Instant> {
        self.expires_in.map(|within| Instant::now() + within)
    }
}

impl Piece {
    fn of(message: Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(String::from_utf8_lossy(&text).into_owned()),
            Message::Binary(binary) => Self::Binary(BASE64_STANDARD.encode(binary)),
        }
    }

    fn message(self) -> Option<Message> {
        match self {
            Self::Text(text) => Some(Message::Text(text.into())),
            Self::Binary(binary) => Some(Message::Binary(BASE64_STANDARD.decode(binary).ok()?.into())),
        }
    }
}

impl Socket {
    fn packed(&self, rooms: Vec<PackedRoom>, owes: Vec<Owing>) -> PackedSocket {
        let now = Instant::now();
        PackedSocket {
            namespace: self.namespace.name.to_string(),
            id: self.id,
            user: self.user.to_string(),
            meta: self.meta.as_ref().map(|meta| String::from_utf8_lossy(meta).into_owned()),
            expires_in: self.expires_at.map(|at| at.saturating_duration_since(now)),
            issued_at: self.issued_at,
            token: self.borne.as_ref().map(|borne| Uuid::from_u128(borne.id())),
            connected_at: self.connected_at,
            rooms,
            owes,
        }
    }
}

impl Connection {
    /// What its client may come back to is written by the node that has it. Who is in no namespace yet may be about to come
    /// into one of those.
    pub(super) fn may_leave_node(&self) -> bool {
        let stays = |namespace: &SocketIoNamespace| namespace.recovery.is_some();
        match self.sockets.is_empty() {
            true => !self.shared.has_sessions(),
            false => !self.sockets.iter().any(|socket| stays(&socket.namespace)),
        }
    }

    /// What another node needs to prepare for the connection, which stays here.
    pub(super) fn packed(&self) -> Vec<u8> {
        let rooms = |socket: &Socket| socket.rooms.iter().map(PackedRoom::of).collect();
        let sockets = self.sockets.iter().map(|socket| socket.packed(rooms(socket), Vec::new())).collect();
        pack(&Packed { headers: self.headers.clone(), sockets, half: Vec::new() })
    }

    /// Lets go of everything. What services have not acknowledged yet comes later.
    pub(super) async fn leave_node(mut self) -> (Vec<u8>, BoxStream<'static, Bytes>) {
        // What its client emits from now on must not overtake it.
        self.relay_last().await;
        let mut sockets = Vec::with_capacity(self.sockets.len());
        for mut socket in std::mem::take(&mut self.sockets) {
            let mut rooms = Vec::with_capacity(socket.rooms.len());
            for room in std::mem::take(&mut socket.rooms) {
                let packed = PackedRoom::of(&room);
                let position = Arc::clone(&self.shared).move_out(&socket, room).await;
                let position = position.map(|position| (position.offset.0, position.epoch.as_str().to_owned()));
                rooms.push(PackedRoom { position, ..packed });
            }
            let owes = self.shared.acks.take_owed(socket.id);
            sockets.push(socket.packed(rooms, owes));
        }
        let half = self.decoder.half().into_iter().map(Piece::of).collect();
        let packed = pack(&Packed { headers: std::mem::take(&mut self.headers), sockets, half });
        let late = match self.answers.take() {
            Some(answers) => answers.filter_map(async |packet| Some(packet?.frames())).boxed(),
            None => stream::empty().boxed(),
        };
        (packed, late)
    }

    /// Prepares for a connection that another node still has.
    pub(super) async fn arrive(shared: Arc<SocketIo>, outbox: Arc<Outbox>, packed: &[u8]) -> Option<Self> {
        let Packed { headers, sockets, .. } = unpack(packed)?;
        let mut connection = Self::with(shared, outbox, headers);
        connection.expect(&sockets);
        for socket in sockets {
            connection.take_in(socket).await?;
        }
        Some(connection)
    }

    /// Notes which rooms sockets are in that are not here yet.
    fn expect(&mut self, sockets: &[PackedSocket]) {
        let max_length = self.shared.services.channel.max_length;
        let coming = |socket: &PackedSocket| {
            let rooms = socket.rooms.iter().filter_map(|room| Channel::parse(&room.channel, max_length).ok());
            Coming { id: socket.id, rooms: rooms.collect() }
        };
        self.coming = sockets.iter().map(coming).collect();
    }

    /// The rooms of a socket that has come from another node without them.
    pub(super) fn left_behind(&self, socket: &Socket) -> Vec<Channel> {
        let coming = self.coming.iter().find(|coming| coming.id == socket.id);
        let is_here = |room: &&Channel| socket.rooms.iter().any(|here| here.channel() == *room);
        coming.into_iter().flat_map(|coming| &coming.rooms).filter(|room| !is_here(room)).cloned().collect()
    }

    async fn take_in(&mut self, packed: PackedSocket) -> Option<()> {
        let shared = Arc::clone(&self.shared);
        let services = &shared.services;
        let namespace = Arc::clone(shared.namespaces.get(&*packed.namespace)?);
        // Its client has come into this namespace since it was asked whether the session may move.
        if namespace.recovery.is_some() {
            return None;
        }
        let place = services.take_place(&packed.user, packed.id, &self.outbox).await.ok()?;
        let user: Arc<str> = packed.user.into();
        let profile = Profile { name: "socket.io".into(), connected_at: packed.connected_at, ..Profile::default() };
        let known = services.connections.know(Arc::clone(&user), packed.id, &self.outbox, profile);
        let entry = shared.sockets.enter(&namespace.name, packed.id, &user, &self.outbox)?;
        self.sockets.reserve_exact(1);
        self.sockets.push(Socket {
            namespace,
            id: packed.id,
            entry,
            user,
            meta: packed.meta.map(Bytes::from),
            expires_at: packed.expires_in.map(|within| Instant::now() + within),
            issued_at: packed.issued_at,
            borne: packed.token.map(|id| services.revocations.bear(id.as_u128(), &self.outbox)),
            connected_at: packed.connected_at,
            rooms: Vec::new(),
            session: None,
            known,
            place,
        });
        let index = self.sockets.len() - 1;
        // Those with history are entered from where the other node leaves them.
        if self.sockets[index].namespace.rooms.as_ref().is_some_and(|rooms| rooms.history.is_none()) {
            for room in packed.rooms {
                let channel = Channel::parse(&room.channel, shared.services.channel.max_length).ok()?;
                self.move_in(index, &channel, None, room.expires_at()).await.ok()?;
            }
        }
        Some(())
    }

    /// Goes on from where the other node has left the connection.
    pub(super) async fn go_on(&mut self, handover: Handover) -> Result<(), CloseReason> {
        let Handover { packed, frames, known, .. } = handover;
        let Packed { sockets, half, .. } = unpack(&packed).ok_or(DisconnectCode::ForceReconnect)?;
        self.expect(&sockets);
        frames.iter().for_each(|frame| self.outbox.reply(frame.clone()));
        // What came to both is in both, once each.
        self.outbox.forget_held(&frames[known..]);
        self.sockets.retain(|socket| sockets.iter().any(|packed| packed.id == socket.id));
        for packed in sockets {
            let Some(index) = self.sockets.iter().position(|socket| socket.id == packed.id) else {
                return Err(DisconnectCode::ForceReconnect.into());
            };
            self.sockets[index]
                .rooms
                .retain(|room| packed.rooms.iter().any(|kept| kept.channel == room.channel().as_str()));
            for room in packed.rooms {
                let max_length = self.shared.services.channel.max_length;
                let channel = Channel::parse(&room.channel, max_length).map_err(|_| DisconnectCode::ForceReconnect)?;
                let expires_at = room.expires_at();
                let since = room.position.map(|(offset, epoch)| Since { offset: Offset(offset), epoch });
                self.move_in(index, &channel, since, expires_at).await?;
            }
            packed.owes.into_iter().for_each(|owing| self.shared.acks.owe_on(packed.id, owing));
        }
        self.coming = Box::default();
        for message in half.into_iter().filter_map(Piece::message) {
            self.decoder.take(message)?;
        }
        // It may have been revoked before anybody could know that it is here.
        self.recheck().await;
        self.rest();
        Ok(())
    }

    /// Enters a socket into a room that it was in at another node, from there on where the channel keeps history. Services
    /// are not told: it was there all the time.
    async fn move_in(
        &mut self,
        index: usize,
        channel: &Channel,
        since: Option<Since>,
        expires_at: Option<Instant>,
    ) -> Result<(), CloseReason> {
        let services = Arc::clone(&self.shared.services);
        let socket = &mut self.sockets[index];
        let Some(rooms) = socket.namespace.rooms.clone() else { return Ok(()) };
        if socket.rooms.iter().any(|room| room.channel() == channel) {
            return Ok(());
        }
        let wish = Wish {
            since,
            positioned: rooms.history.is_some(),
            max_publications: usize::MAX,
            max_bytes: usize::MAX,
            ..Wish::default()
        };
        let joined = services.relay.join(channel, &rooms, &wish, &self.outbox).await.map_err(|error| {
            debug!(socket = %socket.id, %channel, "closing: could not join: {error}");
            CloseReason::from(DisconnectCode::ForceReconnect)
        })?;
        let missed = match joined.outcome {
            Outcome::Fresh => Vec::new(),
            Outcome::Recovered(missed) => missed,
            Outcome::Refused(refusal) => {
                debug!(socket = %socket.id, %channel, "closing: what it missed while it moved is lost: {refusal}");
                return Err(DisconnectCode::InsufficientState.into());
            }
        };
        missed.iter().filter_map(|message| event_frames(&rooms, message)).for_each(|frames| self.outbox.reply(frames));
        socket.rooms.reserve_exact(1);
        let (mut room, first) = socket.entry.join(joined.membership, Offset::NONE);
        room.expire_at(expires_at);
        socket.rooms.push(room);
        Arc::clone(&self.shared).tell_moved_in(&self.sockets[index], channel, first).await;
        Ok(())
    }
}

fn pack(packed: &Packed) -> Vec<u8> {
    serde_json::to_vec(packed).unwrap_or_default()
}

fn unpack(packed: &[u8]) -> Option<Packed> {
    serde_json::from_slice(packed).ok()
}
