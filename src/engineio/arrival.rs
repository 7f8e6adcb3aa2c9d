//! How a session comes from another node, to the one that has its WebSocket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::timeout;
use tracing::debug;
use uuid::Uuid;

use super::handover::Handover;
use super::remote::Claim;
use super::run::{self, Session};
use super::{Engine, Handler, Layer, Refused, probe};
use crate::hub::Outbox;
use crate::socket::{RawTransport, RawWire};
use crate::telemetry::{Moving, Upgrade};

/// Sessions that came from other nodes, by what those call them.
#[derive(Default)]
pub(super) struct Arrivals(Mutex<HashMap<Uuid, Arc<Outbox>>>);

/// One of them; leaves on drop.
struct Arrived<'a> {
    arrivals: &'a Arrivals,
    session: Uuid,
}

impl Arrivals {
    fn enter(&self, session: Uuid, outbox: &Arc<Outbox>) -> Arrived<'_> {
        self.0.lock().insert(session, Arc::clone(outbox));
        Arrived { arrivals: self, session }
    }

    /// Says something to a client, for the node that its session came from; whether it is here.
    pub(super) fn say(&self, session: Uuid, frames: Bytes) -> bool {
        let outbox = self.0.lock().get(&session).cloned();
        let said = outbox.map(|outbox| {
            outbox.reply(frames);
            outbox.flush();
        });
        said.is_some()
    }
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        self.arrivals.0.lock().remove(&self.session);
    }
}

/// Why a session did not come.
enum Failed {
    /// Its node did not let it go, and has it still unless that is gone.
    Refused(Refused),
    Here(&'static str),
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Engine {
    /// Lets a WebSocket show that it can carry a session of another node, and takes the session here then. Where it cannot,
    /// or nobody claimed the session for it, it is closed.
    pub async fn take_here<L: Layer>(
        self: Arc<Self>,
        layer: &L,
        mut transport: RawTransport,
        wire: RawWire,
        claim: Option<Claim>,
    ) {
        let Some(claim) = claim else {
            self.telemetry.clients.upgrades.of(Upgrade::Surplus).increment(1);
            return probe::close(transport, wire);
        };
        let trial = probe::attempt(&mut transport, &wire, claim.probed());
        let outcome = match timeout(self.options.upgrade_timeout, trial).await {
            Ok(true) => Upgrade::Done,
            Ok(false) => Upgrade::Failed,
            Err(_) => Upgrade::Timeout,
        };
        self.telemetry.clients.upgrades.of(outcome).increment(1);
        if outcome != Upgrade::Done {
            // Another may try from here on.
            drop(claim);
            return probe::close(transport, wire);
        }
        let outbox = self.outbox();
        let _arrived = self.arrivals.enter(claim.session(), &outbox);
        let taken = Box::pin(self.take(layer, &outbox, claim)).await;
        let result = match &taken {
            Ok(_) => Moving::Done,
            Err(Failed::Refused(_)) => Moving::Refused,
            Err(Failed::Here(_)) => Moving::Failed,
        };
        self.telemetry.clients.moves.of(result).increment(1);
        match taken {
            Ok((handler, ping_in)) => {
                outbox.attach(Box::new(wire));
                outbox.flush();
                let session = Session::arrived(Arc::clone(&self), &outbox, transport, ping_in);
                Box::pin(run::run(session, handler)).await;
            }
            Err(failed) => {
                match failed {
                    Failed::Refused(refused) => debug!("a session did not come with its WebSocket: {refused}"),
                    Failed::Here(why) => debug!("a session could not go on with its WebSocket: {why}"),
                }
                outbox.abandon();
                probe::close(transport, wire);
            }
        }
    }

    /// Prepares for the session before its node lets go of it, so that nothing for it falls in between.
    async fn take<L: Layer>(
        &self,
        layer: &L,
        outbox: &Arc<Outbox>,
        claim: Claim,
    ) -> Result<(L::Handler, Duration), Failed> {
        let packed = claim.pack().await?;
        let _hold = outbox.hold();
        let mut handler = layer.arrive(outbox, &packed).await.ok_or(Failed::Here("it cannot be prepared for"))?;
        let handover = claim.depart().await?;
        let handover = Handover::decode(handover).ok_or(Failed::Here("it came in pieces"))?;
        let ping_in = handover.ping_in;
        if let Err(reason) = handler.settle(handover).await {
            debug!(?reason, "a session ends with its move");
            handler.closed(&reason).await;
            return Err(Failed::Here("it did not settle"));
        }
        Ok((handler, ping_in))
    }
}
