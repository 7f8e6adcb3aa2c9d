//! What servers ask each other.

use rmpv::Value;

use super::broadcast::{event, packet};
use super::{Flags, Malformed, either, json, member, object, packed, room, rooms};

/// A question or an order to all servers of a namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Whose it is; emitters and older servers leave it out where nothing is answered.
    pub uid: Option<String>,
    /// What the answer names. Without it none is wanted.
    pub id: Option<String>,
    pub asked: Asked,
}

/// Sockets: whoever is in one of the rooms and in none of the others. Everybody where no rooms are named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whom {
    pub rooms: Vec<String>,
    pub except: Vec<String>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// Ids alone, of servers before 8.
    Sockets(Whom),
    AllRooms,
    Join(Whom, Vec<String>),
    Leave(Whom, Vec<String>),
    /// The connection, or the namespace alone.
    Disconnect {
        whom: Whom,
        close: bool,
    },
    Fetch(Whom),
    /// An event for servers, not for clients.
    ServerSide(Vec<Value>),
    /// An event that clients are to acknowledge.
    Broadcast {
        namespace: String,
        whom: Whom,
        data: Vec<Value>,
        flags: Flags,
        /// How long whoever asks waits for that: milliseconds.
        timeout: u64,
    },
}

impl Asked {
    const SOCKETS: u64 = 0;
    const ALL_ROOMS: u64 = 1;
    const JOIN: u64 = 2;
    const LEAVE: u64 = 3;
    const DISCONNECT: u64 = 4;
    const FETCH: u64 = 5;
    const SERVER_SIDE: u64 = 6;
    const BROADCAST: u64 = 7;

    fn number(&self) -> u64 {
        match self {
            Self::Sockets(_) => Self::SOCKETS,
            Self::AllRooms => Self::ALL_ROOMS,
            Self::Join(..) => Self::JOIN,
            Self::Leave(..) => Self::LEAVE,
            Self::Disconnect { .. } => Self::DISCONNECT,
            Self::Fetch(_) => Self::FETCH,
            Self::ServerSide(_) => Self::SERVER_SIDE,
            Self::Broadcast { .. } => Self::BROADCAST,
        }
    }
}

impl Request {
    /// # Errors
    /// When it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let request = either(bytes)?;
        let text = |name| member(&request, name).and_then(room);
        let whom = || Whom::of(&request);
        let asked = match member(&request, "type").and_then(Value::as_u64) {
            Some(Asked::SOCKETS) => {
                Asked::Sockets(Whom { rooms: rooms(member(&request, "rooms")), except: Vec::new() })
            }
            Some(Asked::ALL_ROOMS) => Asked::AllRooms,
            Some(Asked::JOIN) => Asked::Join(whom()?, ordered(&request)),
            Some(Asked::LEAVE) => Asked::Leave(whom()?, ordered(&request)),
            Some(Asked::DISCONNECT) => {
                let close = member(&request, "close").and_then(Value::as_bool).unwrap_or(false);
                Asked::Disconnect { whom: whom()?, close }
            }
            Some(Asked::FETCH) => Asked::Fetch(whom()?),
            Some(Asked::SERVER_SIDE) => match member(&request, "data") {
                Some(Value::Array(data)) => Asked::ServerSide(data.clone()),
                _ => return Err(Malformed("an event for servers without data")),
            },
            Some(Asked::BROADCAST) => broadcast(&request, whom()?)?,
            _ => return Err(Malformed("a request of no known type")),
        };
        Ok(Self { uid: text("uid"), id: text("requestId"), asked })
    }

    /// As the adapter publishes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut members = vec![("type", Value::from(self.asked.number()))];
        let id = |name, value: &Option<String>| value.as_deref().map(|value| (name, Value::from(value)));
        members.extend(id("uid", &self.uid));
        members.extend(id("requestId", &self.id));
        match &self.asked {
            Asked::Sockets(whom) => members.push(("rooms", list(&whom.rooms))),
            Asked::AllRooms => {}
            Asked::Join(whom, rooms) | Asked::Leave(whom, rooms) => {
                members.extend([("opts", whom.opts()), ("rooms", list(rooms))]);
            }
            Asked::Disconnect { whom, close } => members.extend([("opts", whom.opts()), ("close", (*close).into())]),
            Asked::Fetch(whom) => members.push(("opts", whom.opts())),
            Asked::ServerSide(data) => members.push(("data", Value::Array(data.clone()))),
            Asked::Broadcast { namespace, whom, data, flags, timeout } => {
                let flags = object([("timeout", (*timeout).into()), ("volatile", flags.volatile.into())]);
                let opts = object([("rooms", list(&whom.rooms)), ("except", list(&whom.except)), ("flags", flags)]);
                members.extend([("packet", packet(namespace, data.clone())), ("opts", opts)]);
            }
        }
        let request = Value::Map(members.into_iter().map(|(name, value)| (name.into(), value)).collect());
        match &self.asked {
            // Binary data may be in it.
            Asked::Broadcast { .. } | Asked::ServerSide(_) => packed(&request),
            Asked::Sockets(_)
            | Asked::AllRooms
            | Asked::Join(..)
            | Asked::Leave(..)
            | Asked::Disconnect { .. }
            | Asked::Fetch(_) => json::text(&request).map_or_else(|_| packed(&request), String::into_bytes),
        }
    }
}

impl Whom {
    /// By `opts`, or in older requests by `sid`. A request that says neither is for nobody.
    pub(super) fn of(request: &Value) -> Result<Self, Malformed> {
        if let Some(opts) = member(request, "opts") {
            return Ok(Self { rooms: rooms(member(opts, "rooms")), except: rooms(member(opts, "except")) });
        }
        let sid = member(request, "sid").and_then(Value::as_str).ok_or(Malformed("a request about nobody"))?;
        Ok(Self { rooms: vec![sid.to_owned()], except: Vec::new() })
    }

    fn opts(&self) -> Value {
        object([("rooms", list(&self.rooms)), ("except", list(&self.except))])
    }
}

/// The rooms to join or leave; older requests name one.
pub(super) fn ordered(request: &Value) -> Vec<String> {
    let one = member(request, "room").and_then(room);
    rooms(member(request, "rooms")).into_iter().chain(one).collect()
}

fn broadcast(request: &Value, whom: Whom) -> Result<Asked, Malformed> {
    let packet = member(request, "packet").ok_or(Malformed("a broadcast without a packet"))?;
    let (namespace, data) = event(packet)?;
    let flags = member(request, "opts").and_then(|opts| member(opts, "flags"));
    let flag = |name| flags.and_then(|flags| member(flags, name));
    let volatile = flag("volatile").and_then(Value::as_bool).unwrap_or(false);
    let timeout = flag("timeout").and_then(Value::as_u64).unwrap_or(0);
    Ok(Asked::Broadcast { namespace, whom, data, flags: Flags { volatile }, timeout })
}

pub(super) fn list(rooms: &[String]) -> Value {
    Value::Array(rooms.iter().map(|room| room.as_str().into()).collect())
}
