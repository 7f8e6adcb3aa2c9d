//! Connections on raw TCP: WebSockets (the upgrade out of HTTP, inbound frames to messages) and streams (a response
//! without end), outbound frames to the kernel.
//!
//! A connection that is idle costs its socket, one task and nothing else: bytes are read through one buffer per thread,
//! and what waits to be written lives in the session's outbox. `axum` and `hyper` end here and in `http`; the session
//! sees a [`Transport`](crate::session::Transport).

mod handshake;
mod leave;
mod patient;
mod raw;
mod stream;
mod upgrade;

pub use handshake::Refused;
pub use leave::Leave;
pub use patient::Patient;
pub use raw::{RawTransport, RawWire};
pub use stream::{StreamTransport, StreamWire};
pub use upgrade::Upgrade;
