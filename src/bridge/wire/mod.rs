//! The wire formats of `@socket.io/redis-adapter` (both) and `@socket.io/redis-emitter`, pure.
//!
//! What is said is the same in both ([`Broadcast`], [`Request`], [`Answer`]). The classic format is theirs: a broadcast is a
//! msgpack array on a channel of its namespace or room; requests and their answers are JSON, or msgpack where binary data may be
//! in them. The other one is in [`sharded`]. What is written here must be whole: one malformed message ends a Node server's
//! subscriptions for good. What is read may be anything, and is bounded in depth.
//!
//! Source: `lib/index.ts` of `socketio/socket.io-redis-adapter` and `socketio/socket.io-redis-emitter`; `notepack.io` for values.

mod answer;
mod broadcast;
mod channels;
mod encode;
mod json;
mod request;
pub mod sharded;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Described, Response};
pub use broadcast::{Broadcast, Flags};
pub use channels::{Channels, escaped};
pub use encode::{Unfit, value};
pub use json::{Args, args, text};
pub use request::{Asked, Request, Whom};
pub use sharded::Teller;

use rmpv::Value;

/// How deep arrays and objects may be in each other.
const DEEPEST: usize = 100;

/// Why a message is none of this format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a message of the adapter: {0}")]
pub struct Malformed(pub &'static str);

/// A value in JSON, as its first byte says, or in msgpack.
fn either(bytes: &[u8]) -> Result<Value, Malformed> {
    match bytes.first() {
        Some(b'{') => value(bytes, &[]).map_err(|_| Malformed("no JSON, or too deep")),
        _ => unpacked(bytes),
    }
}

/// One msgpack value, and nothing behind it.
fn unpacked(mut bytes: &[u8]) -> Result<Value, Malformed> {
    let value = rmpv::decode::read_value_with_max_depth(&mut bytes, DEEPEST);
    let value = value.map_err(|_| Malformed("not msgpack, or too deep"))?;
    if bytes.is_empty() { Ok(value) } else { Err(Malformed("something stands behind the value")) }
}

fn packed(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = rmpv::encode::write_value(&mut bytes, value);
    bytes
}

/// The member of this name, the last one where there are several, as for JavaScript.
fn member<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let entries = map.as_map()?;
    entries.iter().rev().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// Names of rooms, which may be numbers. Others are left out: nobody can be in them here.
fn rooms(list: Option<&Value>) -> Vec<String> {
    let names = list.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(room).collect()
}

fn room(name: &Value) -> Option<String> {
    match name {
        Value::String(_) => name.as_str().map(str::to_owned),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}
