//! The Centrifuge client protocol v2, JSON and Protobuf.
//!
//! Source: `client.proto` of `centrifugal/protocol`.
