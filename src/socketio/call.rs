//! What backends ask of sockets, in JSON: of those of one namespace, wherever they are.
//!
//! The node that is asked checks a call and passes it on as it came; each reads it in the same way.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{SocketIo, rooms};
use crate::backplane::Outgoing;
use crate::protocol::Channel;
use crate::protocol::socketio::{Arguments, MAIN_NAMESPACE, PacketError};
use crate::settings::SocketIoNamespace;

/// How long clients may be waited for at most.
pub const LONGEST_ACK: Duration = Duration::from_secs(20);
/// Rooms that one call may join or leave.
pub const MAX_ROOMS: usize = 100;

/// What is done with sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    Emit,
    Join,
    Leave,
    Disconnect,
    Sockets,
}

/// A call that was checked.
pub struct Call {
    pub(super) target: Target,
    pub(super) what: What,
}

/// Which sockets are meant: those of `to`, without those of `except`, each once.
pub(super) struct Target {
    pub(super) namespace: Arc<SocketIoNamespace>,
    /// Everybody in the namespace, where it is empty.
    pub(super) to: Selection,
    pub(super) except: Selection,
}

/// Whoever is in one of the rooms, or is one of the users, or one of the sockets.
#[derive(Default)]
pub(super) struct Selection {
    pub(super) rooms: Vec<Channel>,
    pub(super) users: Vec<String>,
    pub(super) sockets: Vec<Uuid>,
}

pub(super) enum What {
    Emit(Emit),
    Join(Vec<Channel>),
    Leave(Vec<Channel>),
    /// The whole connection, where wanted, or the namespace alone.
    Disconnect {
        close: bool,
    },
    Sockets,
}

/// An event for clients.
pub(super) struct Emit {
    pub(super) arguments: Arguments,
    /// Only for whom nothing waits.
    pub(super) volatile: bool,
    /// How long their acknowledgements are waited for; `None` asks for none.
    pub(super) ack_within: Option<Duration>,
}

/// Why a call makes no sense, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("{0}")]
    Json(String),
    #[error("namespace: {0:?} is not one of socketio.namespaces")]
    Namespace(String),
    #[error("{field}: the namespace has no rooms (socketio.namespaces, rooms)")]
    NoRooms { field: &'static str },
    #[error("{field}: {room:?} cannot be a room's name")]
    Room { field: &'static str, room: String },
    #[error("{field}: nobody is in this list (left out, it means everybody)")]
    Nobody { field: &'static str },
    #[error("rooms: {count} given, 1 to {MAX_ROOMS} are allowed")]
    Rooms { count: usize },
    #[error("event: not set (a JSON array, the event's name first)")]
    NoEvent,
    #[error("event: {0}")]
    Event(#[from] PacketError),
    #[error("attachments: not base64")]
    Attachments,
    #[error("ack_timeout_ms: {0}, at most {max} is allowed", max = LONGEST_ACK.as_millis())]
    AckTimeout(u64),
}

/// A call as it is written. What is misspelt must not be left out: without `to` everybody is meant.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenCall {
    pub(super) namespace: String,
    pub(super) to: WrittenSelection,
    pub(super) except: WrittenSelection,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<Box<RawValue>>,
    /// What its placeholders stand for, in base64.
    pub(super) attachments: Vec<String>,
    pub(super) volatile: bool,
    /// 0 asks for no acknowledgement.
    pub(super) ack_timeout_ms: u64,
    /// To join or leave.
    pub rooms: Vec<String>,
    /// The connection, not the namespace alone.
    pub close: bool,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenSelection {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub(super) rooms: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub(super) users: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub(super) sockets: Option<Vec<Uuid>>,
}

/// A list, and not `null`: that would be as if nothing was said.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

impl Default for WrittenCall {
    fn default() -> Self {
        Self {
            namespace: MAIN_NAMESPACE.to_owned(),
            to: WrittenSelection::default(),
            except: WrittenSelection::default(),
            event: None,
            attachments: Vec::new(),
            volatile: false,
            ack_timeout_ms: 0,
            rooms: Vec::new(),
            close: false,
        }
    }
}

impl SocketIo {
    /// Reads a call.
    ///
    /// # Errors
    /// See [`Wrong`].
    pub fn read(&self, verb: Verb, json: &str) -> Result<Call, Wrong> {
        let mut written: WrittenCall = serde_json::from_str(json).map_err(|error| Wrong::Json(error.to_string()))?;
        let Some(namespace) = self.namespaces.get(&*written.namespace).map(Arc::clone) else {
            return Err(Wrong::Namespace(written.namespace));
        };
        if let Some(field) = written.to.names_nobody() {
            return Err(Wrong::Nobody { field });
        }
        let to = self.selection(&namespace, std::mem::take(&mut written.to), "to.rooms")?;
        let except = self.selection(&namespace, std::mem::take(&mut written.except), "except.rooms")?;
        let what = match verb {
            Verb::Emit => What::Emit(written.emit()?),
            Verb::Join => What::Join(self.rooms(&namespace, &written.rooms)?),
            Verb::Leave => What::Leave(self.rooms(&namespace, &written.rooms)?),
            Verb::Disconnect => What::Disconnect { close: written.close },
            Verb::Sockets => What::Sockets,
        };
        Ok(Call { target: Target { namespace, to, except }, what })
    }

    fn selection(
        &self,
        namespace: &SocketIoNamespace,
        written: WrittenSelection,
        field: &'static str,
    ) -> Result<Selection, Wrong> {
        let rooms = self.channels(namespace, &written.rooms.unwrap_or_default(), field)?;
        let (users, sockets) = (written.users.unwrap_or_default(), written.sockets.unwrap_or_default());
        Ok(Selection { rooms, users, sockets })
    }

    /// The rooms that are to be joined, or left.
    fn rooms(&self, namespace: &SocketIoNamespace, rooms: &[String]) -> Result<Vec<Channel>, Wrong> {
        if !(1..=MAX_ROOMS).contains(&rooms.len()) {
            return Err(Wrong::Rooms { count: rooms.len() });
        }
        self.channels(namespace, rooms, "rooms")
    }

    fn channels(
        &self,
        namespace: &SocketIoNamespace,
        rooms: &[String],
        field: &'static str,
    ) -> Result<Vec<Channel>, Wrong> {
        if namespace.rooms.is_none() && !rooms.is_empty() {
            return Err(Wrong::NoRooms { field });
        }
        let max_length = self.services.channel.max_length;
        let channel = |room: &String| {
            rooms::channel(namespace, room, max_length).ok_or_else(|| Wrong::Room { field, room: room.clone() })
        };
        rooms.iter().map(channel).collect()
    }
}

impl WrittenCall {
    /// To emit an event, and to ask for acknowledgements where they are waited for; `None` for what is no JSON.
    #[must_use]
    pub fn emitting(self, event: &Arguments, volatile: bool, ack_within: Duration) -> Option<Self> {
        let attachments = event.attachments().iter().map(|bytes| BASE64_STANDARD.encode(bytes)).collect();
        let event = Some(serde_json::from_slice(event.json()).ok()?);
        let ack_timeout_ms = u64::try_from(ack_within.as_millis()).ok()?;
        Some(Self { event, attachments, volatile, ack_timeout_ms, ..self })
    }

    fn emit(self) -> Result<Emit, Wrong> {
        let event = self.event.ok_or(Wrong::NoEvent)?;
        let attachments = self.attachments.iter().map(|text| BASE64_STANDARD.decode(text).map(Bytes::from));
        let attachments = attachments.collect::<Result<_, _>>().map_err(|_| Wrong::Attachments)?;
        let arguments = Arguments::event(&Bytes::copy_from_slice(event.get().as_bytes()), attachments)?;
        let within = Duration::from_millis(self.ack_timeout_ms);
        if within > LONGEST_ACK {
            return Err(Wrong::AckTimeout(self.ack_timeout_ms));
        }
        Ok(Emit { arguments, volatile: self.volatile, ack_within: Some(within).filter(|within| !within.is_zero()) })
    }
}

impl WrittenSelection {
    pub(super) const fn is_empty(&self) -> bool {
        self.rooms.is_none() && self.users.is_none() && self.sockets.is_none()
    }

    /// The list that has nobody in it, where no other has. As if it had not been there it would mean everybody.
    fn names_nobody(&self) -> Option<&'static str> {
        let counts = [
            ("to.rooms", self.rooms.as_ref().map(Vec::len)),
            ("to.users", self.users.as_ref().map(Vec::len)),
            ("to.sockets", self.sockets.as_ref().map(Vec::len)),
        ];
        let names_somebody = counts.iter().any(|(_, count)| count.is_some_and(|count| count > 0));
        let empty = counts.into_iter().find(|(_, count)| *count == Some(0));
        empty.filter(|_| !names_somebody).map(|(field, _)| field)
    }
}

impl Selection {
    pub(super) const fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.users.is_empty() && self.sockets.is_empty()
    }
}

impl Call {
    /// An event that is for exactly one room, and the channel that this is: published there it reaches everybody who
    /// listens, in the channel's order.
    #[must_use]
    pub fn publication(&self) -> Option<(&Channel, &Bytes)> {
        let What::Emit(emit) = &self.what else { return None };
        let Target { to, except, .. } = &self.target;
        let [room] = &to.rooms[..] else { return None };
        let only = to.users.is_empty() && to.sockets.is_empty() && except.is_empty();
        let plain = emit.arguments.attachments().is_empty() && !emit.volatile && emit.ack_within.is_none();
        (only && plain).then(|| (room, emit.arguments.json()))
    }

    /// The channel in which this event, as `json`, is published where clients may come back and it is not for one room
    /// alone: whoever was meant and away gets it then, unless it is volatile.
    #[must_use]
    pub fn addressed(&self, json: &str) -> Option<(Channel, Outgoing)> {
        let What::Emit(emit) = &self.what else { return None };
        let namespace = &self.target.namespace;
        let rooms = namespace.rooms.as_ref().filter(|_| namespace.recovery.is_some() && emit.ack_within.is_none())?;
        let data = Bytes::copy_from_slice(json.as_bytes());
        let message = Outgoing { data, skip_history: emit.volatile, ..Outgoing::default() };
        Some((Channel::of_events(&rooms.name), message))
    }

    /// How long acknowledgements are waited for, where any is asked for.
    #[must_use]
    pub const fn ack_within(&self) -> Option<Duration> {
        match &self.what {
            What::Emit(emit) => emit.ack_within,
            What::Join(_) | What::Leave(_) | What::Disconnect { .. } | What::Sockets => None,
        }
    }
}
