//! Several packets in the body of a request or response, as long-polling carries them.

use base64::Engine;
use bytes::Bytes;

use super::engine::{BASE64, EngineError, EnginePacket};
use crate::protocol::websocket::{Opcode, server_frames};

const SEPARATOR: u8 = 0x1e;

/// What ends the session, as a body.
pub const CLOSE: &[u8] = b"1";
/// What only ends a request that waits, as a body.
pub const NOOP: &[u8] = b"6";

/// The packets of a client's body, in order; an error is the last.
///
/// # Errors
/// [`EngineError::NotUtf8`] for the whole.
pub fn packets(
    body: &Bytes,
) -> Result<impl Iterator<Item = Result<EnginePacket, EngineError>> + Send + use<>, EngineError> {
    str::from_utf8(body).map_err(|_| EngineError::NotUtf8)?;
    let mut rest = Some(body.clone());
    Ok(std::iter::from_fn(move || {
        let mut packet = rest.take()?;
        if let Some(end) = memchr::memchr(SEPARATOR, &packet) {
            let behind = packet.split_off(end);
            rest = Some(behind.slice(1..));
        }
        let decoded = EnginePacket::decode(&packet);
        if decoded.is_err() {
            rest = None;
        }
        Some(decoded)
    }))
}

/// Appends packets that were framed for a WebSocket. The WebSocket's own frames mean nothing here: the end of a session is a
/// body of its own ([`CLOSE`]). The client's library takes up what comes with it after the end, and tells it first thing in
/// its next session.
pub fn append(payload: &mut Vec<u8>, frames: &[u8]) {
    for (opcode, data) in server_frames(frames) {
        if matches!(opcode, Opcode::Continuation | Opcode::Ping | Opcode::Pong | Opcode::Close) {
            continue;
        }
        if !payload.is_empty() {
            payload.push(SEPARATOR);
        }
        match opcode {
            Opcode::Binary => {
                let start = payload.len() + 1;
                payload.push(b'b');
                payload.resize(start + data.len().div_ceil(3) * 4, 0);
                let written = BASE64.encode_slice(data, &mut payload[start..]).unwrap_or_default();
                payload.truncate(start + written);
            }
            _ => payload.extend_from_slice(data),
        }
    }
}
