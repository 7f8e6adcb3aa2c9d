//! Being the bridge: a connection to Redis that is kept up, and what goes over it both ways.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, RedisError};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::dial::Connected;
use super::ear::{BEAT, Ear, Hearer};
use super::line::Line;
use super::rooms::{self, Rooms};
use super::{Bridge, inward, orders, outward, queue};
use crate::causes::causes;
use crate::telemetry::{Pace, Shore};

/// Before the second attempt to connect; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a node says that it is still without Redis.
const REMIND_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Crossing<'a> {
    pub(super) bridge: &'a Bridge,
    line: Line,
    rooms: Rooms,
}

impl<'a> Crossing<'a> {
    pub(super) fn new(bridge: &'a Bridge) -> Self {
        Self { bridge, line: Line::default(), rooms: Rooms::default() }
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
            rooms::run(self),
        );
    }

    /// Publishes what was gathered, in one round trip; `None` while Redis is away.
    pub(super) async fn publish(&self, messages: &Pipeline) -> Option<Result<(), RedisError>> {
        self.line.publish(messages).await
    }

    /// Hears in these channels too.
    pub(super) async fn hear_in(&self, channels: impl IntoIterator<Item = String>) {
        let new = self.rooms.add(channels);
        self.change("SSUBSCRIBE", &new).await;
    }

    /// Of rooms in these channels only.
    pub(super) async fn hear_no_more_but(&self, channels: &HashSet<String>) {
        let gone = self.rooms.retain(channels);
        self.change("SUNSUBSCRIBE", &gone).await;
    }

    async fn change(&self, command: &str, channels: &[String]) {
        if let Err(error) = self.line.subscribe(command, channels).await {
            debug!(%error, "the bridge connects anew: it cannot hear where it should");
        }
    }

    async fn keep_connected(&self, sender: &queue::Sender) {
        let metrics = &self.bridge.telemetry.bridge;
        let (mut pause, complaints) = (FIRST_PAUSE, Pace::every(REMIND_EVERY));
        loop {
            let telemetry = Arc::clone(&self.bridge.telemetry);
            let hearer = Hearer::new(&self.bridge.spaces, sender.clone(), telemetry);
            match self.connect(&hearer).await {
                Ok((server, ear)) => {
                    info!(%server, "the bridge is connected to Redis");
                    metrics.connected.set(1.0);
                    pause = FIRST_PAUSE;
                    let why = tokio::select! {
                        why = ear.hear(&hearer) => why,
                        () = self.line.broken() => "it does not take what is sent",
                    };
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
            self.line.close();
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Connects, and subscribes to everything.
    async fn connect(&self, hearer: &Arc<Hearer>) -> Result<(Arc<str>, Ear), String> {
        let Connected { server, line, mut ear } =
            self.bridge.dialer.dial(hearer).await.map_err(|error| causes(&error))?;
        // What comes up from now on is subscribed to as it does.
        self.line.open(line);
        let subscribing = async {
            ear.subscribe(&self.bridge.spaces, &self.line).await?;
            self.line.subscribe("SSUBSCRIBE", &self.rooms.all()).await
        };
        match timeout(BEAT, subscribing).await {
            Ok(Ok(())) => Ok((server, ear)),
            Ok(Err(error)) => Err(format!("{server}: {}", causes(&error))),
            Err(_) => Err(format!("{server}: no answer to a subscription")),
        }
    }
}
