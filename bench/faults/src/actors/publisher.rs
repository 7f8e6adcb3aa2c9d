//! Publishers: backends that use the server API over HTTP and NATS, or publish into the streams themselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use async_nats::jetstream::{self, context::PublishErrorKind};
use async_nats::{ConnectOptions, HeaderMap};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::journal::{Entry, Journal, ORDERED, Order, Via};
use crate::plan::{EMITTED, Promise, data, half};
use crate::world::{KEY, request};

/// How long one attempt may take. Shorter than a node tries, so that two attempts are under way at a time, now and then.
const ATTEMPT: Duration = Duration::from_secs(8);
/// How long it is tried in all. Less than streams remember ids.
const TRIED: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(200);

/// The way of a backend to the cluster.
#[derive(Clone)]
pub struct Backend {
    nodes: Vec<SocketAddr>,
    nats: async_nats::Client,
    streams: jetstream::Context,
}

/// What an attempt came to.
enum Answer {
    Stored {
        offset: Option<u64>,
        epoch: Option<String>,
    },
    /// Try again: it may or may not be stored.
    Nobody(String),
    Refused(String),
}

impl Backend {
    /// A backend at the ends of these links.
    pub async fn new(nodes: Vec<SocketAddr>, servers: &[SocketAddr]) -> anyhow::Result<Self> {
        let servers: Vec<async_nats::ServerAddr> =
            servers.iter().map(|server| format!("nats://{server}").parse()).collect::<Result<_, _>>()?;
        let options = ConnectOptions::new()
            .ping_interval(Duration::from_secs(1))
            .request_timeout(Some(ATTEMPT))
            .reconnect_delay_callback(|_| Duration::from_millis(200))
            .retry_on_initial_connect();
        let nats = options.connect(servers).await.context("connect a backend")?;
        let streams = jetstream::new(nats.clone());
        Ok(Self { nodes, nats, streams })
    }

    /// Publishes, under the same id again and again, until the outcome is known or too much time has gone by.
    pub async fn publish(
        &self,
        rng: &mut ChaCha8Rng,
        journal: &Journal,
        via: Via,
        channel: &str,
        id: &str,
        data: Value,
    ) {
        journal.write(Entry::PublishBegan { id: id.to_owned(), channel: channel.to_owned(), via });
        let begun = Instant::now();
        let id = id.to_owned();
        let entry = loop {
            let answer = match via {
                Via::Emit => self.by_emit(rng, &id, &data).await,
                Via::Barrier if channel == EMITTED => self.by_emit(rng, &id, &data).await,
                Via::Http | Via::Client | Via::Barrier => self.by_http(rng, channel, &id, &data).await,
                Via::NatsApi => self.by_nats(channel, &id, &data).await,
                Via::JetStream => self.by_stream(channel, &id, &data).await,
            };
            match answer {
                Answer::Stored { offset, epoch } => break Entry::PublishAcked { id, offset, epoch },
                Answer::Refused(why) => break Entry::PublishRefused { id, why },
                // At most once is what these promise, or nothing is there to tell a repeat by: it would be another publication.
                Answer::Nobody(why) if channel == EMITTED || !Promise::of(channel).is_some_and(Promise::recovers) => {
                    break Entry::PublishUnknown { id, why };
                }
                Answer::Nobody(why) if begun.elapsed() > TRIED => break Entry::PublishUnknown { id, why },
                Answer::Nobody(_) => sleep(PAUSE).await,
            }
        };
        journal.write(entry);
    }

    /// Asks a node for something of a user; whether it took the order.
    pub async fn order(&self, rng: &mut ChaCha8Rng, user: &str, order: Order) -> bool {
        let node = self.nodes[rng.random_range(0..self.nodes.len())];
        let (call, body) = match order {
            Order::Disconnect => {
                let how = json!({"code": ORDERED, "reason": "ordered away"});
                ("POST /api/disconnect", json!({"user": user, "disconnect": how}))
            }
            Order::Unsubscribe => ("POST /api/unsubscribe", json!({"user": user, "channel": "lounge:c0"})),
        };
        let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n");
        let answer = request(node, call, &headers, &body.to_string(), ATTEMPT).await;
        let answer = answer.ok().and_then(|(_, body)| serde_json::from_str::<Value>(&body).ok());
        answer.is_some_and(|answer| answer["result"].is_object())
    }

    /// Has all tokens of a user taken back that were issued by now; whether a node said that it is done.
    pub async fn invalidate(&self, rng: &mut ChaCha8Rng, user: &str) -> bool {
        // By the clock of this machine, which issued them: that of the node may be off.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let body = json!({"user": user, "issued_before": now + 1}).to_string();
        let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n");
        let begun = Instant::now();
        while begun.elapsed() < TRIED {
            let node = self.nodes[rng.random_range(0..self.nodes.len())];
            let answer = request(node, "POST /api/invalidate_user_tokens", &headers, &body, ATTEMPT).await;
            if answer.is_ok_and(|(status, body)| status == 200 && matches!(of_api(&body), Answer::Stored { .. })) {
                return true;
            }
            sleep(PAUSE).await;
        }
        false
    }

    async fn by_http(&self, rng: &mut ChaCha8Rng, channel: &str, id: &str, data: &Value) -> Answer {
        // Without history a publisher's are in its order at one node only.
        let number = match Promise::of(channel) {
            Some(promise) if promise.is_at_most_once() => publisher_of(id).bytes().map(usize::from).sum(),
            _ => rng.random_range(0..self.nodes.len()),
        };
        let node = self.nodes[number % self.nodes.len()];
        let body = body(channel, id, data);
        let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n");
        match request(node, "POST /api/publish", &headers, &body, ATTEMPT).await {
            Ok((200, body)) => of_api(&body),
            Ok((status, body)) => Answer::Nobody(format!("{status} {body}")),
            Err(error) => Answer::Nobody(error.to_string()),
        }
    }

    /// To all clients of Socket.IO, by one way or the other.
    async fn by_emit(&self, rng: &mut ChaCha8Rng, id: &str, data: &Value) -> Answer {
        let node = self.nodes[rng.random_range(0..self.nodes.len())];
        let to = if half(id) == "even" { json!({}) } else { json!({"rooms": ["c0", "c1"]}) };
        let body = json!({"namespace": "/", "to": to, "event": ["message", data]}).to_string();
        let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n");
        match request(node, "POST /api/socketio_emit", &headers, &body, ATTEMPT).await {
            Ok((200, body)) => of_api(&body),
            Ok((status, body)) => Answer::Nobody(format!("{status} {body}")),
            Err(error) => Answer::Nobody(error.to_string()),
        }
    }

    async fn by_nats(&self, channel: &str, id: &str, data: &Value) -> Answer {
        let body = body(channel, id, data);
        let request = self.nats.request("midplane.api.publish", body.into());
        match timeout(ATTEMPT, request).await {
            Ok(Ok(answer)) => of_api(&String::from_utf8_lossy(&answer.payload)),
            Ok(Err(error)) => Answer::Nobody(error.to_string()),
            Err(_) => Answer::Nobody("no answer in time".to_owned()),
        }
    }

    async fn by_stream(&self, channel: &str, id: &str, data: &Value) -> Answer {
        let subject = format!("midplane.pub.{}", channel.replacen(':', ".", 1));
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{channel}|{id}").as_str());
        headers.insert("Midplane-Tag-half", half(id));
        let publish =
            async { self.streams.publish_with_headers(subject, headers, data.to_string().into()).await?.await };
        match timeout(ATTEMPT, publish).await {
            Ok(Ok(ack)) => Answer::Stored { offset: Some(ack.sequence), epoch: None },
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Answer::Refused(error.to_string()),
            Ok(Err(error)) => Answer::Nobody(error.to_string()),
            Err(_) => Answer::Nobody("no acknowledgement in time".to_owned()),
        }
    }
}

/// Who published it: what stands before the number in its id.
fn publisher_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(publisher, _)| publisher)
}

fn body(channel: &str, id: &str, data: &Value) -> String {
    json!({"channel": channel, "data": data, "idempotency_key": id, "tags": {"half": half(id)}}).to_string()
}

fn of_api(body: &str) -> Answer {
    let Ok(body) = serde_json::from_str::<Value>(body) else { return Answer::Nobody(format!("no JSON: {body}")) };
    let error = &body["error"];
    match error["code"].as_u64() {
        Some(100) => Answer::Nobody(error.to_string()),
        Some(_) => Answer::Refused(error.to_string()),
        None => Answer::Stored {
            offset: body["result"]["offset"].as_u64(),
            epoch: body["result"]["epoch"].as_str().map(str::to_owned),
        },
    }
}

/// Publishes to one channel, one at a time.
pub struct Publisher {
    pub name: String,
    pub channel: String,
    pub via: Via,
    pub pace: Duration,
    pub backend: Backend,
    pub journal: Arc<Journal>,
    pub seed: u64,
}

impl Publisher {
    /// Until it is told to stop.
    pub async fn run(self, mut publishing: watch::Receiver<bool>) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut number = 0;
        while *publishing.borrow_and_update() {
            let id = format!("{}-{number}", self.name);
            let data = data(&self.channel, &id);
            self.backend.publish(&mut rng, &self.journal, self.via, &self.channel, &id, data).await;
            number += 1;
            let pause = self.pace.mul_f64(rng.random_range(0.5..1.5));
            let _ = timeout(pause, publishing.changed()).await;
        }
    }
}
