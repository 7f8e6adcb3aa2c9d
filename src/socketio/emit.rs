//! Does what backends ask of sockets, with those of this node.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::debug;
use uuid::Uuid;

use super::SocketIo;
use super::acks::{self, TooManyCalls};
use super::call::{Call, Emit, Target, Verb, What};
use super::sockets::Chosen;
use crate::backplane::{Backplane, PublishError, SubscribeError};
use crate::hub::{Asker, Control, Errand, Order, Placement, Spill, Taken};
use crate::protocol::Channel;
use crate::protocol::centrifuge::Format;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::socketio::{Body, Packet};
use crate::relay::Addressed;
use crate::telemetry::{EmitResult, Topic};

/// The topic on which events are told to all nodes.
pub(super) const EMITS: &str = "sio-emit";
/// The same for what another cluster tells: the bridge to there does not hear it.
pub(super) const EMITS_FROM_ABROAD: &str = "sio-emit-abroad";
/// Outboxes that are written one after another before other tasks get their turn.
const YIELD_EVERY: usize = 256;
/// How long sessions may take to do what is asked: less than whoever asks this node waits.
const PATIENCE: Duration = Duration::from_millis(500);
/// Sessions that are waited for.
const WAITED_FOR: usize = 1000;
/// How often what nobody waits for any more is forgotten.
const SWEEP: Duration = Duration::from_secs(5);
/// How much longer than whoever asked a node waits for acknowledgements, which are on their way meanwhile.
const MARGIN: Duration = Duration::from_secs(1);

/// What clients are to be asked, beside the event itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Asking<'a> {
    /// As the node calls it that wants to know.
    pub call: u64,
    pub node: &'a str,
}

/// What is told of a socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct SocketInfo {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    pub rooms: Vec<String>,
}

/// What nodes tell each other of sockets.
pub struct Told {
    emits: mpsc::Receiver<Bytes>,
    abroad: mpsc::Receiver<Bytes>,
    acks: mpsc::Receiver<Bytes>,
}

impl SocketIo {
    /// Begins to hear what other nodes tell. Give it to [`obey`](Self::obey).
    ///
    /// # Errors
    /// When the backplane does not accept the subscription.
    pub async fn hear(backplane: &dyn Backplane, node: &str) -> Result<Told, SubscribeError> {
        let emits = backplane.broadcast().hear(EMITS).await?;
        let abroad = backplane.broadcast().hear(EMITS_FROM_ABROAD).await?;
        let acks = backplane.broadcast().hear(&acks::topic(node)).await?;
        Ok(Told { emits, abroad, acks })
    }

    /// Does what other nodes tell, until they do no longer.
    pub async fn obey(self: Arc<Self>, mut told: Told) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = told.emits.recv() => match message {
                    Some(message) => self.emit_told(&message).await,
                    None => return,
                },
                message = told.abroad.recv() => match message {
                    Some(message) => self.emit_told(&message).await,
                    None => return,
                },
                message = told.acks.recv() => match message {
                    Some(message) => self.acked(&message),
                    None => return,
                },
                _ = sweep.tick() => self.acks.sweep(),
            }
        }
    }

    /// Tells all nodes to emit, at most once.
    ///
    /// # Errors
    /// As the backplane says.
    pub async fn tell_emit(&self, json: &str) -> Result<(), PublishError> {
        self.backplane.broadcast().tell(EMITS, Bytes::copy_from_slice(json.as_bytes())).await
    }

    /// Reads what is published of events that are for more than one room, where clients may come back.
    pub(super) fn read_events(self: &Arc<Self>) {
        for namespace in self.namespaces.values().filter(|namespace| namespace.recovery.is_some()) {
            let Some(rooms) = &namespace.rooms else { continue };
            let (shared, name) = (Arc::downgrade(self), Arc::clone(&namespace.name));
            let read = move |data: &[u8]| {
                let shared = shared.upgrade()?;
                let Ok(Call { target, what }) = shared.read(Verb::Emit, str::from_utf8(data).ok()?) else {
                    return None;
                };
                let What::Emit(Emit { arguments, volatile, .. }) = what else { return None };
                let chosen = (target.namespace.name == name).then(|| shared.sockets.select(&target))?;
                Some(Addressed { arguments, volatile, to: chosen.into_iter().map(|chosen| chosen.outbox).collect() })
            };
            self.services.relay.read_events(&rooms.name, Box::new(read));
        }
    }

    async fn emit_told(&self, message: &Bytes) {
        let call = str::from_utf8(message).ok().map(|json| self.read(Verb::Emit, json));
        match call {
            Some(Ok(Call { target, what: What::Emit(emit) })) => {
                self.deliver(&target, &emit, None).await;
            }
            Some(Err(wrong)) => {
                debug!(%wrong, "a node told to emit what this one does not understand");
                self.services.telemetry.cluster.not_understood(Topic::Emit);
            }
            None | Some(Ok(_)) => self.services.telemetry.cluster.not_understood(Topic::Emit),
        }
    }

    /// Emits and asks for acknowledgements; returns how many clients owe one.
    ///
    /// # Errors
    /// When too many calls wait for acknowledgements.
    pub async fn ask_clients(&self, call: &Call, asking: Asking<'_>) -> Result<usize, TooManyCalls> {
        let What::Emit(emit) = &call.what else { return Ok(0) };
        self.emit_asking(&call.target, emit, asking).await
    }

    async fn emit_asking(&self, target: &Target, emit: &Emit, asking: Asking<'_>) -> Result<usize, TooManyCalls> {
        let within = emit.ack_within.unwrap_or_default() + MARGIN;
        let chosen = self.sockets.select(target);
        let by: HashSet<Uuid> = chosen.iter().map(|chosen| chosen.id).collect();
        let asked = by.len();
        if asked == 0 {
            return Ok(0);
        }
        let id = self.acks.owe(asking.call, asking.node, by, within)?;
        let not_asked = self.deliver_to(chosen, target, emit, Some(id)).await;
        self.acks.release(id, &not_asked);
        Ok(asked - not_asked.len())
    }

    async fn deliver(&self, target: &Target, emit: &Emit, id: Option<u64>) {
        self.deliver_to(self.sockets.select(target), target, emit, id).await;
    }

    /// Gives an event, encoded once, to each socket; returns those that do not get it.
    async fn deliver_to(&self, chosen: Vec<Chosen>, target: &Target, emit: &Emit, id: Option<u64>) -> Vec<Uuid> {
        let namespace = target.namespace.name.to_string().into();
        let frames = Packet { namespace, body: Body::Event { id, arguments: emit.arguments.clone() } }.frames();
        let spill = if emit.volatile { Spill::Drop } else { Spill::Close };
        let mut missed = Vec::new();
        let mut queued = 0;
        for (index, Chosen { id, outbox }) in chosen.into_iter().enumerate() {
            let taken = outbox.offer(frames.clone(), spill);
            let result = match taken {
                Taken::First | Taken::Again | Taken::Replaced => EmitResult::Queued,
                Taken::Dropped | Taken::Full => EmitResult::Dropped,
                Taken::Overflow => EmitResult::Overflow,
                Taken::Closed => EmitResult::Gone,
            };
            self.count_emit(result, 1);
            match result {
                EmitResult::Queued => queued += 1,
                EmitResult::Dropped | EmitResult::Overflow | EmitResult::Gone => missed.push(id),
            }
            if taken == Taken::First {
                // A session is told by the outbox itself where its socket is full or gone.
                outbox.flush();
            }
            if index % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
        }
        let sent = [(Format::SocketIo, queued, queued * frames.len())];
        self.services.telemetry.clients.count_sent(sent.into_iter());
        missed
    }

    /// Puts sockets into rooms or out of them, or sends them away; returns how many, once their sessions have done it,
    /// or were given the time for it: half a second, and the first thousand of them.
    pub async fn order(&self, call: &Call) -> usize {
        let chosen = self.sockets.select(&call.target);
        let count = chosen.len();
        let errands = match &call.what {
            What::Join(rooms) => each(rooms, |room| Errand::Subscribe(Arc::new(Placement::plain(room)))),
            What::Leave(rooms) => each(rooms, |room| Errand::Unsubscribe(Some(room))),
            What::Disconnect { close: false } => vec![Errand::Dismiss],
            What::Disconnect { close: true } => Vec::new(),
            What::Emit(_) | What::Sockets => return 0,
        };
        // A connection tells of each of its sockets.
        let (sender, mut obeyed) = mpsc::channel((count.min(WAITED_FOR) * self.namespaces.len()).max(1));
        let done = Arc::new(Order::Describe(Asker(sender)));
        for (index, Chosen { id, outbox }) in chosen.into_iter().enumerate() {
            if let What::Disconnect { close: true } = call.what {
                outbox.request(Control::Close(DisconnectCode::ForceNoReconnect.into()));
            }
            for errand in &errands {
                outbox.request_of(id, errand.clone());
            }
            if index < WAITED_FOR {
                outbox.request(Control::Obey(Arc::clone(&done)));
            }
            if index % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
        }
        // Sessions drop their orders when they have done them, or end.
        drop(done);
        let all_done = async { while obeyed.recv().await.is_some() {} };
        if timeout(PATIENCE, all_done).await.is_err() {
            debug!("sessions have not come yet to what a backend asks");
        }
        count
    }

    /// What is known of the sockets that are meant, by id.
    #[must_use]
    pub fn describe(&self, call: &Call) -> BTreeMap<String, SocketInfo> {
        let described = self.sockets.describe(&call.target).into_iter().map(|known| {
            let rooms = known.rooms.iter().map(|room| room.rest().to_owned()).collect();
            (known.id.to_string(), SocketInfo { user: known.user.to_string(), rooms })
        });
        described.collect()
    }

    fn count_emit(&self, result: EmitResult, count: u64) {
        self.services.telemetry.clients.emits.of(result).increment(count);
    }
}

fn each(rooms: &[Channel], errand: impl Fn(Channel) -> Errand) -> Vec<Errand> {
    rooms.iter().cloned().map(errand).collect()
}
