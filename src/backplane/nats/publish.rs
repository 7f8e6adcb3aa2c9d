//! Publishing. With history: stored and acknowledged, retried under one id, one in flight for each channel. Without:
//! sent, at most once.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, warn};
use uuid::Uuid;

use super::connection::{ApiError, Link, Refusal, Unanswered};
use super::get::{Found, Reader, leader_get};
use super::headers;
use super::keep::{IN_FLIGHT, Keep};
use super::subjects::{Purpose, Subjects, id_part};
use super::turns::Turns;
use crate::backplane::recent::Recent;
use crate::backplane::{Outgoing, PublishError, Published, Version};
use crate::protocol::{Channel, Offset, Position};
use crate::telemetry::{Carriage, Overflow, Pace, Telemetry};

/// How long the first attempt may take; each further one may take twice as long, up to the longest.
const ATTEMPT: Duration = Duration::from_secs(1);
const LONGEST_ATTEMPT: Duration = Duration::from_secs(4);
/// Between two attempts, at first and at most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What became of a message that was sent until it was acknowledged.
enum Outcome {
    Stored {
        sequence: u64,
        /// It was there already.
        duplicate: bool,
        /// An earlier attempt got no answer, so what was there may be this message itself.
        retried: bool,
    },
    /// Another message came in between.
    Overtaken,
}

/// Sends publications.
pub struct Publisher {
    link: Link,
    subjects: Subjects,
    reader: Arc<Reader>,
    turns: Turns,

    /// How long a publication is retried.
    patience: Duration,
    /// Keys used for what is not stored, as far as this node knows.
    recent: Mutex<Recent>,
    /// Of lines about streams that refuse what is published.
    refused: Pace,
    telemetry: Arc<Telemetry>,
}

impl Publisher {
    pub fn new(
        link: Link,
        subjects: Subjects,
        reader: Arc<Reader>,
        patience: Duration,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let (turns, recent, refused) = (Turns::default(), Mutex::default(), Pace::default());
        Self { link, subjects, reader, turns, patience, recent, refused, telemetry }
    }

    /// Sends without storing: to the subject where everybody publishes, or past the stream of a namespace that has one.
    pub async fn send(
        &self,
        channel: &Channel,
        message: Outgoing,
        purpose: Purpose,
    ) -> Result<Published, PublishError> {
        let key = message.idempotency_key.map(|key| (channel.clone(), key));
        if key.as_ref().is_some_and(|key| self.recent.lock().get(key).is_some()) {
            return Ok(Published { position: None, suppressed: true });
        }
        let mut headers = HeaderMap::new();
        headers::write(&mut headers, &message.meta, None);
        self.check_size(&headers, &message.data)?;
        if !self.link.is_up() {
            return Err(PublishError::Unavailable("not connected to NATS".to_owned()));
        }
        let started = Instant::now();
        let subject = self.subjects.of(purpose, channel);
        let sent = if headers.is_empty() {
            self.link.client.publish(subject, message.data).await
        } else {
            self.link.client.publish_with_headers(subject, headers, message.data).await
        };
        sent.map_err(|error| PublishError::Unavailable(error.to_string()))?;
        self.telemetry.backplane.publish_duration.of(Carriage::Core).record(started.elapsed());
        if let Some(key) = key {
            self.recent.lock().insert(key, None);
        }
        Ok(Published::default())
    }

    /// Stores a publication and waits for the acknowledgement.
    pub async fn store(&self, keep: &Keep, channel: &Channel, message: Outgoing) -> Result<Published, PublishError> {
        let started = Instant::now();
        let deadline = started + self.patience;
        let full = || {
            self.telemetry.queues.overflows.of(Overflow::Publish).increment(1);
            unavailable("too many publications wait for the stream")
        };
        let turn = timeout_at(deadline, self.turns.take(channel)).await.map_err(|_| full())?.map_err(|_| full())?;
        let permit = timeout_at(deadline, keep.in_flight.acquire()).await.map_err(|_| full())?;
        let permit = permit.map_err(|_| unavailable("the backplane is closing"))?;
        let awaiting = Awaiting::begin(&self.telemetry);

        let keyed = message.idempotency_key.is_some();
        let key = message.idempotency_key.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{}|{}", id_part(channel.as_str()), id_part(&key)));
        headers::write(&mut headers, &message.meta, message.version.as_ref());
        self.check_size(&headers, &message.data)?;
        let sending = Sending { publisher: self, keep, channel, headers, data: message.data, deadline, keyed };
        let published = match &message.version {
            None => sending.unguarded().await,
            Some(version) => sending.guarded(version).await,
        };
        drop((awaiting, permit, turn));
        self.telemetry.backplane.publish_duration.of(Carriage::Stream).record(started.elapsed());
        published
    }

    /// Takes nothing more for a stream and waits for what is in flight, no longer than a publication may take.
    pub async fn finish(&self, keep: &Keep) {
        let everything = timeout(self.patience, keep.in_flight.acquire_many(IN_FLIGHT as u32)).await;
        keep.in_flight.close();
        if everything.is_err() {
            warn!(stream = keep.plan.name, "publications are still without acknowledgement");
        }
    }

    fn check_size(&self, headers: &HeaderMap, data: &Bytes) -> Result<(), PublishError> {
        let size = data.len() + headers::wire_length(headers);
        let limit = self.link.client.max_payload();
        if size > limit { Err(PublishError::TooLarge { size, limit }) } else { Ok(()) }
    }
}

/// A channel's messages could not be read.
struct Unread;

/// Counts a publication that awaits its acknowledgement, also if its caller gives up.
struct Awaiting<'a>(&'a Telemetry);

impl<'a> Awaiting<'a> {
    fn begin(telemetry: &'a Telemetry) -> Self {
        telemetry.backplane.pending_acks.increment(1.0);
        Self(telemetry)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.backplane.pending_acks.decrement(1.0);
    }
}

/// One publication on its way to its stream.
struct Sending<'a> {
    publisher: &'a Publisher,
    keep: &'a Keep,
    channel: &'a Channel,
    headers: HeaderMap,
    data: Bytes,
    deadline: Instant,
    /// The caller chose the id.
    keyed: bool,
}

impl Sending<'_> {
    async fn unguarded(&self) -> Result<Published, PublishError> {
        match self.until_acknowledged(None).await? {
            Outcome::Stored { sequence, duplicate, retried } => self.stored(sequence, duplicate, retried).await,
            Outcome::Overtaken => Err(PublishError::Refused("the stream expects what nobody asked for".to_owned())),
        }
    }

    /// Stores only on top of an older version: compares with the channel's newest, and lets the stream refuse if another
    /// message came in between.
    async fn guarded(&self, version: &Version) -> Result<Published, PublishError> {
        let id = self.headers.get_last("Nats-Msg-Id").map(|id| id.as_str().to_owned());
        let mut sent = false;
        loop {
            if Instant::now() >= self.deadline {
                let patience = self.publisher.patience;
                return Err(if sent {
                    PublishError::Unknown(patience)
                } else {
                    unavailable("the channel's version could not be read")
                });
            }
            let Ok(newest) = self.newest().await else {
                self.keep.stalled();
                pause(PAUSE, self.deadline).await;
                continue;
            };
            let top = newest.as_ref().map_or(0, |newest| newest.stored.offset.0);
            if sent && newest.as_ref().is_some_and(|newest| newest.message_id == id) {
                return self.stored(top, true, true).await;
            }
            let Ok(has_as_new) = self.has_as_new(newest, version).await else {
                self.keep.stalled();
                pause(PAUSE, self.deadline).await;
                continue;
            };
            if has_as_new {
                return Ok(self.published(top, true));
            }
            match self.until_acknowledged(Some(top)).await? {
                Outcome::Stored { sequence, duplicate, retried } => {
                    return self.stored(sequence, duplicate, retried || sent).await;
                }
                Outcome::Overtaken => sent = true,
            }
        }
    }

    async fn newest(&self) -> Result<Option<Found>, ApiError> {
        let subject = self.publisher.subjects.of(Purpose::Publish, self.channel);
        leader_get(&self.publisher.link, &self.keep.plan.name, &json!({ "last_by_subj": subject })).await
    }

    /// Whether the channel holds this version or a newer one. Publications without a version may lie on top of it.
    /// What cannot be read up to the newest, for a replica that lags or none at all, is no answer.
    async fn has_as_new(&self, newest: Option<Found>, version: &Version) -> Result<bool, Unread> {
        let Some(newest) = newest else { return Ok(false) };
        if newest.version.is_some() || newest.stored.meta.tombstone {
            return Ok(newest.version.is_some_and(|had| !is_newer(version, &had)));
        }
        let subject = self.publisher.subjects.of(Purpose::Publish, self.channel);
        let depth = self.keep.depth;
        let (mut had, mut next) = (None, Offset(1));
        while next <= newest.stored.offset {
            let question = json!({ "seq": next.0, "batch": depth, "next_by_subj": subject });
            let batch = self.publisher.reader.batch(&self.keep.plan.name, &question, depth).await;
            let found = batch.map_err(|_| Unread)?.found;
            next = found.last().ok_or(Unread)?.stored.offset.next();
            had = found.into_iter().rev().find_map(|found| found.version).or(had);
        }
        Ok(had.is_some_and(|had| !is_newer(version, &had)))
    }

    /// What to tell the caller of a stored message, and the nodes of one that may not have come out.
    async fn stored(&self, sequence: u64, duplicate: bool, retried: bool) -> Result<Published, PublishError> {
        self.keep.acknowledged(sequence);
        if !self.keep.known_after(self.publisher.link.losses(), self.deadline).await {
            // It is stored, but of which stream nobody can say.
            return Err(PublishError::Unknown(self.publisher.patience));
        }
        // A repeat of somebody else's attempt as well: whoever made that may not know that it was stored.
        if duplicate {
            let subject = self.publisher.subjects.of(Purpose::Nudge, self.channel);
            debug!(channel = %self.channel, sequence, "stored without an acknowledgement: nudging");
            if let Err(error) = self.publisher.link.client.publish(subject, sequence.to_string().into()).await {
                warn!(%error, "nodes were not told of a message that may not have come out");
            }
        }
        Ok(self.published(sequence, duplicate && !retried && self.keyed))
    }

    fn published(&self, sequence: u64, suppressed: bool) -> Published {
        let position = (sequence > 0).then(|| Position { offset: Offset(sequence), epoch: self.keep.epoch() });
        Published { position, suppressed }
    }

    /// Sends until the stream answers, under the same id.
    async fn until_acknowledged(&self, expected_last: Option<u64>) -> Result<Outcome, PublishError> {
        let mut headers = self.headers.clone();
        if let Some(sequence) = expected_last {
            headers.insert("Nats-Expected-Last-Subject-Sequence", HeaderValue::from(sequence));
        }
        let subject = self.publisher.subjects.of(Purpose::Publish, self.channel);
        let link = &self.publisher.link;
        let mut may_be_stored = false;
        let mut why = "not connected to NATS".to_owned();
        let (mut attempt, mut wait) = (ATTEMPT, PAUSE);
        while link.up(self.deadline).await {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let (stream, data) = (&self.keep.plan.name, self.data.clone());
            match link.store(stream, &subject, Some(headers.clone()), data, attempt.min(left)).await {
                Ok(ack) => {
                    return Ok(Outcome::Stored { sequence: ack.seq, duplicate: ack.duplicate, retried: may_be_stored });
                }
                Err(ApiError::Unanswered(Unanswered::NoResponders)) => "the stream has no leader".clone_into(&mut why),
                Err(ApiError::Unanswered(Unanswered::Denied(subject))) => {
                    // Of one channel or of all: the vigil finds out.
                    self.keep.stalled();
                    return Err(PublishError::Refused(format!("no permission to publish to {subject}")));
                }
                Err(ApiError::Unanswered(Unanswered::TooLarge { limit, .. })) => {
                    let size = self.data.len() + headers::wire_length(&self.headers);
                    return Err(PublishError::TooLarge { size, limit });
                }
                Err(ApiError::Unanswered(unanswered)) => {
                    may_be_stored = true;
                    why = unanswered.to_string();
                }
                Err(ApiError::Refused(refusal)) => match refusal.err_code {
                    Refusal::WRONG_LAST | Refusal::WRONG_LAST_IN_FLIGHT if expected_last.is_some() => {
                        return Ok(Outcome::Overtaken);
                    }
                    // More than the server takes was refused before: somebody altered the stream.
                    Refusal::MESSAGE_TOO_LARGE | Refusal::HEADERS_TOO_LARGE => {
                        self.keep.stalled();
                        if let Some(left_out) = self.publisher.refused.due() {
                            warn!(left_out, stream, "the stream takes smaller messages only (max_msg_size)");
                        }
                        return Err(PublishError::Refused(refusal.to_string()));
                    }
                    Refusal::DUPLICATE_IN_PROCESS => may_be_stored = true,
                    _ if refusal.is_transient() => why = refusal.to_string(),
                    _ => {
                        // Of this one or of all: the vigil finds out.
                        self.keep.stalled();
                        if let Some(left_out) = self.publisher.refused.due() {
                            warn!(%refusal, left_out, stream, "the stream refuses publications for good");
                        }
                        return Err(PublishError::Refused(refusal.to_string()));
                    }
                },
                Err(ApiError::Malformed(error)) => {
                    return Err(PublishError::Refused(format!("somebody else answers on {subject}: {error}")));
                }
                Err(error @ ApiError::Foreign { .. }) => {
                    // Whether ours is to be had again, the vigil finds out.
                    self.keep.stalled();
                    return Err(PublishError::Refused(error.to_string()));
                }
            }
            self.keep.stalled();
            pause(wait, self.deadline).await;
            wait = (wait * 2).min(LONGEST_PAUSE);
            attempt = (attempt * 2).min(LONGEST_ATTEMPT);
        }
        Err(if may_be_stored { PublishError::Unknown(self.publisher.patience) } else { unavailable(&why) })
    }
}

fn unavailable(why: &str) -> PublishError {
    PublishError::Unavailable(why.to_owned())
}

async fn pause(wait: Duration, deadline: Instant) {
    sleep_until((Instant::now() + wait).min(deadline)).await;
}

fn is_newer(version: &Version, had: &Version) -> bool {
    let comparable = version.epoch.is_empty() || version.epoch == had.epoch;
    !comparable || version.number > had.number
}
