//! From the servers behind Redis to this cluster, one after another.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::debug;

use super::crossing::Crossing;
use super::orders::{self, Question};
use super::queue::{Heard, Receiver, What};
use super::space::Space;
use super::wire::sharded::{self, Message};
use super::wire::{self, Broadcast, Malformed, Request};
use super::{Bridge, OWN};
use crate::protocol::socketio::Arguments;
use crate::socketio::Abroad;
use crate::telemetry::{Crossing as Outcome, Way};

/// Until nobody hears Redis any more.
pub(super) async fn run(crossing: &Crossing<'_>, mut heard: Receiver, questions: mpsc::Sender<Question>) {
    let bridge = crossing.bridge;
    while let Some(heard) = heard.next().await {
        match read(bridge, &heard) {
            Ok(Some(Read::Broadcast(space, broadcast))) => take(crossing, &bridge.spaces[space], broadcast).await,
            Ok(Some(Read::Request(space, request))) => orders::take(crossing, space, request, &questions).await,
            Ok(None) => {}
            Err(why) => {
                debug!(%why, "a message of Redis is left out");
                bridge.telemetry.bridge.events.of((Way::In, Outcome::Malformed)).increment(1);
            }
        }
    }
}

/// In a namespace that is bridged.
enum Read {
    Broadcast(usize, Broadcast),
    Request(usize, Request),
}

/// `None` for what is not for this bridge.
fn read(bridge: &Bridge, Heard { what, payload }: &Heard) -> Result<Option<Read>, Malformed> {
    let named = |name: &str| bridge.spaces.iter().position(|space| *space.name == *name);
    Ok(match what {
        What::Broadcast(space) => {
            let broadcast = Broadcast::decode(payload)?;
            if *broadcast.namespace != *bridge.spaces[*space].name {
                return Err(Malformed("an event of another namespace"));
            }
            Some(Read::Broadcast(*space, broadcast))
        }
        What::Request(space) => Some(Read::Request(*space, Request::decode(payload)?)),
        What::Sharded => match sharded::decode(payload)? {
            Message::Broadcast(broadcast) => named(&broadcast.namespace).map(|space| Read::Broadcast(space, broadcast)),
            Message::Request(namespace, request) => named(&namespace).map(|space| Read::Request(space, request)),
            Message::Other => None,
        },
    })
}

async fn take(crossing: &Crossing<'_>, space: &Space, broadcast: Broadcast) {
    if broadcast.uid.starts_with(OWN) {
        return;
    }
    let outcome = emit(crossing, space, broadcast).await;
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
