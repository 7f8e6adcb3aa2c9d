//! What servers behind Redis order and ask, done by all nodes of this cluster, which answers as one server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use redis::Pipeline;
use rmpv::Value;
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::crossing::Crossing;
use super::space::{Asker, Space};
use super::wire::{self, Answer, Asked, Described, Flags, Request, Whom};
use super::{Bridge, OWN};
use crate::api::Reply;
use crate::socketio::{Acked, LONGEST_ACK, MAX_ROOMS, SocketInfo};
use crate::telemetry::{BridgeRequest, Crossing as Outcome, Overflow, Source};

/// Questions that are answered at a time.
const AT_ONCE: usize = 32;
/// Questions that wait for it; further ones are not answered, and counted.
const WAITING: usize = 256;
/// How long clients are waited for where nothing is said.
const USUAL_ACK: Duration = Duration::from_secs(5);

/// A question, whose it is, and which namespace it is about.
pub(super) struct Question {
    space: usize,
    asker: Asker,
    asked: Asked,
}

#[derive(Deserialize)]
struct Reached {
    sockets: usize,
}

#[derive(Deserialize)]
struct Sockets {
    sockets: BTreeMap<String, SocketInfo>,
}

pub(super) fn open() -> (mpsc::Sender<Question>, mpsc::Receiver<Question>) {
    mpsc::channel(WAITING)
}

/// Obeys orders in the order in which they came, between the events; leaves questions to [`run`].
pub(super) async fn take(crossing: &Crossing<'_>, index: usize, request: Request, questions: &mpsc::Sender<Question>) {
    let bridge = crossing.bridge;
    let space = &bridge.spaces[index];
    let Request { uid, id, asked } = request;
    if uid.as_deref().is_some_and(|uid| uid.starts_with(OWN)) {
        return;
    }
    let asker = id.map(|request| Asker { uid, request });
    let kind = kind(&asked);
    match asked {
        Asked::Join(..) | Asked::Leave(..) | Asked::Disconnect { .. } => {
            let done = obey(bridge, space, asked).await;
            // Servers before 7 want to know, of whoever has the socket.
            if let (Some(asker), Ok(1..)) = (asker, &done) {
                answer(crossing, space, &asker, Answer::Done).await;
            }
            count(bridge, kind, done.is_ok());
        }
        asked => {
            let Some(asker) = asker else { return };
            if questions.try_send(Question { space: index, asker, asked }).is_err() {
                bridge.telemetry.queues.overflows.of(Overflow::Bridge).increment(1);
                count(bridge, kind, false);
            }
        }
    }
}

/// Answers questions, for ever.
pub(super) async fn run(crossing: &Crossing<'_>, questions: mpsc::Receiver<Question>) {
    let questions = stream::unfold(questions, async |mut questions| Some((questions.recv().await?, questions)));
    let answering = questions.for_each_concurrent(AT_ONCE, |Question { space, asker, asked }| async move {
        let space = &crossing.bridge.spaces[space];
        let kind = kind(&asked);
        let answered = match asked {
            Asked::Broadcast { whom, data, flags, timeout, .. } => {
                acknowledged(crossing, space, &asker, &whom, &data, flags, timeout).await
            }
            asked => match told(crossing.bridge, space, &asked).await {
                Some(told) => answer(crossing, space, &asker, told).await,
                None => false,
            },
        };
        // Whoever asked waits until its time is over, and is told then that an answer is missing: none would be true.
        count(crossing.bridge, kind, answered);
    });
    answering.await;
}

/// Has all nodes do it; how many sockets it concerned.
async fn obey(bridge: &Bridge, space: &Space, order: Asked) -> Result<usize, ()> {
    match order {
        Asked::Join(whom, rooms) => move_sockets(bridge, space, "socketio_join", &whom, &rooms).await,
        Asked::Leave(whom, rooms) => move_sockets(bridge, space, "socketio_leave", &whom, &rooms).await,
        Asked::Disconnect { whom, close } => {
            let Some(mut call) = bridge.sockets.call(&space.name, &whom.rooms, &whom.except) else { return Ok(0) };
            call.close = close;
            ask::<Reached>(bridge, "socketio_disconnect", &call).await.map(|reached| reached.sockets).ok_or(())
        }
        // Questions.
        Asked::Sockets(_) | Asked::AllRooms | Asked::Fetch(_) | Asked::ServerSide(_) | Asked::Broadcast { .. } => Ok(0),
    }
}

async fn move_sockets(
    bridge: &Bridge,
    space: &Space,
    method: &str,
    whom: &Whom,
    rooms: &[String],
) -> Result<usize, ()> {
    let rooms: Vec<_> = rooms.iter().filter(|room| bridge.sockets.may_be_room(&space.name, room)).cloned().collect();
    let mut most = 0;
    for rooms in rooms.chunks(MAX_ROOMS) {
        let Some(mut call) = bridge.sockets.call(&space.name, &whom.rooms, &whom.except) else { return Ok(0) };
        call.rooms = rooms.to_vec();
        most = most.max(ask::<Reached>(bridge, method, &call).await.ok_or(())?.sockets);
    }
    Ok(most)
}

/// The answer to a question, where it can be told surely.
async fn told(bridge: &Bridge, space: &Space, asked: &Asked) -> Option<Answer> {
    match asked {
        Asked::Sockets(whom) => {
            let ids = sockets(bridge, space, whom).await?.into_iter().map(|socket| socket.id);
            Some(Answer::Sockets(ids.collect()))
        }
        Asked::AllRooms => {
            let all = sockets(bridge, space, &Whom::default()).await?;
            let rooms: BTreeSet<String> = all.into_iter().flat_map(|socket| socket.rooms).collect();
            Some(Answer::Rooms(rooms.into_iter().collect()))
        }
        Asked::Fetch(whom) => Some(Answer::Described(sockets(bridge, space, whom).await?)),
        // There are no handlers here.
        Asked::ServerSide(_) => Some(Answer::ServerSide(Value::Nil)),
        Asked::Join(..) | Asked::Leave(..) | Asked::Disconnect { .. } | Asked::Broadcast { .. } => None,
    }
}

/// Sockets of all nodes, each in its own room too, as in Node.
pub(super) async fn sockets(bridge: &Bridge, space: &Space, whom: &Whom) -> Option<Vec<Described>> {
    let Some(call) = bridge.sockets.call(&space.name, &whom.rooms, &whom.except) else { return Some(Vec::new()) };
    let Sockets { sockets } = ask(bridge, "socketio_sockets", &call).await?;
    let described = sockets.into_iter().map(|(id, SocketInfo { user, rooms })| {
        let rooms = std::iter::once(id.clone()).chain(rooms).collect();
        Described { id, user, rooms }
    });
    Some(described.collect())
}

/// Emits, and passes on acknowledgements as they come; whether as many came as were asked for.
async fn acknowledged(
    crossing: &Crossing<'_>,
    space: &Space,
    asker: &Asker,
    whom: &Whom,
    data: &[Value],
    flags: Flags,
    timeout: u64,
) -> bool {
    let bridge = crossing.bridge;
    let within = if timeout == 0 { USUAL_ACK } else { Duration::from_millis(timeout).min(LONGEST_ACK) };
    let until = Instant::now() + within;
    let Some(event) = super::inward::arguments(data) else {
        return answer(crossing, space, asker, Answer::Count(0)).await;
    };
    let Some(call) = bridge.sockets.call(&space.name, &whom.rooms, &whom.except) else {
        return answer(crossing, space, asker, Answer::Count(0)).await;
    };
    let call = call.emitting(&event, flags.volatile, within);
    let Some(call) = call.and_then(|call| to_raw_value(&call).ok()) else { return false };
    let Ok((asked, mut acks)) = bridge.api.ask_clients(&call).await else { return false };
    if !answer(crossing, space, asker, Answer::Count(asked as u64)).await {
        return false;
    }
    for _ in 0..asked {
        let Some(acked) = acks.next(until).await else { return false };
        if !answer(crossing, space, asker, Answer::Ack(first(&acked))).await {
            return false;
        }
    }
    true
}

/// What Node takes of an acknowledgement: its first argument.
fn first(acked: &Acked) -> Value {
    let attachments = acked.buffers();
    match wire::value(acked.args.get().as_bytes(), &attachments) {
        Ok(Value::Array(arguments)) => arguments.into_iter().next().unwrap_or(Value::Nil),
        Ok(_) | Err(_) => Value::Nil,
    }
}

/// A call of the server API.
pub(super) async fn ask<T: for<'de> Deserialize<'de>>(
    bridge: &Bridge,
    method: &str,
    call: &impl Serialize,
) -> Option<T> {
    let call = serde_json::to_vec(call).ok()?;
    match bridge.api.call(method, &call, Source::Bridge).await {
        Reply::Result(result) => serde_json::from_str(result.get()).ok(),
        Reply::Whole(_) | Reply::Malformed(_) => None,
        Reply::Error(error) => {
            debug!(method, %error, "what a server behind Redis asks could not be done");
            None
        }
    }
}

/// Whether it was published.
async fn answer(crossing: &Crossing<'_>, space: &Space, asker: &Asker, answer: Answer) -> bool {
    let Some(outbound) = space.answer(asker, answer) else { return false };
    let mut messages = Pipeline::new();
    outbound.put(&mut messages);
    matches!(crossing.publish(&messages).await, Some(Ok(())))
}

fn count(bridge: &Bridge, kind: BridgeRequest, done: bool) {
    let outcome = if done { Outcome::Passed } else { Outcome::Failed };
    bridge.telemetry.bridge.requests.of((kind, outcome)).increment(1);
}

const fn kind(asked: &Asked) -> BridgeRequest {
    match asked {
        Asked::Sockets(_) => BridgeRequest::Sockets,
        Asked::AllRooms => BridgeRequest::Rooms,
        Asked::Join(..) => BridgeRequest::Join,
        Asked::Leave(..) => BridgeRequest::Leave,
        Asked::Disconnect { .. } => BridgeRequest::Disconnect,
        Asked::Fetch(_) => BridgeRequest::Fetch,
        Asked::ServerSide(_) => BridgeRequest::ServerSide,
        Asked::Broadcast { .. } => BridgeRequest::Broadcast,
    }
}
