//! One connection, one owner task. Knows no socket type: only a [`Transport`].

pub mod transport;

pub use transport::{Event, Inbound, Transport, TransportError};
