//! One connection of a client, from the handshake to its end.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::Client;
use super::subscription::State;
use crate::journal::{Entry, How, PUT_OUT, Position, Via};
use crate::plan::{Promise, data};

/// How long handshake and connect reply may take together; SDKs wait five seconds for each.
const OPEN: Duration = Duration::from_secs(8);
/// How long a reply may take before the connection is given up, as SDKs do.
const REPLY: Duration = Duration::from_secs(8);
/// How much later than promised a ping may come.
const PING_DELAY: Duration = Duration::from_secs(8);
/// What a client's socket holds for a client that does not read.
const RECEIVE_BUFFER: u32 = 8 * 1024;

/// Why a connection is over.
pub enum End {
    Lost { code: u32, reason: String },
    Final { code: u32, reason: String },
    Gone,
}

fn lost(reason: impl ToString) -> End {
    End::Lost { code: 0, reason: reason.to_string() }
}

fn closed(code: u32, reason: &str) -> End {
    let reason = reason.to_owned();
    match code {
        3500..4000 | 4500..5000 => End::Final { code, reason },
        _ => End::Lost { code, reason },
    }
}

enum Asked {
    Subscribe { channel: String, since: Option<Position> },
    Publish { id: String },
}

pub struct Session<'a> {
    client: &'a mut Client,
    socket: WebSocketStream<TcpStream>,
    asked: HashMap<u64, (Asked, Instant)>,
    last_id: u64,
    ping_after: Duration,
    pinged: Instant,
}

impl<'a> Session<'a> {
    pub async fn open(client: &'a mut Client, node: usize) -> Result<Self, End> {
        let (name, address) = client.nodes[node].clone();
        let open = async {
            let socket = TcpSocket::new_v4().map_err(lost)?;
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
            let stream = socket.connect(address).await.map_err(lost)?;
            let _ = stream.set_nodelay(true);
            let url = format!("ws://{address}/connection/websocket");
            let (mut socket, _) = client_async(url, stream).await.map_err(lost)?;
            let hello =
                json!({"id": 1, "connect": {"name": "faults", "token": client.token.as_deref().unwrap_or_default()}});
            socket.send(Message::text(hello.to_string())).await.map_err(lost)?;
            loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let line = text.lines().next().unwrap_or_default();
                        let reply: Value = serde_json::from_str(line).map_err(lost)?;
                        let result = &reply["connect"];
                        if result.is_object() {
                            return Ok((socket, result.clone()));
                        }
                        return Err(lost(format!("connect: {reply}")));
                    }
                    Some(Ok(Message::Close(Some(frame)))) => {
                        return Err(closed(u16::from(frame.code).into(), &frame.reason));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(lost(error)),
                    None => return Err(lost("closed before the connect reply")),
                }
            }
        };
        let (socket, result) = timeout(OPEN, open).await.map_err(|_| lost("no connect reply in time"))??;
        let uuid = result["client"].as_str().unwrap_or_default().to_owned();
        let ping_after = Duration::from_secs(result["ping"].as_u64().unwrap_or(25)) + PING_DELAY;
        client.journal.write(Entry::Connected { client: client.name.clone(), node: name, uuid: uuid.clone() });
        client.change(|status| status.uuid = Some(uuid));
        Ok(Self { client, socket, asked: HashMap::new(), last_id: 1, ping_after, pinged: Instant::now() })
    }

    pub async fn run(mut self) -> End {
        let end = self.live().await;
        for (_, (asked, _)) in self.asked.drain() {
            if let Asked::Publish { id } = asked {
                let why = "the connection ended".to_owned();
                self.client.journal.write(Entry::PublishUnknown { id, why });
            }
        }
        if matches!(end, End::Gone) {
            let _ = timeout(Duration::from_secs(1), self.socket.close(None)).await;
        }
        end
    }

    async fn live(&mut self) -> End {
        let mut publish_at = Instant::now() + self.client.pace;
        loop {
            if let Err(end) = self.subscribe_due().await {
                return end;
            }
            let control = *self.client.control.borrow_and_update();
            if control.gone {
                return End::Gone;
            }
            let due = self.client.subscriptions.iter().filter_map(|subscription| match subscription.state {
                State::Due(at) => Some(at),
                State::Asked | State::Subscribed | State::Ended => None,
            });
            // Who does not read does not watch the clock either.
            let deadlines = self.asked.values().map(|(_, at)| *at + REPLY).chain([self.pinged + self.ping_after]);
            let deadline = if control.slow { None } else { deadlines.min() };
            let wake = due.chain(deadline).min().unwrap_or_else(|| Instant::now() + REPLY);
            let publishes = control.publishing && self.client.publishes.is_some();
            tokio::select! {
                changed = self.client.control.changed() => {
                    if changed.is_err() { return End::Gone }
                    // Whatever came while nobody read is still to be read.
                    self.pinged = Instant::now();
                    self.asked.values_mut().for_each(|(_, at)| *at = Instant::now());
                }
                frame = self.socket.next(), if !control.slow => {
                    if let Err(end) = self.frame(frame).await { return end }
                }
                () = sleep_until(publish_at), if publishes => {
                    publish_at = Instant::now() + self.client.pace;
                    if let Err(end) = self.publish().await { return end }
                }
                () = sleep_until(wake) => {
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return lost("no ping, or no reply, in time");
                    }
                }
            }
        }
    }

    async fn say(&mut self, command: Value) -> Result<(), End> {
        let sent = timeout(REPLY, self.socket.send(Message::text(command.to_string()))).await;
        sent.map_err(|_| lost("nothing can be sent"))?.map_err(lost)
    }

    async fn ask(&mut self, asked: Asked, mut command: Value) -> Result<(), End> {
        self.last_id += 1;
        command["id"] = self.last_id.into();
        self.asked.insert(self.last_id, (asked, Instant::now()));
        self.say(command).await
    }

    async fn subscribe_due(&mut self) -> Result<(), End> {
        let now = Instant::now();
        for index in 0..self.client.subscriptions.len() {
            let subscription = &mut self.client.subscriptions[index];
            if !matches!(subscription.state, State::Due(at) if at <= now) {
                continue;
            }
            subscription.state = State::Asked;
            let (channel, since) = (subscription.channel.clone(), subscription.position.clone());
            let mut request = json!({"channel": channel});
            let promise = Promise::of(&channel);
            if let Some(half) = self.client.half.as_ref().filter(|_| promise.is_some_and(Promise::holds_all)) {
                request["tf"] = json!({"cmp": "eq", "key": "half", "val": half});
            }
            if let Some(position) = &since {
                request["recover"] = true.into();
                request["offset"] = position.offset.into();
                request["epoch"] = position.epoch.clone().into();
            }
            self.ask(Asked::Subscribe { channel, since }, json!({"subscribe": request})).await?;
        }
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), End> {
        let Some(channel) = self.client.publishes.clone() else { return Ok(()) };
        let id = format!("{channel}-{}-{}", self.client.name, self.client.published);
        self.client.published += 1;
        let began = Entry::PublishBegan { id: id.clone(), channel: channel.clone(), via: Via::Client };
        self.client.journal.write(began);
        let command = json!({"publish": {"channel": channel, "data": data(&channel, &id)}});
        self.ask(Asked::Publish { id }, command).await
    }

    async fn frame(
        &mut self,
        frame: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), End> {
        match frame {
            Some(Ok(Message::Text(text))) => {
                for line in text.lines() {
                    let Ok(message) = serde_json::from_str::<Value>(line) else {
                        self.broken(format!("no JSON: {line}"));
                        continue;
                    };
                    self.message(&message).await?;
                }
                Ok(())
            }
            Some(Ok(Message::Close(Some(frame)))) => Err(closed(u16::from(frame.code).into(), &frame.reason)),
            Some(Ok(Message::Close(None))) | None => Err(lost("closed")),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(lost(error)),
        }
    }

    async fn message(&mut self, message: &Value) -> Result<(), End> {
        if let Some(id) = message["id"].as_u64() {
            let Some((asked, _)) = self.asked.remove(&id) else {
                self.broken(format!("a reply that nobody asked for: {message}"));
                return Ok(());
            };
            return self.reply(asked, message);
        }
        let push = &message["push"];
        if !push.is_object() {
            self.pinged = Instant::now();
            return self.say(json!({})).await;
        }
        let channel = push["channel"].as_str().unwrap_or_default().to_owned();
        let client = self.client.name.clone();
        let is_of_users = Promise::of(&channel) == Some(Promise::Lounge);
        let key = if is_of_users { "user" } else { "client" };
        let who = |what: &str| push[what]["info"][key].as_str().map(str::to_owned);
        if push["pub"].is_object() {
            self.received(&channel, &push["pub"], How::Live);
        } else if let Some(uuid) = who("join") {
            self.client.journal.write(Entry::Joined { client, channel, uuid });
        } else if let Some(uuid) = who("leave") {
            self.client.journal.write(Entry::Left { client, channel, uuid });
        } else if push["unsubscribe"].is_object() {
            self.unsubscribed(&channel, &push["unsubscribe"]);
        } else if push["disconnect"].is_object() {
            let code = push["disconnect"]["code"].as_u64().unwrap_or(0);
            return Err(closed(code as u32, push["disconnect"]["reason"].as_str().unwrap_or_default()));
        } else {
            self.broken(format!("an unknown push: {message}"));
        }
        Ok(())
    }

    fn reply(&mut self, asked: Asked, message: &Value) -> Result<(), End> {
        let error = &message["error"];
        let code = error["code"].as_u64().unwrap_or(0) as u32;
        let reason = error["message"].as_str().unwrap_or_default().to_owned();
        match asked {
            Asked::Publish { id } => {
                let entry = match code {
                    _ if !error.is_object() => Entry::PublishAcked { id, offset: None, epoch: None },
                    // The server could not, or does not know: nothing is promised.
                    100 => Entry::PublishUnknown { id, why: reason },
                    _ => Entry::PublishRefused { id, why: format!("{code} {reason}") },
                };
                self.client.journal.write(entry);
            }
            Asked::Subscribe { channel, .. } if error.is_object() => {
                let client = self.client.name.clone();
                let failed = Entry::SubscribeFailed { client, channel: channel.clone(), code, reason };
                self.client.journal.write(failed);
                let temporary = code <= 100 || error["temporary"].as_bool().unwrap_or(false);
                let Client { subscriptions, rng, .. } = &mut *self.client;
                if let Some(subscription) = subscriptions.iter_mut().find(|known| known.channel == channel) {
                    if temporary { subscription.again(rng) } else { subscription.state = State::Ended }
                }
            }
            Asked::Subscribe { channel, since } => self.subscribed(channel, since, &message["subscribe"]),
        }
        Ok(())
    }

    fn subscribed(&mut self, channel: String, since: Option<Position>, result: &Value) {
        let position = result["recoverable"].as_bool().unwrap_or(false).then(|| Position {
            offset: result["offset"].as_u64().unwrap_or(0),
            epoch: result["epoch"].as_str().unwrap_or_default().to_owned(),
        });
        let recovered = result["recovered"].as_bool().unwrap_or(false);
        if position.is_none() && Promise::of(&channel).is_some_and(Promise::recovers) {
            self.broken(format!("{channel} cannot be recovered: {result}"));
        }
        let entry = Entry::Subscribed {
            client: self.client.name.clone(),
            channel: channel.clone(),
            since,
            recovered,
            position: position.clone(),
        };
        self.client.journal.write(entry);
        // In this order, as SDKs do it: where it stands by the reply, then what each publication says.
        if let Some(subscription) = self.client.subscriptions.iter_mut().find(|known| known.channel == channel) {
            subscription.subscribed(position);
        }
        for publication in result["publications"].as_array().into_iter().flatten() {
            self.received(&channel, publication, How::Recovered);
        }
        self.client.change(|status| {
            status.subscribed.insert(channel);
        });
    }

    fn unsubscribed(&mut self, channel: &str, push: &Value) {
        let code = push["code"].as_u64().unwrap_or(0) as u32;
        let reason = push["reason"].as_str().unwrap_or_default().to_owned();
        let client = self.client.name.clone();
        self.client.journal.write(Entry::Unsubscribed { client, channel: channel.to_owned(), code, reason });
        self.client.change(|status| {
            status.subscribed.remove(channel);
            status.put_out += u64::from(code == PUT_OUT);
        });
        // Whom a backend puts out of it asks to come in again, as an application may.
        let comes_back = code >= 2500 || (code == PUT_OUT && Promise::of(channel) == Some(Promise::Lounge));
        let Client { subscriptions, rng, .. } = &mut *self.client;
        if let Some(subscription) = subscriptions.iter_mut().find(|known| known.channel == channel) {
            if comes_back { subscription.again(rng) } else { subscription.state = State::Ended }
        }
    }

    fn received(&mut self, channel: &str, publication: &Value, how: How) {
        let id = publication["data"]["id"].as_str().unwrap_or_default().to_owned();
        let offset = publication["offset"].as_u64();
        if publication["data"]["barrier"].as_bool() == Some(true) {
            self.client.change(|status| {
                status.barriers.insert(channel.to_owned());
            });
        }
        if let (Some(offset), Some(known)) =
            (offset, self.client.subscriptions.iter_mut().find(|known| known.channel == channel))
        {
            known.advance(offset);
        }
        let client = self.client.name.clone();
        self.client.journal.write(Entry::Received {
            client,
            channel: channel.to_owned(),
            id,
            offset,
            how,
            stand: None,
        });
    }

    fn broken(&self, how: String) {
        self.client.journal.write(Entry::Broken { client: self.client.name.clone(), how });
    }
}
