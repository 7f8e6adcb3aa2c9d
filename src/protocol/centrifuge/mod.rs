//! The Centrifuge client protocol v2, JSON and Protobuf.
//!
//! Source: `client.proto` of `centrifugal/protocol`.

pub mod codes;

/// How messages are encoded on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    Json,
    Protobuf,
}
