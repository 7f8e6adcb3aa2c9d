//! The Centrifuge client protocol v2, JSON and Protobuf.
//!
//! In: [`decode`] makes [`Command`]s of a client's message. Out: [`framed`] and [`pushed`] make of a [`Reply`] or [`Push`]
//! whatever its [`Format`] wants on the wire, [`encode`] the bare message. Ids, order and state are the session's; here a message
//! means the same whenever it comes.
//!
//! Source: `client.proto` of `centrifugal/protocol`. Both wires share one set of structs, in the schema's words.

pub mod codes;
mod command;
mod decode;
mod emulation;
mod encode;
mod filter;
mod format;
mod message;
mod publication;
mod push;
pub mod raw;
mod reply;
mod request;
mod result;
mod server_subs;
#[cfg(test)]
mod tests;

pub use command::{Command, Method};
pub use decode::{DecodeError, decode, decode_introduction, is_pong};
pub use emulation::{EmulationError, EmulationRequest};
pub use encode::{Encode, encode, framed, framed_many, pushed};
pub use filter::{Filter, FilterError};
pub use format::Format;
pub use publication::{ClientInfo, Publication, StreamPosition};
pub use push::{ConnectPush, Push, SubscribePush};
pub use reply::{Reply, ReplyResult};
pub use request::*;
pub use result::*;
pub use server_subs::ServerSubscription;

/// How messages are encoded on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// One message a line.
    Json,
    /// Each message behind its length as a varint.
    Protobuf,
}
