//! How a WebSocket shows that it can carry a session that is on long-polling. Where it fails, only the WebSocket is closed.

use std::io::IoSlice;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tracing::debug;

use super::door::{Candidate, Refused};
use crate::hub::Wire;
use crate::protocol::socketio::EnginePacket;
use crate::protocol::websocket::{Opcode, close_frame, server_frame};
use crate::session::{Inbound, Transport};
use crate::socket::{RawTransport, RawWire};
use crate::telemetry::Upgrade;

const PROBE: &[u8] = b"probe";

/// Runs until the session has taken the WebSocket, or it is closed.
pub(super) async fn run(mut transport: RawTransport, wire: RawWire, candidate: Candidate, within: Duration) -> Upgrade {
    let trial = async {
        tokio::select! {
            works = attempt(&mut transport, &wire, candidate.probed()) => works,
            () = candidate.deserted() => false,
        }
    };
    let works = timeout(within, trial).await;
    let outcome = match works {
        Ok(true) => match candidate.take_over(transport, wire).await {
            Ok(()) => return Upgrade::Done,
            // With the session its WebSocket goes.
            Err(_) => return Upgrade::Failed,
        },
        Ok(false) => Upgrade::Failed,
        Err(_) => Upgrade::Timeout,
    };
    debug!(?outcome, "a WebSocket did not become a session's transport");
    // Another may try from here on.
    drop(candidate);
    close(transport, wire);
    outcome
}

/// Closes a WebSocket that is of no use, without waiting for its client's answer: only one that a session may take has a
/// place among connections, its session's.
pub(super) fn close(transport: RawTransport, wire: RawWire) {
    let _ = wire.try_write_vectored(&[IoSlice::new(&close_frame(1000, ""))]);
    drop((transport, wire));
}

/// Whether the client says everything that it has to. `probed` tells the session that the WebSocket works.
pub(super) async fn attempt(
    transport: &mut RawTransport,
    wire: &RawWire,
    probed: impl Future<Output = Result<(), Refused>>,
) -> bool {
    if !matches!(next(transport, wire).await, Some(EnginePacket::Ping(data)) if data == PROBE) {
        return false;
    }
    let answer = EnginePacket::Pong(Bytes::from_static(PROBE)).frame();
    // The first that is written to a new connection: there is room.
    let written = wire.try_write_vectored(&[IoSlice::new(&answer)]);
    if !written.is_ok_and(|written| written == answer.len()) || probed.await.is_err() {
        return false;
    }
    matches!(next(transport, wire).await, Some(EnginePacket::Upgrade))
}

/// The next packet; what belongs to the WebSocket itself is answered on the way.
async fn next(transport: &mut RawTransport, wire: &RawWire) -> Option<EnginePacket> {
    loop {
        match transport.next().await {
            Some(Ok(Inbound::Text(text))) => return EnginePacket::decode(&text).ok(),
            Some(Ok(Inbound::Ping(data))) => {
                let _ = wire.try_write_vectored(&[IoSlice::new(&server_frame(Opcode::Pong, &data))]);
            }
            Some(Ok(Inbound::Pong)) => {}
            Some(Ok(Inbound::Binary(_) | Inbound::Close(_)) | Err(_)) | None => return None,
        }
    }
}
