//! What speaks over sessions.

use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use super::CloseReason;
use crate::hub::{Order, Outbox};
use crate::protocol::Channel;
use crate::protocol::socketio::Message;
use crate::session::Peer;

/// Makes a handler for each session.
pub trait Layer: Send + Sync + 'static {
    type Handler: Handler;

    /// For a session that begins. What it has to say goes into the outbox.
    fn open(&self, outbox: &Arc<Outbox>, peer: Peer) -> Self::Handler;
}

/// The other side of one session. Its calls come one after another, from the session's own task; while one waits, the client
/// waits as well and is not pinged, so none may wait for long.
pub trait Handler: Send + 'static {
    /// A message of the client.
    fn take(&mut self, message: Message) -> impl Future<Output = Result<(), CloseReason>> + Send;

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

    /// The session is over.
    fn closed(self, reason: &CloseReason) -> impl Future<Output = ()> + Send;
}
