//! What servers answer.

use rmpv::Value;

use super::{Unfit, json, object, packed};

const SERVER_SIDE: u64 = 6;
const COUNT: u64 = 8;
const ACK: u64 = 9;

/// An answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Sockets(Vec<String>),
    Rooms(Vec<String>),
    /// An older request was obeyed.
    Done,
    Described(Vec<Described>),
    /// What a handler for events of servers answered.
    ServerSide(Value),
    /// How many clients were asked for an acknowledgement.
    Count(u64),
    /// The first argument of an acknowledgement of one of them.
    Ack(Value),
}

/// What is told of a socket. Handshakes are left out: tokens and cookies are in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    pub id: String,
    /// `""` where nobody knows.
    pub user: String,
    pub rooms: Vec<String>,
}

/// An answer, and to which request.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub id: String,
    pub answer: Answer,
}

impl Response {
    /// As the adapter publishes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let id = || Value::from(self.id.as_str());
        let texts = |texts: &[String]| Value::Array(texts.iter().map(|text| text.as_str().into()).collect());
        let answer = match &self.answer {
            Answer::Sockets(ids) => object([("requestId", id()), ("sockets", texts(ids))]),
            Answer::Rooms(names) => object([("requestId", id()), ("rooms", texts(names))]),
            Answer::Done => object([("requestId", id())]),
            Answer::Described(sockets) => {
                let sockets = Value::Array(sockets.iter().map(Described::value).collect());
                object([("requestId", id()), ("sockets", sockets)])
            }
            Answer::ServerSide(data) => {
                object([("type", SERVER_SIDE.into()), ("requestId", id()), ("data", data.clone())])
            }
            Answer::Count(count) => {
                object([("type", COUNT.into()), ("requestId", id()), ("clientCount", (*count).into())])
            }
            // Binary data may be in it.
            Answer::Ack(argument) => {
                return packed(&object([("type", ACK.into()), ("requestId", id()), ("packet", argument.clone())]));
            }
        };
        json::text(&answer).map_or_else(|_: Unfit| packed(&answer), String::into_bytes)
    }
}

impl Described {
    pub(super) fn value(&self) -> Value {
        let text = |text: &str| Value::from(text);
        // Applications read these members without asking whether they are there.
        let handshake = object([
            ("headers", object([])),
            ("time", text("")),
            ("address", text("")),
            ("xdomain", false.into()),
            ("secure", false.into()),
            ("issued", 0.into()),
            ("url", text("")),
            ("query", object([])),
            ("auth", object([])),
        ]);
        let data = if self.user.is_empty() { object([]) } else { object([("user", text(&self.user))]) };
        let rooms = Value::Array(self.rooms.iter().map(|room| text(room)).collect());
        object([("id", text(&self.id)), ("handshake", handshake), ("rooms", rooms), ("data", data)])
    }
}
