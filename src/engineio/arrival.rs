//! How a session comes from another node, to the one that has its WebSocket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tracing::debug;
use uuid::Uuid;

use super::handover::Handover;
use super::remote::Claim;
use super::run::{self, Session};
use super::{CloseReason, Engine, Handler, Layer, Refused, probe};
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
#[derive(thiserror::Error, Debug)]
enum Failed {
    /// Its node has not let it go.
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{0}")]
    Here(&'static str),
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
        let Some(claim) = self.try_out(&mut transport, &wire, claim).await else {
            return probe::close(transport, wire);
        };
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
                debug!("a session did not come with its WebSocket: {failed}");
                outbox.abandon();
                probe::close(transport, wire);
            }
        }
    }

    /// The claim of a WebSocket that works; another may try where it does not.
    async fn try_out(&self, transport: &mut RawTransport, wire: &RawWire, claim: Option<Claim>) -> Option<Claim> {
        let outcome = match &claim {
            None => Upgrade::Surplus,
            Some(claim) => {
                let trial = probe::attempt(transport, wire, claim.probed());
                match timeout(self.options.upgrade_timeout, trial).await {
                    Ok(true) => Upgrade::Done,
                    Ok(false) => Upgrade::Failed,
                    Err(_) => Upgrade::Timeout,
                }
            }
        };
        self.telemetry.clients.upgrades.of(outcome).increment(1);
        claim.filter(|_| outcome == Upgrade::Done)
    }

    /// Prepares for the session before its node lets go of it, so that nothing for it falls in between. One that its node
    /// has let go of and that does not get here is over, and nobody else could say so.
    async fn take<L: Layer>(
        &self,
        layer: &L,
        outbox: &Arc<Outbox>,
        mut claim: Claim,
    ) -> Result<(L::Handler, Duration), Failed> {
        let packed = claim.pack().await?;
        let _hold = outbox.hold();
        let mut handler = layer.arrive(outbox, &packed).await.ok_or(Failed::Here("it cannot be prepared for"))?;
        let since = Instant::now();
        let settled = match claim.depart().await {
            Ok(handover) => settle(&mut handler, handover).await,
            Err(refused) if claim.give_up().await => return Err(refused.into()),
            Err(_) => Err(CloseReason::TransportError("it was lost on its way")),
        };
        match settled {
            Ok(ping_in) => Ok((handler, ping_in)),
            Err(reason) => {
                debug!(?reason, "a session ends with its move");
                handler.closed(&reason).await;
                self.count_end(&reason, since.elapsed());
                Err(Failed::Here("it ended on its way"))
            }
        }
    }
}

/// When to ping a session next that goes on here.
async fn settle(handler: &mut impl Handler, handover: Bytes) -> Result<Duration, CloseReason> {
    let handover = Handover::decode(handover).ok_or(CloseReason::TransportError("it came in pieces"))?;
    let ping_in = handover.ping_in;
    handler.settle(handover).await?;
    Ok(ping_in)
}
