//! How a session leaves for another node, which has its WebSocket.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::time::Instant;
use tracing::debug;

use super::door::Departure;
use super::handover::Handover;
use super::remote::Remote;
use super::sessions::Entry;
use super::{Engine, Handler};
use crate::hub::{Control, Outbox, Registered};
use crate::protocol::socketio::Sid;

/// A session that leaves. Requests for it are refused already.
pub(super) struct Leaving {
    pub(super) engine: Arc<Engine>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) entry: Entry,
    /// What waited when the other node first heard of it.
    pub(super) known: usize,
    /// When the client wants to be pinged next.
    pub(super) ping_at: Instant,
}

impl Leaving {
    /// Lets go of everything, then tells the other node what that was.
    pub(super) async fn depart<H: Handler>(self, handler: H, to: Departure, registered: Registered) {
        let Self { engine, outbox, entry, known, ping_at } = self;
        let (packed, mut late) = handler.depart().await;
        let frames = outbox.take_waiting();
        // What others asked of the session since it was prepared for there was asked there too. Not what was lost here.
        let (controls, _) = outbox.take_requests();
        let lost = controls.iter().any(|control| matches!(control, Control::Lost(_) | Control::Overrun));
        match frames.filter(|_| !lost) {
            Some(frames) => {
                let known = known.min(frames.len());
                let ping_in = ping_at.saturating_duration_since(Instant::now());
                // Whoever asked may have given up: it tells of the session's end then.
                let _ = to.answer.send(Handover { packed: packed.into(), frames, known, ping_in }.encode());
            }
            // For want of an answer the session is over there, and the client comes again.
            None => drop(to.answer),
        }
        let session = entry.sid().session;
        entry.retire();
        outbox.abandon();
        drop((registered, outbox));
        let there = Remote::new(engine, Sid { node: to.to, session });
        while let Some(frames) = late.next().await {
            if let Err(error) = there.say(frames).await {
                debug!(%error, "what came after its session had moved was not passed on");
            }
        }
    }
}
