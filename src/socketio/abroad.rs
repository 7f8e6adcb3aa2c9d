//! Events on their way to sockets of another cluster that serves the same rooms, and from there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::debug;
use uuid::Uuid;

use super::call::{Call, Selection, Target, Verb, What, WrittenCall, WrittenSelection};
use super::{SocketIo, emit, rooms};
use crate::backplane::{Meta, Outgoing, PublishError, SubscribeError};
use crate::protocol::Channel;
use crate::protocol::socketio::Arguments;
use crate::settings::SocketIoNamespace;
use crate::telemetry::Source;

/// An event and whom it is for, as both clusters know it: by rooms, of which a socket's id is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abroad {
    pub namespace: Arc<str>,
    /// Everybody where it is empty.
    pub rooms: Vec<String>,
    pub except: Vec<String>,
    pub arguments: Arguments,
    pub volatile: bool,
}

/// What is done with sockets there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderAbroad {
    pub namespace: Arc<str>,
    /// Everybody where it is empty.
    pub rooms: Vec<String>,
    pub except: Vec<String>,
    pub order: Ordered,
}

/// An order to sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    Join(Vec<String>),
    Leave(Vec<String>),
    /// The whole connection, where wanted, or the namespace alone.
    Disconnect {
        close: bool,
    },
}

/// The topic on which the bridge is told what backends order.
const ORDERS: &str = "sio-orders";

/// An order as it was given.
#[derive(Serialize, Deserialize)]
struct Overheard<'a> {
    verb: Verb,
    #[serde(borrow)]
    call: &'a RawValue,
}

impl SocketIo {
    /// The namespace of channels that are the rooms of `namespace`.
    #[must_use]
    pub fn rooms_of(&self, namespace: &str) -> Option<&str> {
        self.namespaces.get(namespace)?.rooms.as_ref().map(|rooms| &*rooms.name)
    }

    /// Hears what backends have all nodes emit, from now on.
    ///
    /// # Errors
    /// When the backplane does not accept the subscription.
    pub async fn overhear_emits(&self) -> Result<mpsc::Receiver<Bytes>, SubscribeError> {
        self.backplane.broadcast().hear(emit::EMITS).await
    }

    /// What another cluster is to be told of that; `None` where only sockets of this one are meant: users are known here alone.
    #[must_use]
    pub fn abroad(&self, told: &[u8]) -> Option<Abroad> {
        let call = self.read(Verb::Emit, str::from_utf8(told).ok()?).ok()?;
        let Call { target, what: What::Emit(emit) } = call else { return None };
        let (rooms, except) = target.named_abroad()?;
        Some(Abroad {
            namespace: Arc::clone(&target.namespace.name),
            rooms,
            except,
            arguments: emit.arguments,
            volatile: emit.volatile,
        })
    }

    /// Tells the bridge, if there is one, what the nodes have done by order of a backend.
    pub async fn tell_order(&self, verb: Verb, call: &RawValue) {
        let Ok(message) = serde_json::to_vec(&Overheard { verb, call }) else { return };
        if let Err(error) = self.backplane.broadcast().tell(ORDERS, message.into()).await {
            debug!(%error, "a bridge is not told of an order");
        }
    }

    /// Hears what backends order, from now on.
    ///
    /// # Errors
    /// When the backplane does not accept the subscription.
    pub async fn overhear_orders(&self) -> Result<mpsc::Receiver<Bytes>, SubscribeError> {
        self.backplane.broadcast().hear(ORDERS).await
    }

    /// What another cluster is to do of that; `None` where only sockets of this one are meant.
    #[must_use]
    pub fn order_abroad(&self, told: &[u8]) -> Option<OrderAbroad> {
        let Overheard { verb, call } = serde_json::from_slice(told).ok()?;
        let Call { target, what } = self.read(verb, call.get()).ok()?;
        let names = |rooms: Vec<Channel>| rooms.iter().map(|room| room.rest().to_owned()).collect();
        let order = match what {
            What::Join(rooms) => Ordered::Join(names(rooms)),
            What::Leave(rooms) => Ordered::Leave(names(rooms)),
            What::Disconnect { close } => Ordered::Disconnect { close },
            What::Emit(_) | What::Sockets => return None,
        };
        let (rooms, except) = target.named_abroad()?;
        Some(OrderAbroad { namespace: Arc::clone(&target.namespace.name), rooms, except, order })
    }

    /// Emits what another cluster tells: in its channel where it is for one room and nothing else, or else by telling all
    /// nodes. Returns once the backplane has it.
    ///
    /// # Errors
    /// As the backplane says.
    pub async fn emit_from_abroad(&self, event: &Abroad) -> Result<(), PublishError> {
        let Some(namespace) = self.namespaces.get(&event.namespace).map(Arc::clone) else { return Ok(()) };
        let plain = event.except.is_empty() && event.arguments.attachments().is_empty() && !event.volatile;
        let [room] = &event.rooms[..] else { return self.tell_from_abroad(event).await };
        let channel = self.room(&namespace, room).filter(|_| plain);
        let Some(channel) = channel else { return self.tell_from_abroad(event).await };
        let meta = Meta { bridged: true, ..Meta::default() };
        let message = Outgoing { data: event.arguments.json().clone(), meta, ..Outgoing::default() };
        self.services.relay.publish(&channel, message, Source::Bridge).await?;
        if let Some(id) = socket(room) {
            // A socket with this id, unless it is in a room of that name besides.
            let to = WrittenSelection { sockets: Some(vec![id]), ..WrittenSelection::default() };
            let except = WrittenSelection { rooms: Some(vec![room.clone()]), ..WrittenSelection::default() };
            return self.tell_all(about(&namespace, to, except), event).await;
        }
        Ok(())
    }

    async fn tell_from_abroad(&self, event: &Abroad) -> Result<(), PublishError> {
        match self.call(&event.namespace, &event.rooms, &event.except) {
            Some(call) => self.tell_all(call, event).await,
            None => Ok(()),
        }
    }

    async fn tell_all(&self, call: WrittenCall, event: &Abroad) -> Result<(), PublishError> {
        let call = call.emitting(&event.arguments, event.volatile, Duration::ZERO);
        let message = call.and_then(|call| serde_json::to_vec(&call).ok());
        let message = message.ok_or_else(|| PublishError::Refused("no JSON".to_owned()))?;
        self.backplane.broadcast().tell(emit::EMITS_FROM_ABROAD, message.into()).await
    }

    /// A call about whoever is in one of `rooms` (everybody, where there are none) and in none of `except`; `None` where nobody
    /// here can be meant.
    #[must_use]
    pub fn call(&self, namespace: &str, rooms: &[String], except: &[String]) -> Option<WrittenCall> {
        let namespace = self.namespaces.get(namespace)?;
        let [to, except] = [rooms, except].map(|rooms| WrittenSelection {
            rooms: some(rooms.iter().filter(|room| self.room(namespace, room).is_some()).cloned().collect()),
            sockets: some(rooms.iter().filter_map(|room| socket(room)).collect()),
            ..WrittenSelection::default()
        });
        // Rooms that can be none here have nobody in them, which is not the same as no rooms.
        (rooms.is_empty() || !to.is_empty()).then(|| about(namespace, to, except))
    }

    /// Whether a room of this name can be here.
    #[must_use]
    pub fn may_be_room(&self, namespace: &str, room: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|namespace| self.room(namespace, room).is_some())
    }

    fn room(&self, namespace: &SocketIoNamespace, room: &str) -> Option<Channel> {
        rooms::channel(namespace, room, self.services.channel.max_length)
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn about(namespace: &SocketIoNamespace, to: WrittenSelection, except: WrittenSelection) -> WrittenCall {
    WrittenCall { namespace: namespace.name.to_string(), to, except, ..WrittenCall::default() }
}

impl Target {
    /// Whom it means, and leaves out, by rooms; `None` where these are only users and sockets, of whom none is abroad.
    fn named_abroad(&self) -> Option<(Vec<String>, Vec<String>)> {
        let here_alone = self.to.rooms.is_empty() && !self.to.is_empty();
        (!here_alone).then(|| (self.to.names(), self.except.names()))
    }
}

impl Selection {
    /// Its rooms, and the sockets as rooms of their own.
    fn names(&self) -> Vec<String> {
        let rooms = self.rooms.iter().map(|room| room.rest().to_owned());
        rooms.chain(self.sockets.iter().map(Uuid::to_string)).collect()
    }
}

/// The id of a socket of this cluster, written as it is told to clients.
fn socket(room: &str) -> Option<Uuid> {
    Uuid::try_parse(room).ok().filter(|id| id.to_string() == room)
}
