//! WebSockets on raw TCP: the upgrade out of HTTP, inbound frames to messages, outbound frames to the kernel.
//!
//! A connection that is idle costs its socket, one task and nothing else: bytes are read through one buffer per thread,
//! and what waits to be written lives in the session's outbox. `axum` and `hyper` end here and in `http`; the session
//! sees a [`Transport`](crate::session::Transport).

mod handshake;
mod raw;
mod upgrade;

pub use handshake::Refused;
pub use raw::{RawTransport, RawWire};
pub use upgrade::Upgrade;
