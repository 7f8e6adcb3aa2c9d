//! A namespace that is bridged: what is said there, and where, in the servers' own words.

use std::sync::Arc;

use redis::Pipeline;
use uuid::Uuid;

use super::OWN;
use super::wire::{Answer, Asked, Broadcast, Channels, Request, Response, Teller};
use crate::settings::{Adapter, Redis, SubscriptionMode};

/// The length of a socket's id in Node, in UTF-16 units: by it the adapter knows one.
const ID_LENGTH: usize = 20;

pub(super) struct Space {
    pub(super) name: Arc<str>,
    pub(super) channels: Channels,
    /// This bridge's id in it.
    pub(super) uid: String,
    adapter: Adapter,
}

/// Something that goes out.
pub(super) struct Outbound {
    command: &'static str,
    channel: String,
    payload: Vec<u8>,
}

/// Who waits for an answer.
pub(super) struct Asker {
    /// Older servers leave it out.
    pub(super) uid: Option<String>,
    pub(super) request: String,
}

impl Space {
    pub(super) fn new(settings: &Redis, name: &Arc<str>) -> Self {
        Self {
            name: Arc::clone(name),
            channels: Channels::new(&settings.key_prefix, name),
            uid: format!("{OWN}{}", &Uuid::new_v4().simple().to_string()[..8]),
            adapter: settings.adapter,
        }
    }

    pub(super) fn broadcast(&self, broadcast: &Broadcast) -> Outbound {
        match self.adapter {
            Adapter::Classic => Outbound::classic(self.channels.broadcast(broadcast.room()), broadcast.encode()),
            Adapter::Sharded(mode) => {
                let room = broadcast.room().filter(|room| has_channel(mode, room));
                Outbound::sharded(self.channels.broadcast(room), self.teller().broadcast(broadcast))
            }
        }
    }

    /// `None` for what is no order.
    pub(super) fn order(&self, asked: Asked) -> Option<Outbound> {
        match self.adapter {
            Adapter::Classic => {
                let request = Request { uid: Some(self.uid.clone()), id: None, asked };
                Some(Outbound::classic(self.channels.requests(), request.encode()))
            }
            Adapter::Sharded(_) => Some(Outbound::sharded(self.channels.broadcast(None), self.teller().order(&asked)?)),
        }
    }

    /// `None` where nobody can have asked for it.
    pub(super) fn answer(&self, asker: &Asker, answer: Answer) -> Option<Outbound> {
        match self.adapter {
            Adapter::Classic => {
                let response = Response { id: asker.request.clone(), answer };
                Some(Outbound::classic(self.channels.responses(), response.encode()))
            }
            Adapter::Sharded(_) => {
                let channel = self.channels.broadcast(Some(asker.uid.as_deref()?));
                Some(Outbound::sharded(channel, self.teller().answer(&asker.request, &answer)?))
            }
        }
    }

    /// The channel in which is told what is for this room alone, or for the socket of this id; `None` where it has none of its
    /// own.
    pub(super) fn hears(&self, room: &str) -> Option<String> {
        match self.adapter {
            Adapter::Sharded(mode) if has_channel(mode, room) => Some(self.channels.broadcast(Some(room))),
            Adapter::Sharded(_) | Adapter::Classic => None,
        }
    }

    /// Whether rooms have any, to which somebody must listen.
    pub(super) fn has_channels(&self) -> bool {
        matches!(self.adapter, Adapter::Sharded(SubscriptionMode::Dynamic | SubscriptionMode::DynamicPrivate))
    }

    fn teller(&self) -> Teller<'_> {
        Teller { uid: &self.uid, namespace: &self.name }
    }
}

impl Outbound {
    fn classic(channel: String, payload: Vec<u8>) -> Self {
        Self { command: "PUBLISH", channel, payload }
    }

    fn sharded(channel: String, payload: Vec<u8>) -> Self {
        Self { command: "SPUBLISH", channel, payload }
    }

    pub(super) fn put(self, messages: &mut Pipeline) {
        messages.cmd(self.command).arg(self.channel).arg(self.payload).ignore();
    }
}

/// Whether servers hear a room in a channel of its own.
fn has_channel(mode: SubscriptionMode, room: &str) -> bool {
    match mode {
        SubscriptionMode::Static => false,
        SubscriptionMode::Dynamic => room.encode_utf16().count() != ID_LENGTH,
        SubscriptionMode::DynamicPrivate => true,
    }
}
