//! Reading what is stored: from any replica in batches (fast, may be stale, may be swallowed by one that hangs), or from
//! the leader one by one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::connection::{ApiError, Link, Refusal};
use super::headers::{Envelope, nanoseconds, number};
use super::live::{ConnectError, Headers, Live, LiveEvent, LiveOptions, LiveState, LiveSubscribeError};
use super::refusals::TakenBack;
use crate::backplane::{Stored, Version};
use crate::protocol::Offset;
use crate::tasks::Tasks;

/// A stored message with what publishing wants to know of it.
#[derive(Debug)]
pub struct Found {
    pub subject: String,
    pub stored: Stored,
    pub message_id: Option<String>,
    pub version: Option<Version>,
    /// In a bucket: that the key has no value any more.
    pub removed: bool,
}

/// What one batch brought.
#[derive(Debug, Default)]
pub struct Batch {
    /// Ascending.
    pub found: Vec<Found>,
    /// Messages that match and lie behind the last one.
    pub pending: u64,
    /// The last sequence of the replica that answered, where it says so.
    pub up_to: u64,
}

/// Why a batch did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A replica that hangs, or an election.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("refused: {0}")]
    Refused(String),
    #[error("not connected to NATS")]
    Disconnected,
    /// Some of the answer was lost on its way: NATS delivers at most once.
    #[error("a part of the answer is missing")]
    Torn,
}

type Waiting = Arc<Mutex<HashMap<u64, mpsc::Sender<Message>>>>;

/// A message of an answer.
struct Message {
    headers: Bytes,
    payload: Bytes,
}

/// Answers that wait for the task which sorts them; beyond it the socket waits.
const EVENTS: usize = 512;

/// Why there is no reader.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Subscribe(#[from] LiveSubscribeError),
}

/// Reads batches; all answers come over one subscription, on a connection of its own: what is read back must not hold up
/// what is live, and stored headers are a publisher's, whom a stricter client would answer by disconnecting.
pub struct Reader {
    link: Link,
    answers: Live,
    inbox: String,
    waiting: Waiting,
    next: AtomicU64,
    patience: Duration,
}

impl Reader {
    /// Connects and subscribes to the answers; `patience` is how long one may take.
    pub async fn start(
        link: Link,
        options: LiveOptions,
        patience: Duration,
        tasks: &Tasks,
    ) -> Result<Self, ReaderError> {
        let (sender, events) = mpsc::channel(EVENTS);
        let answers = Live::start(options, sender).await?;
        let waiting = Waiting::default();
        let inbox = link.client.new_inbox();
        answers.subscribe(&format!("{inbox}.*")).await?;
        tasks.run("answers of NATS", route(events, Arc::clone(&waiting), inbox.len() + 1));
        Ok(Self { link, answers, inbox, waiting, next: AtomicU64::new(0), patience })
    }

    /// How the connection stands that answers come over.
    pub fn state(&self) -> watch::Receiver<LiveState> {
        self.answers.state()
    }

    /// What the server has taken back of what it listens to.
    pub fn taken_back(&self) -> watch::Receiver<TakenBack> {
        self.answers.taken_back()
    }

    /// Ends the connection.
    pub async fn close(&self) {
        self.answers.close().await;
    }

    /// Reads once more when nothing came, or not all; what still does not answer is for the leader. At most `room` messages
    /// come.
    pub async fn batch(&self, stream: &str, question: &impl Serialize, room: usize) -> Result<Batch, ReadError> {
        match self.attempt(stream, question, room).await {
            Err(ReadError::Timeout(_) | ReadError::Torn) => self.attempt(stream, question, room).await,
            other => other,
        }
    }

    async fn attempt(&self, stream: &str, question: &impl Serialize, room: usize) -> Result<Batch, ReadError> {
        if !self.link.is_up() || !matches!(*self.answers.state().borrow(), LiveState::Connected { .. }) {
            return Err(ReadError::Disconnected);
        }
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut answers) = mpsc::channel(room + 1);
        self.waiting.lock().insert(token, sender);
        let _ticket = Ticket { waiting: &self.waiting, token };
        let body = serde_json::to_vec(question).map_err(|error| ReadError::Refused(error.to_string()))?;
        let reply = format!("{}.{token}", self.inbox);
        let sent = self.link.client.publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), reply, body.into());
        sent.await.map_err(|_| ReadError::Disconnected)?;
        let mut batch = Batch::default();
        // Each message names the one before it in the answer, and the end names the last: what is lost between shows. A
        // reader that has just connected anew may hear only the end, since the servers learn one by one where it is.
        let mut before = 0;
        loop {
            let answer = timeout(self.patience, answers.recv()).await;
            let Some(Message { headers, payload }) = answer.map_err(|_| ReadError::Timeout(self.patience))? else {
                return Err(ReadError::Disconnected);
            };
            let status = Headers::new(&headers).status();
            let mut envelope = Envelope::of_block(&headers);
            match status.map(|status| status.code) {
                None | Some(204) if envelope.previous() != before => return Err(ReadError::Torn),
                None => {
                    before = envelope.sequence();
                    batch.found.push(Found::of_message(&mut envelope, payload));
                }
                Some(204) => {
                    batch.pending = number(envelope.pending);
                    batch.up_to = number(envelope.up_to);
                    return Ok(batch);
                }
                Some(404) if batch.found.is_empty() => return Ok(batch),
                Some(404) => return Err(ReadError::Torn),
                Some(503) => return Err(ReadError::Timeout(self.patience)),
                Some(_) => {
                    let why = status.map_or("", |status| status.description);
                    return Err(ReadError::Refused(why.to_owned()));
                }
            }
        }
    }
}

/// Forgets the answers that nobody waits for any more.
struct Ticket<'a> {
    waiting: &'a Waiting,
    token: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.token);
    }
}

async fn route(mut events: mpsc::Receiver<LiveEvent>, waiting: Waiting, prefix: usize) {
    while let Some(event) = events.recv().await {
        match event {
            LiveEvent::Message { subject, headers, payload, .. } => {
                let reader = token(&subject, prefix).and_then(|token| waiting.lock().get(&token).cloned());
                if let Some(reader) = reader {
                    // Its room is what was asked for: more than that would not be an answer to it.
                    let _ = reader.try_send(Message { headers, payload });
                }
            }
            // No answer that was on its way comes any more.
            LiveEvent::Disconnected { .. } => waiting.lock().clear(),
            // The connection asks again by itself; the leader answers meanwhile.
            LiveEvent::Connected { .. } | LiveEvent::Refused { .. } | LiveEvent::Granted { .. } => {}
        }
    }
}

fn token(subject: &[u8], prefix: usize) -> Option<u64> {
    std::str::from_utf8(subject.get(prefix..)?).ok()?.parse().ok()
}

#[derive(Deserialize)]
struct LeaderAnswer {
    message: LeaderMessage,
}

#[derive(Deserialize)]
struct LeaderMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

/// One message from the stream's leader, never stale: `{"seq"}`, `{"last_by_subj"}`, or `{"seq", "next_by_subj"}`.
pub async fn leader_get(link: &Link, stream: &str, question: &impl Serialize) -> Result<Option<Found>, ApiError> {
    match link.ask::<LeaderAnswer>(&format!("STREAM.MSG.GET.{stream}"), question).await {
        Ok(answer) => Ok(Some(Found::of_leader(answer.message))),
        Err(error) if error.code() == Refusal::NO_MESSAGE => Ok(None),
        Err(error) => Err(error),
    }
}

impl Found {
    fn of_message(envelope: &mut Envelope<'_>, data: Bytes) -> Self {
        let subject = envelope.subject.unwrap_or_default().to_owned();
        Self::new(subject, envelope.sequence(), envelope.stored_at(), envelope, data)
    }

    fn of_leader(message: LeaderMessage) -> Self {
        let block = STANDARD.decode(message.hdrs).unwrap_or_default();
        let data = STANDARD.decode(message.data).unwrap_or_default();
        let stored_at = nanoseconds(&message.time).unwrap_or(0);
        Self::new(message.subject, message.seq, stored_at, &mut Envelope::of_block(&block), data.into())
    }

    fn new(subject: String, sequence: u64, stored_at: i64, envelope: &mut Envelope<'_>, data: Bytes) -> Self {
        Self {
            subject,
            message_id: envelope.message_id.map(str::to_owned),
            version: envelope.version(),
            removed: envelope.removed,
            stored: Stored { offset: Offset(sequence), stored_at, data, meta: envelope.meta() },
        }
    }
}
