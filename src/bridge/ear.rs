//! The connection that hears.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{Msg, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::line::Line;
use super::queue::{Heard, LARGEST, NotTaken, Sender, What};
use super::space::Space;
use crate::telemetry::{Crossing, Overflow, Pace, Telemetry, Way};

/// How often the connection is asked whether it still hears, and how long the answer may take.
pub(super) const BEAT: Duration = Duration::from_secs(5);

/// Hears what servers say.
pub(super) enum Ear {
    /// Those with the classic adapter: whatever a pattern matches, and what is asked.
    Classic { sink: PubSubSink, stream: PubSubStream },
    /// Those with the sharded one: what it subscribes to is pushed.
    Sharded(MultiplexedConnection),
}

/// Where it goes: the library's queue has no bounds, this one has.
pub(super) struct Hearer {
    /// Patterns and channels, and what comes there.
    places: HashMap<String, What>,
    sender: Sender,
    telemetry: Arc<Telemetry>,
    /// Of lines about messages that are too large.
    too_large: Pace,
    /// It hears no more.
    deaf: Notify,
}

impl Hearer {
    pub(super) fn new(spaces: &[Space], sender: Sender, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let places = spaces.iter().enumerate().flat_map(|(index, Space { channels, .. })| {
            [
                (channels.broadcasts(), What::Broadcast(index)),
                (channels.requests(), What::Request(index)),
                (channels.broadcast(None), What::Sharded),
            ]
        });
        Arc::new(Self { places: places.collect(), sender, telemetry, too_large: Pace::default(), deaf: Notify::new() })
    }

    fn hear(&self, message: &Msg) {
        let pattern = message.get_pattern::<String>().ok().filter(|_| message.from_pattern());
        let place = pattern.as_deref().unwrap_or_else(|| message.get_channel_name());
        let Some(what) = self.places.get(place) else { return };
        self.offer(*what, message.get_payload_bytes().to_vec());
    }

    /// What a server pushes to the connection, or the library says of it.
    pub(super) fn pushed(&self, PushInfo { kind, mut data }: PushInfo) {
        match kind {
            PushKind::SMessage => {
                if let Some(Value::BulkString(payload)) = data.pop() {
                    self.offer(What::Sharded, payload);
                }
            }
            PushKind::Disconnection => self.deaf.notify_one(),
            _ => {}
        }
    }

    fn offer(&self, what: What, payload: Vec<u8>) {
        match self.sender.offer(Heard { what, payload }) {
            Ok(()) => {}
            Err(NotTaken::NoRoom) => self.telemetry.queues.overflows.of(Overflow::Bridge).increment(1),
            Err(NotTaken::TooLarge(bytes)) => {
                self.telemetry.bridge.events.of((Way::In, Crossing::TooLarge)).increment(1);
                if let Some(left_out) = self.too_large.due() {
                    warn!(bytes, limit = LARGEST, left_out, "a message of Redis is too large to cross");
                }
            }
        }
    }
}

impl Ear {
    /// Hears everything that servers say in these namespaces.
    pub(super) async fn subscribe(&mut self, spaces: &[Space], line: &Line) -> RedisResult<()> {
        let channels = || spaces.iter().map(|space| &space.channels);
        match self {
            Self::Classic { sink, .. } => {
                sink.psubscribe(channels().map(|channels| channels.broadcasts()).collect::<Vec<_>>()).await?;
                sink.subscribe(channels().map(|channels| channels.requests()).collect::<Vec<_>>()).await
            }
            Self::Sharded(_) => {
                let channels: Vec<_> = channels().map(|channels| channels.broadcast(None)).collect();
                line.subscribe("SSUBSCRIBE", &channels).await
            }
        }
    }

    /// Until nothing is heard any more; says why.
    pub(super) async fn hear(self, hearer: &Hearer) -> &'static str {
        match self {
            Self::Classic { sink, mut stream } => {
                // Does nothing but empty the library's queue.
                let hear = async {
                    while let Some(message) = stream.next().await {
                        hearer.hear(&message);
                    }
                };
                let ping = || {
                    let mut sink = sink.clone();
                    async move { sink.ping().await }
                };
                tokio::select! {
                    () = hear => "the connection has ended",
                    () = beat(ping) => "it does not answer",
                }
            }
            Self::Sharded(connection) => {
                let ping = || {
                    let mut connection = connection.clone();
                    async move { redis::cmd("PING").query_async(&mut connection).await }
                };
                tokio::select! {
                    () = hearer.deaf.notified() => "the connection has ended",
                    () = beat(ping) => "it does not answer",
                }
            }
        }
    }
}

/// Returns once there is no answer.
async fn beat<P: Future<Output = RedisResult<Value>>>(mut ping: impl FnMut() -> P) {
    loop {
        sleep(BEAT).await;
        if !matches!(timeout(BEAT, ping()).await, Ok(Ok(_))) {
            return;
        }
    }
}
