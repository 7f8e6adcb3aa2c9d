//! What servers with the sharded adapter tell each other: `{type, data, uid, nsp}`, in JSON, or in msgpack where there is binary
//! data in it. All of it goes through one channel of the namespace, but answers, and events for one room where rooms have
//! channels of their own.
//!
//! Source: `lib/sharded-adapter.ts` of `socketio/socket.io-redis-adapter` and `lib/cluster-adapter.ts` of `socket.io-adapter`.

#[cfg(test)]
mod tests;

use rmpv::Value;

use super::broadcast::{event, opts};
use super::request::{list, ordered};
use super::{Answer, Asked, Broadcast, Described, Flags, Malformed, Request, Unfit, Whom};
use super::{either, json, member, object, packed, room};

const BROADCAST: u64 = 3;
const JOIN: u64 = 4;
const LEAVE: u64 = 5;
const DISCONNECT: u64 = 6;
const FETCH: u64 = 7;
const FETCHED: u64 = 8;
const SERVER_SIDE: u64 = 9;
const SERVER_SIDE_ANSWER: u64 = 10;
const COUNT: u64 = 11;
const ACK: u64 = 12;

/// What a server tells the others.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Broadcast(Broadcast),
    /// In a namespace.
    Request(String, Request),
    /// An answer, or what other adapters of the family tell.
    Other,
}

/// Who tells something, and in which namespace.
#[derive(Debug, Clone, Copy)]
pub struct Teller<'a> {
    pub uid: &'a str,
    pub namespace: &'a str,
}

/// # Errors
/// When it is something else.
pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
    let message = either(bytes)?;
    let uid = member(&message, "uid").and_then(room).ok_or(Malformed("no id"))?;
    let namespace = member(&message, "nsp").and_then(Value::as_str).ok_or(Malformed("no namespace"))?.to_owned();
    let number = member(&message, "type").and_then(Value::as_u64).ok_or(Malformed("no type"))?;
    let data = || member(&message, "data").ok_or(Malformed("no data"));
    let id = |data| member(data, "requestId").and_then(room);
    let asked = match number {
        BROADCAST => {
            let data = data()?;
            let Some(id) = id(data) else { return broadcast_of(uid, namespace, data).map(Message::Broadcast) };
            let asked = to_acknowledge(&namespace, data)?;
            return Ok(Message::Request(namespace, Request { uid: Some(uid), id: Some(id), asked }));
        }
        JOIN => Asked::Join(Whom::of(data()?)?, ordered(data()?)),
        LEAVE => Asked::Leave(Whom::of(data()?)?, ordered(data()?)),
        DISCONNECT => {
            let close = member(data()?, "close").and_then(Value::as_bool).unwrap_or(false);
            Asked::Disconnect { whom: Whom::of(data()?)?, close }
        }
        FETCH => Asked::Fetch(Whom::of(data()?)?),
        SERVER_SIDE => match member(data()?, "packet") {
            Some(Value::Array(event)) => Asked::ServerSide(event.clone()),
            _ => return Err(Malformed("an event for servers without data")),
        },
        _ => return Ok(Message::Other),
    };
    let id = id(data()?);
    Ok(Message::Request(namespace, Request { uid: Some(uid), id, asked }))
}

fn broadcast_of(uid: String, namespace: String, data: &Value) -> Result<Broadcast, Malformed> {
    let (_, event) = event(member(data, "packet").ok_or(Malformed("a broadcast without a packet"))?)?;
    let whom = Whom::of(data)?;
    let flags = Flags { volatile: flag(data, "volatile").and_then(Value::as_bool).unwrap_or(false) };
    Ok(Broadcast { uid, namespace, data: event, rooms: whom.rooms, except: whom.except, flags })
}

fn to_acknowledge(namespace: &str, data: &Value) -> Result<Asked, Malformed> {
    let Broadcast { namespace, data: event, rooms, except, flags, .. } =
        broadcast_of(String::new(), namespace.to_owned(), data)?;
    let timeout = flag(data, "timeout").and_then(Value::as_u64).unwrap_or(0);
    Ok(Asked::Broadcast { namespace, whom: Whom { rooms, except }, data: event, flags, timeout })
}

fn flag<'a>(data: &'a Value, name: &str) -> Option<&'a Value> {
    member(member(member(data, "opts")?, "flags")?, name)
}

impl Teller<'_> {
    /// An event, as the adapter publishes it.
    #[must_use]
    pub fn broadcast(&self, broadcast: &Broadcast) -> Vec<u8> {
        let packet = object([("type", super::broadcast::EVENT.into()), ("data", Value::Array(broadcast.data.clone()))]);
        self.message(BROADCAST, object([("packet", packet), ("opts", opts(broadcast))]))
    }

    /// An order; `None` for what is none: this project asks nothing.
    #[must_use]
    pub fn order(&self, asked: &Asked) -> Option<Vec<u8>> {
        let moving = |whom: &Whom, rooms: &[String]| object([("opts", all(whom)), ("rooms", list(rooms))]);
        Some(match asked {
            Asked::Join(whom, rooms) => self.message(JOIN, moving(whom, rooms)),
            Asked::Leave(whom, rooms) => self.message(LEAVE, moving(whom, rooms)),
            Asked::Disconnect { whom, close } => {
                self.message(DISCONNECT, object([("opts", all(whom)), ("close", (*close).into())]))
            }
            Asked::Sockets(_) | Asked::AllRooms | Asked::Fetch(_) | Asked::ServerSide(_) | Asked::Broadcast { .. } => {
                return None;
            }
        })
    }

    /// The answer to request `id`; `None` for what servers of this kind do not ask.
    #[must_use]
    pub fn answer(&self, id: &str, answer: &Answer) -> Option<Vec<u8>> {
        let data = |name, value| object([("requestId", id.into()), (name, value)]);
        Some(match answer {
            Answer::Described(sockets) => {
                let sockets = sockets.iter().map(Described::value).collect();
                self.message(FETCHED, data("sockets", Value::Array(sockets)))
            }
            Answer::ServerSide(argument) => self.message(SERVER_SIDE_ANSWER, data("packet", argument.clone())),
            Answer::Count(count) => self.message(COUNT, data("clientCount", (*count).into())),
            Answer::Ack(argument) => self.message(ACK, data("packet", argument.clone())),
            Answer::Sockets(_) | Answer::Rooms(_) | Answer::Done => return None,
        })
    }

    fn message(&self, number: u64, data: Value) -> Vec<u8> {
        let binary = has_binary(&data);
        let members =
            [("type", number.into()), ("data", data), ("uid", self.uid.into()), ("nsp", self.namespace.into())];
        let message = object(members);
        if binary {
            return packed(&message);
        }
        json::text(&message).map_or_else(|_: Unfit| packed(&message), String::into_bytes)
    }
}

fn all(whom: &Whom) -> Value {
    object([("rooms", list(&whom.rooms)), ("except", list(&whom.except)), ("flags", object([]))])
}

fn has_binary(value: &Value) -> bool {
    match value {
        Value::Binary(_) => true,
        Value::Array(elements) => elements.iter().any(has_binary),
        Value::Map(entries) => entries.iter().any(|(_, value)| has_binary(value)),
        _ => false,
    }
}
