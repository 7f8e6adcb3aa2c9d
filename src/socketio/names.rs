//! Under which names sockets of this node can be reached: their rooms', and their own. Whoever has to listen for each of them
//! elsewhere is told when one comes up; which of them are there at all it finds by asking all nodes.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::SocketIo;
use crate::backplane::{PublishError, SubscribeError};
use crate::protocol::Channel;

/// The topic on which the bridge is told of names.
const NAMES: &str = "sio-names";
/// Names that wait for being told; beyond it is told that some were not.
const WAITING: usize = 4096;

/// What comes up on this node.
#[derive(Debug, PartialEq, Eq)]
pub enum Risen {
    /// A channel has its first listener, of whichever protocol.
    Channel(Channel),
    /// A socket has come into a namespace.
    Socket(Arc<str>, Uuid),
}

/// What came up on this node since it is watched.
pub struct Names {
    risen: mpsc::Receiver<Risen>,
    missed: Arc<AtomicBool>,
}

/// Names as nodes tell them.
#[derive(Serialize, Deserialize)]
pub enum News<'a> {
    /// Each with its namespace of Socket.IO.
    Risen(#[serde(borrow)] Vec<(Cow<'a, str>, Cow<'a, str>)>),
    /// There were more than could be told.
    Missed,
}

impl Names {
    /// The next of them, at most `limit` at a time; `None` where some were missed: whoever wants to know has to ask.
    pub async fn next(&mut self, limit: usize) -> Option<Vec<Risen>> {
        let mut risen = Vec::new();
        self.risen.recv_many(&mut risen, limit).await;
        (!self.missed.swap(false, Ordering::Relaxed)).then_some(risen)
    }
}

impl SocketIo {
    /// Gets what comes up on this node from now on. Who calls first gets it.
    pub fn watch_names(&self) -> Names {
        let (sender, risen) = mpsc::channel(WAITING);
        let missed = Arc::new(AtomicBool::new(false));
        let note = {
            let missed = Arc::clone(&missed);
            move |risen| {
                if sender.try_send(risen).is_err() {
                    missed.store(true, Ordering::Relaxed);
                }
            }
        };
        let of_sockets = note.clone();
        self.sockets.watch(Box::new(move |namespace, id| of_sockets(Risen::Socket(Arc::clone(namespace), id))));
        self.services.relay.watch(Box::new(move |channel| note(Risen::Channel(channel.clone()))));
        Names { risen, missed }
    }

    /// Tells the bridge.
    ///
    /// # Errors
    /// As the backplane says.
    pub async fn tell_names(&self, risen: Option<&[Risen]>) -> Result<(), PublishError> {
        let news = match risen {
            None => News::Missed,
            Some(risen) => News::Risen(risen.iter().flat_map(|risen| self.named(risen)).collect()),
        };
        if matches!(&news, News::Risen(names) if names.is_empty()) {
            return Ok(());
        }
        let message = serde_json::to_vec(&news).map_err(|error| PublishError::Refused(error.to_string()))?;
        self.backplane.broadcast().tell(NAMES, message.into()).await
    }

    /// Hears what comes up on all nodes, from now on: [`News`] in JSON.
    ///
    /// # Errors
    /// When the backplane does not accept the subscription.
    pub async fn overhear_names(&self) -> Result<mpsc::Receiver<Bytes>, SubscribeError> {
        self.backplane.broadcast().hear(NAMES).await
    }

    fn named<'a>(&'a self, risen: &'a Risen) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        match risen {
            Risen::Socket(namespace, id) => vec![(Cow::Borrowed(namespace), Cow::Owned(id.to_string()))],
            Risen::Channel(channel) => {
                self.spaces_of(channel).map(|name| (name.into(), channel.rest().into())).collect()
            }
        }
    }

    /// The namespaces that a channel is a room of.
    fn spaces_of(&self, channel: &Channel) -> impl Iterator<Item = &str> {
        let is_room = |name: &&str| self.rooms_of(name) == Some(channel.namespace());
        let names = self.namespaces.keys().map(|name| &**name);
        names.filter(move |name| !channel.is_private() && is_room(name))
    }
}
