//! From the servers behind Redis to this cluster, one after another.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::debug;

use super::crossing::Crossing;
use super::orders::{self, Question};
use super::queue::{Heard, Receiver, What};
use super::wire::{self, Broadcast};
use super::{OWN, Space};
use crate::protocol::socketio::Arguments;
use crate::socketio::Abroad;
use crate::telemetry::{Crossing as Outcome, Way};

/// Until nobody hears Redis any more.
pub(super) async fn run(crossing: &Crossing<'_>, mut heard: Receiver, questions: mpsc::Sender<Question>) {
    while let Some(Heard { space, what, payload }) = heard.next().await {
        match what {
            What::Broadcast => take(crossing, &crossing.bridge.spaces[space], &payload).await,
            What::Request => orders::take(crossing, space, &payload, &questions).await,
        }
    }
}

async fn take(crossing: &Crossing<'_>, space: &Space, payload: &[u8]) {
    let outcome = match Broadcast::decode(payload) {
        Ok(broadcast) if broadcast.uid.starts_with(OWN) => return,
        Ok(broadcast) if *broadcast.namespace != *space.name => Outcome::Malformed,
        Ok(broadcast) => emit(crossing, space, broadcast).await,
        Err(why) => {
            debug!(namespace = %space.name, %why, "a message of Redis is left out");
            Outcome::Malformed
        }
    };
    crossing.bridge.telemetry.bridge.events.of((Way::In, outcome)).increment(1);
}

async fn emit(crossing: &Crossing<'_>, space: &Space, broadcast: Broadcast) -> Outcome {
    let Some(arguments) = arguments(&broadcast.data) else { return Outcome::Unfit };
    let event = Abroad {
        namespace: Arc::clone(&space.name),
        rooms: broadcast.rooms,
        except: broadcast.except,
        arguments,
        volatile: broadcast.flags.volatile,
    };
    match crossing.bridge.sockets.emit_from_abroad(&event).await {
        Ok(()) => Outcome::Passed,
        Err(error) => {
            debug!(namespace = %space.name, %error, "an event of Redis did not come in");
            Outcome::Failed
        }
    }
}

/// An event that clients can be given.
pub(super) fn arguments(data: &[rmpv::Value]) -> Option<Arguments> {
    let wire::Args { json, attachments } = wire::args(data).ok()?;
    let attachments: Vec<Bytes> = attachments;
    Arguments::event(&json, attachments).inspect_err(|why| debug!(%why, "an event that clients would refuse")).ok()
}
