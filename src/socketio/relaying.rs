//! Events on their way into rooms: one after another, as their client emitted them, while its session goes on.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, poll};
use tokio::time::timeout;
use tracing::debug;

use super::Connection;
use crate::backplane::Outgoing;
use crate::protocol::socketio::{Arguments, Body, Packet, RoomRule};
use crate::telemetry::{EventResult, Source};

/// Events of one connection that may wait; beyond that its next message waits for the oldest.
const WAITING: usize = 32;
/// How long the last ones may take after their client has gone.
const LAST: Duration = Duration::from_secs(5);

/// Publications that have not been acknowledged, each with what its client is told then. Only the first is under way.
#[derive(Default)]
pub(super) struct Relaying(VecDeque<BoxFuture<'static, Option<Packet>>>);

impl Relaying {
    /// What the client is told of the oldest one. Waits for ever where there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Packet> {
        let Some(oldest) = self.0.front_mut() else { return pending().await };
        let packet = oldest.await;
        self.0.pop_front();
        packet
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() > WAITING
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl Connection {
    /// An event for a room. It is acknowledged once it is accepted, and not at all where it is not.
    pub(super) async fn relayed(&mut self, socket: usize, room: &RoomRule, id: Option<u64>, arguments: &Arguments) {
        let shared = Arc::clone(&self.shared);
        let argument = if room.wants_argument() { arguments.first_argument() } else { None };
        let room = room.room(&self.sockets[socket].user, argument.as_deref());
        let Some(channel) = room.and_then(|room| self.room_of(socket, &room)) else {
            return shared.count(EventResult::NotInRoom);
        };
        let namespace = self.sockets[socket].namespace.name.to_string();
        let message = Outgoing { data: arguments.json().clone(), ..Outgoing::default() };
        let mut publishing = async move {
            match shared.services.relay.publish(&channel, message, Source::Client).await {
                Ok(_) => {
                    shared.count(EventResult::Relayed);
                    let body = |id| Body::Ack { id, arguments: Arguments::none() };
                    id.map(|id| Packet { namespace: namespace.into(), body: body(id) })
                }
                Err(error) => {
                    debug!(%channel, "an event was not relayed: {error}");
                    shared.count(EventResult::Failed);
                    None
                }
            }
        }
        .boxed();
        let others = self.relaying.as_ref().map_or(0, |relaying| relaying.len());
        if others == 0
            && let Poll::Ready(packet) = poll!(&mut publishing)
        {
            return self.acknowledge(packet);
        }
        self.relaying.get_or_insert_default().0.push_back(publishing);
    }

    /// Publishes what its client emitted before it went.
    pub(super) async fn relay_last(&mut self) {
        let Some(mut relaying) = self.relaying.take() else { return };
        let last = async {
            while relaying.len() > 0 {
                relaying.next().await;
            }
        };
        if timeout(LAST, last).await.is_err() {
            (0..relaying.len()).for_each(|_| self.shared.count(EventResult::Failed));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[tokio::test]
    async fn each_begins_when_the_one_before_is_over() {
        let (begun, mut begins) = mpsc::channel(2);
        let mut relaying = Relaying::default();
        let ends: Vec<_> = (0..2)
            .map(|number| {
                let (end, ended) = oneshot::channel::<()>();
                let begun = begun.clone();
                relaying.0.push_back(
                    async move {
                        begun.try_send(number).unwrap();
                        ended.await.unwrap();
                        None
                    }
                    .boxed(),
                );
                end
            })
            .collect();
        let mut ends = ends.into_iter();
        // Given up and waited for again, as sessions do.
        assert!(poll!(Box::pin(relaying.next())).is_pending());
        assert!(poll!(Box::pin(relaying.next())).is_pending());
        assert_eq!(begins.try_recv(), Ok(0));
        assert!(begins.try_recv().is_err(), "the second waits");
        ends.next().unwrap().send(()).unwrap();
        relaying.next().await;
        assert!(poll!(Box::pin(relaying.next())).is_pending());
        assert_eq!(begins.try_recv(), Ok(1));
        drop(relaying);
    }
}
