//! Socket.IO v5 over Engine.IO v4.
//!
//! Two layers, as their definitions have them. Engine.IO: [`EnginePacket`]s, one to a WebSocket frame or several in the
//! [`payload`] of a request; what they carry are [`Message`]s. Socket.IO: a [`Decoder`] makes [`Packet`]s of a connection's
//! messages, attachments put in; [`Packet::frames`] writes one, attachments behind it, as frames that nothing comes between.
//!
//! Arguments stay JSON text from one end to the other: nothing reorders keys, rounds numbers or repairs strings.
//!
//! Source: `docs/engine.io-protocol/v4-current.md` and `docs/socket.io-protocol/v5-current.md` of `socketio/socket.io`.

mod arguments;
mod decode;
mod encode;
mod engine;
mod error;
mod handshake;
mod packet;
pub mod payload;
mod placeholders;
mod room_rule;
mod sid;
mod stand;
#[cfg(test)]
mod tests;

pub use arguments::Arguments;
pub use decode::Decoder;
pub use engine::{EngineError, EnginePacket, Message};
pub use error::PacketError;
pub use handshake::Handshake;
pub use packet::{Body, MAIN_NAMESPACE, Packet};
pub use room_rule::RoomRule;
pub use sid::{NoSid, Sid};
pub use stand::{NoStand, Stand};
