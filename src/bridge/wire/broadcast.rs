//! Events for sockets, as adapters and emitters publish them: `[uid, packet, opts]`.

use rmpv::Value;

use super::{Malformed, member, object, packed, room, rooms, unpacked};

/// The type of an event, with binary data as without: in this format that stands in its place.
pub(super) const EVENT: u64 = 2;
/// What some emitters write for events with binary data.
const BINARY_EVENT: u64 = 5;

/// An event, and for whom it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Broadcast {
    /// Whose it is: each process has another for each namespace, emitters are all called alike.
    pub uid: String,
    pub namespace: String,
    /// The event's name, then its arguments.
    pub data: Vec<Value>,
    /// Everybody where it is empty.
    pub rooms: Vec<String>,
    pub except: Vec<String>,
    pub flags: Flags,
}

/// How it is delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Only to whom can take it at once.
    pub volatile: bool,
}

impl Broadcast {
    /// # Errors
    /// When it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let value = unpacked(bytes)?;
        let Some([uid, packet, opts, ..]) = value.as_array().map(Vec::as_slice) else {
            return Err(Malformed("not an array of an id, a packet and options"));
        };
        let uid = room(uid).ok_or(Malformed("no id"))?;
        let (namespace, data) = event(packet)?;
        let flags = member(opts, "flags");
        let is = |name| flags.and_then(|flags| member(flags, name)).and_then(Value::as_bool).unwrap_or(false);
        Ok(Self {
            uid,
            namespace,
            data,
            rooms: rooms(member(opts, "rooms")),
            except: rooms(member(opts, "except")),
            flags: Flags { volatile: is("volatile") },
        })
    }

    /// As adapters publish it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        packed(&Value::Array(vec![self.uid.as_str().into(), packet(&self.namespace, self.data.clone()), opts(self)]))
    }

    /// The room that its channel names: where there is exactly one, as it is written.
    #[must_use]
    pub fn room(&self) -> Option<&str> {
        match &self.rooms[..] {
            [room] if number(room).is_none() => Some(room),
            _ => None,
        }
    }
}

/// For whom an event is, and how it is delivered.
pub(super) fn opts(broadcast: &Broadcast) -> Value {
    let rooms = |names: &[String]| Value::Array(names.iter().flat_map(|room| named(room)).collect());
    let flags = if broadcast.flags.volatile { object([("volatile", true.into())]) } else { object([]) };
    object([("rooms", rooms(&broadcast.rooms)), ("except", rooms(&broadcast.except)), ("flags", flags)])
}

/// The packet of an event.
pub(super) fn packet(namespace: &str, data: Vec<Value>) -> Value {
    object([("type", EVENT.into()), ("data", Value::Array(data)), ("nsp", namespace.into())])
}

/// The namespace and the data of such a packet.
pub(super) fn event(packet: &Value) -> Result<(String, Vec<Value>), Malformed> {
    match member(packet, "type").and_then(Value::as_u64) {
        Some(EVENT | BINARY_EVENT) => {}
        _ => return Err(Malformed("not an event")),
    }
    let Some(Value::Array(data)) = member(packet, "data") else { return Err(Malformed("an event without data")) };
    let namespace = member(packet, "nsp").and_then(Value::as_str).unwrap_or("/");
    Ok((namespace.to_owned(), data.clone()))
}

/// A room as Node may know it: `join(123)` and `join("123")` are two rooms there, and one here.
fn named(room: &str) -> impl Iterator<Item = Value> {
    std::iter::once(Value::from(room)).chain(number(room).map(Value::from))
}

/// The number whose text this is, where JavaScript writes it so.
fn number(room: &str) -> Option<i64> {
    const EXACT: i64 = 1 << 53;
    let number: i64 = room.parse().ok()?;
    (number.abs() < EXACT && number.to_string() == room).then_some(number)
}
