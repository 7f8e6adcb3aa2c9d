//! The wires, pure: bytes in, typed messages out, and back. Imports nothing else of ours, does no I/O.

pub mod centrifuge;
pub mod channel;
pub mod fossil;
pub mod position;
pub mod socketio;
pub mod websocket;

pub use channel::{Channel, ChannelError};
pub use position::{Epoch, Offset, Position};
