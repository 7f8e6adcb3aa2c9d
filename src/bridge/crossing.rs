//! Being the bridge: a connection to Redis that is kept up, and what goes over it both ways.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Pipeline, RedisError};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::dial::Connected;
use super::publisher::Publisher;
use super::queue::{self, Heard, What};
use super::{Bridge, inward, orders, outward};
use crate::causes::causes;
use crate::telemetry::{Overflow, Pace, Shore};

/// Before the second attempt to connect; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the connection that hears is asked whether it still does, and how long the answer may take.
const BEAT: Duration = Duration::from_secs(5);
/// How often a node says that it is still without Redis.
const REMIND_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Crossing<'a> {
    pub(super) bridge: &'a Bridge,
    publisher: Publisher,
}

impl<'a> Crossing<'a> {
    pub(super) fn new(bridge: &'a Bridge) -> Self {
        Self { bridge, publisher: Publisher::default() }
    }

    /// Goes on for ever.
    pub(super) async fn run(&self) {
        let (sender, receiver) = queue::open();
        let (asked, questions) = orders::open();
        tokio::join!(
            self.keep_connected(&sender),
            inward::run(self, receiver, asked),
            orders::run(self, questions),
            outward::run(self),
        );
    }

    /// Publishes what was gathered, in one round trip; `None` while Redis is away.
    pub(super) async fn publish(&self, messages: &Pipeline) -> Option<Result<(), RedisError>> {
        self.publisher.publish(messages).await
    }

    async fn keep_connected(&self, sender: &queue::Sender) {
        let metrics = &self.bridge.telemetry.bridge;
        let (mut pause, complaints) = (FIRST_PAUSE, Pace::every(REMIND_EVERY));
        loop {
            match self.connect().await {
                Ok((server, mut sink, stream)) => {
                    info!(%server, "the bridge is connected to Redis");
                    metrics.connected.set(1.0);
                    pause = FIRST_PAUSE;
                    let why = tokio::select! {
                        () = self.hear(stream, sender) => "the connection has ended",
                        why = beat(&mut sink) => why,
                        () = self.publisher.broken() => "nothing can be published",
                    };
                    self.publisher.close();
                    metrics.connected.set(0.0);
                    metrics.interruptions.of(Shore::Redis).increment(1);
                    warn!(%server, why, "the bridge has lost Redis: what is emitted meanwhile does not cross");
                }
                Err(why) => {
                    if let Some(left_out) = complaints.due() {
                        warn!(why, left_out, "the bridge cannot reach Redis");
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Connects, and subscribes to everything.
    async fn connect(&self) -> Result<(Arc<str>, PubSubSink, PubSubStream), String> {
        let connected = self.bridge.dialer.dial().await.map_err(|error| causes(&error))?;
        let Connected { server, publisher, mut sink, stream } = connected;
        let spaces = &self.bridge.spaces;
        let patterns: Vec<_> = spaces.iter().map(|space| space.channels.broadcasts()).collect();
        let requests: Vec<_> = spaces.iter().map(|space| space.channels.requests()).collect();
        let subscribing = async {
            sink.psubscribe(patterns).await?;
            sink.subscribe(requests).await
        };
        match timeout(BEAT, subscribing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("{server}: {}", causes(&error))),
            Err(_) => return Err(format!("{server}: no answer to a subscription")),
        }
        self.publisher.open(publisher);
        Ok((server, sink, stream))
    }

    /// Does nothing but empty the library's queue, which has no bounds, into one that has.
    async fn hear(&self, mut stream: PubSubStream, sender: &queue::Sender) {
        let spaces = || self.bridge.spaces.iter().map(|space| &space.channels).enumerate();
        let patterns: HashMap<_, _> = spaces().map(|(space, channels)| (channels.broadcasts(), space)).collect();
        let requests: HashMap<_, _> = spaces().map(|(space, channels)| (channels.requests(), space)).collect();
        while let Some(message) = stream.next().await {
            let found = match message.get_pattern::<String>() {
                Ok(pattern) if message.from_pattern() => patterns.get(&pattern).map(|space| (*space, What::Broadcast)),
                _ => requests.get(message.get_channel_name()).map(|space| (*space, What::Request)),
            };
            let Some((space, what)) = found else { continue };
            let heard = Heard { space, what, payload: message.get_payload_bytes().to_vec() };
            if !sender.offer(heard) {
                self.bridge.telemetry.queues.overflows.of(Overflow::Bridge).increment(1);
            }
        }
    }
}

/// Returns once the connection does not answer.
async fn beat(sink: &mut PubSubSink) -> &'static str {
    loop {
        sleep(BEAT).await;
        match timeout(BEAT, sink.ping::<redis::Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return "it does not answer",
        }
    }
}
