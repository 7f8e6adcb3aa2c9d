//! What a session opens with.

use bytes::Bytes;
use serde::Serialize;

use super::{EnginePacket, Sid};

/// The parameters of a session.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake<'a> {
    pub sid: Sid,
    /// Transports that the client may go on to.
    pub upgrades: &'a [&'static str],
    /// Milliseconds, as are all times here.
    pub ping_interval: u64,
    pub ping_timeout: u64,
    /// Bytes of one message or request of the client.
    pub max_payload: usize,
}

impl Handshake<'_> {
    /// The packet that says so.
    #[must_use]
    pub fn packet(&self) -> EnginePacket {
        EnginePacket::Open(serde_json::to_vec(self).map(Bytes::from).unwrap_or_default())
    }
}
