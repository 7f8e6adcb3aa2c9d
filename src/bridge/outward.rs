//! From this cluster to the servers behind Redis: what is published in rooms, and what backends have all nodes emit.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt};
use redis::Pipeline;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::Bridge;
use super::crossing::Crossing;
use super::space::{Outbound, Space};
use super::wire::{self, Asked, Broadcast, Flags, Unfit, Whom};
use crate::backplane::{Delivery, Incoming, SubscribeError};
use crate::protocol::socketio::Arguments;
use crate::socketio::{OrderAbroad, Ordered};
use crate::telemetry::{Crossing as Outcome, Pace, Shore, Way};

/// Events that go out in one round trip.
const BATCH: usize = 64;
/// Before it is tried again to hear what goes on here.
const PAUSE: Duration = Duration::from_millis(500);

/// Something that may concern the other side.
enum Said {
    /// In a room of this namespace.
    Published(usize, Delivery),
    Emitted(Bytes),
    Ordered(Bytes),
}

/// Goes on for ever.
pub(super) async fn run(crossing: &Crossing<'_>) {
    let told = Pace::default();
    loop {
        match listen(crossing.bridge).await {
            Ok(said) => pass_on(crossing, said).await,
            Err(error) => {
                if let Some(left_out) = told.due() {
                    warn!(%error, left_out, "the bridge does not hear what is published here");
                }
            }
        }
        crossing.bridge.telemetry.bridge.interruptions.of(Shore::Backplane).increment(1);
        sleep(PAUSE).await;
    }
}

async fn listen(bridge: &Bridge) -> Result<SelectAll<Pin<Box<dyn Stream<Item = Said> + Send>>>, SubscribeError> {
    let mut said = SelectAll::new();
    said.push(stream_of(bridge.sockets.overhear_emits().await?, Said::Emitted));
    said.push(stream_of(bridge.sockets.overhear_orders().await?, Said::Ordered));
    for (index, space) in bridge.spaces.iter().enumerate() {
        let Some(rooms) = bridge.sockets.rooms_of(&space.name) else { continue };
        let published = bridge.backplane.overhear(rooms).await?;
        said.push(stream_of(published, move |delivery| Said::Published(index, delivery)));
    }
    Ok(said)
}

fn stream_of<T: Send + 'static>(
    mut receiver: mpsc::Receiver<T>,
    said: impl Fn(T) -> Said + Send + 'static,
) -> Pin<Box<dyn Stream<Item = Said> + Send>> {
    Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)).map(said))
}

/// Until the backplane is closed.
async fn pass_on(crossing: &Crossing<'_>, said: impl Stream<Item = Said> + Unpin) {
    let events = &crossing.bridge.telemetry.bridge.events;
    let mut batches = said.ready_chunks(BATCH);
    while let Some(batch) = batches.next().await {
        let mut messages = Pipeline::new();
        let mut count = 0;
        for said in batch {
            match outbound(crossing.bridge, said) {
                Some(Ok(outbound)) => {
                    outbound.put(&mut messages);
                    count += 1;
                }
                Some(Err(why)) => {
                    debug!(%why, "an event cannot be carried over the bridge");
                    events.of((Way::Out, Outcome::Unfit)).increment(1);
                }
                None => {}
            }
        }
        if count == 0 {
            continue;
        }
        let outcome = match crossing.publish(&messages).await {
            Some(Ok(())) => Outcome::Passed,
            Some(Err(error)) => {
                debug!(%error, "events may not have crossed the bridge");
                Outcome::Failed
            }
            None => Outcome::Away,
        };
        events.of((Way::Out, outcome)).increment(count);
    }
}

/// What the other side is told, if it concerns it.
fn outbound(bridge: &Bridge, said: Said) -> Option<Result<Outbound, Unfit>> {
    match said {
        Said::Published(space, Delivery::Message(message)) => published(&bridge.spaces[space], &message),
        Said::Published(_, Delivery::Gap(_)) => {
            bridge.telemetry.bridge.interruptions.of(Shore::Backplane).increment(1);
            None
        }
        Said::Emitted(told) => {
            let event = bridge.sockets.abroad(&told)?;
            let space = bridge.spaces.iter().find(|space| space.name == event.namespace)?;
            Some(written(space, &event.arguments, event.rooms, event.except, event.volatile))
        }
        Said::Ordered(told) => {
            let order = bridge.sockets.order_abroad(&told)?;
            let space = bridge.spaces.iter().find(|space| space.name == order.namespace)?;
            ordered(space, order).map(Ok)
        }
    }
}

/// What came over the bridge does not go back; what a channel's removal leaves behind is no event.
fn published(space: &Space, message: &Incoming) -> Option<Result<Outbound, Unfit>> {
    if message.meta.bridged || message.meta.tombstone || message.channel.is_private() {
        return None;
    }
    let room = message.channel.rest().to_owned();
    Some(written(space, &Arguments::of_publication(&message.data), vec![room], Vec::new(), false))
}

fn ordered(space: &Space, order: OrderAbroad) -> Option<Outbound> {
    let whom = Whom { rooms: order.rooms, except: order.except };
    space.order(match order.order {
        Ordered::Join(rooms) => Asked::Join(whom, rooms),
        Ordered::Leave(rooms) => Asked::Leave(whom, rooms),
        Ordered::Disconnect { close } => Asked::Disconnect { whom, close },
    })
}

fn written(
    space: &Space,
    arguments: &Arguments,
    rooms: Vec<String>,
    except: Vec<String>,
    volatile: bool,
) -> Result<Outbound, Unfit> {
    let rmpv::Value::Array(data) = wire::value(arguments.json(), arguments.attachments())? else {
        return Err(Unfit::Json);
    };
    let (uid, namespace) = (space.uid.clone(), space.name.to_string());
    Ok(space.broadcast(&Broadcast { uid, namespace, data, rooms, except, flags: Flags { volatile } }))
}
