//! What speaks over sessions.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use super::{CloseReason, Handover};
use crate::hub::{Order, Outbox};
use crate::protocol::Channel;
use crate::protocol::socketio::Message;
use crate::session::Peer;

/// Makes a handler for each session.
pub trait Layer: Send + Sync + 'static {
    type Handler: Handler;

    /// For a session that begins. What it has to say goes into the outbox.
    fn open(&self, outbox: &Arc<Outbox>, peer: Peer) -> Self::Handler;

    /// For a session that is about to come from another node, whose handler packed this; `None` where it cannot. What comes
    /// into the outbox is held back until it is here.
    fn arrive(&self, outbox: &Arc<Outbox>, packed: &[u8]) -> impl Future<Output = Option<Self::Handler>> + Send;
}

/// The other side of one session. Its calls come one after another, from the session's own task; while one waits, the client
/// waits as well and is not pinged, so none may wait for long. What a message has to wait for longer is waited for before the
/// next one, while the handler [is full](Self::is_full): the session goes on otherwise.
pub trait Handler: Send + 'static {
    /// A message of the client.
    fn take(&mut self, message: Message) -> impl Future<Output = Result<(), CloseReason>> + Send;

    /// Whether it takes no message before something of what it waits for has come ([`progress`](Self::progress)).
    fn is_full(&self) -> bool;

    /// What the handler waits for by itself, if for anything. Dropped and called again at any time.
    fn progress(&mut self) -> impl Future<Output = Result<(), CloseReason>> + Send;

    /// What backends ask of the client.
    fn obey(&mut self, order: Arc<Order>) -> impl Future<Output = Result<(), CloseReason>> + Send;

    /// Deliveries of this channel were lost for good.
    fn lost(&mut self, channel: Channel) -> Result<(), CloseReason>;

    /// When to call [`on_deadline`](Self::on_deadline) next, if ever.
    fn next_deadline(&self) -> Option<Instant>;

    /// What is due at `now`.
    fn on_deadline(&mut self, now: Instant) -> Result<(), CloseReason>;

    /// Whether another node can take the session.
    fn may_move(&self) -> bool;

    /// What another node needs to prepare for the session, which stays here for now.
    fn pack(&self) -> Vec<u8>;

    /// The session goes on at another node: what that one needs, and frames that come too late to be among what waits.
    fn depart(self) -> impl Future<Output = (Vec<u8>, BoxStream<'static, Bytes>)> + Send;

    /// The session has come from another node.
    fn settle(&mut self, handover: Handover) -> impl Future<Output = Result<(), CloseReason>> + Send;

    /// The session is over.
    fn closed(self, reason: &CloseReason) -> impl Future<Output = ()> + Send;
}
