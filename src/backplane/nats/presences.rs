//! The records of who is where: a stream that keeps the last message of each subject and republishes what it stored. A
//! departure is an empty message that the server forgets after a while; who left stands in a header.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::Nats;
use super::connection::{ApiError, Link};
use super::deliveries::{Interests, Target};
use super::get::{Batch, Found, ReadError, leader_get};
use super::headers::{self, Envelope};
use super::live::{Live, Sid};
use super::shared::{Found as Life, SharedStream};
use super::streams::{Plan, StreamError};
use super::subjects::Subjects;
use crate::backplane::message::{Meta, Stored};
use crate::backplane::presences::{CHANGES, DEPARTED_FOR};
use crate::backplane::store_clock::StoreClock;
use crate::backplane::{
    Departed, Doubts, Occupant, PresenceError, Presences, Record, RecordPage, Roll, Source, SubscribeError, Whose, Word,
};
use crate::protocol::{Channel, Offset};
use crate::settings;
use crate::telemetry::{SharedState, Telemetry};

/// How long one record may take to be acknowledged: whoever writes it tries again.
const PATIENCE: Duration = Duration::from_secs(3);

/// The stream of records, and what came out of it.
pub struct Records {
    pub stream: SharedStream,
    subjects: Subjects,
    changes: mpsc::Sender<Record>,
    reader: Mutex<Option<mpsc::Receiver<Record>>>,
    doubts: watch::Sender<Doubts>,
    watched: Mutex<HashMap<Channel, Sid>>,
    clock: StoreClock,
}

impl Records {
    pub fn new(options: &settings::Nats, subjects: &Subjects, link: Link, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let (changes, reader) = mpsc::channel(CHANGES);
        Arc::new(Self {
            stream: SharedStream::new(Plan::of_presence(options), link, SharedState::Presence, telemetry),
            subjects: subjects.clone(),
            changes,
            reader: Mutex::new(Some(reader)),
            doubts: watch::channel(Doubts::default()).0,
            watched: Mutex::default(),
            clock: StoreClock::new(),
        })
    }

    /// Some changes may be missing.
    pub fn doubt_changes(&self) {
        self.doubts.send_modify(|doubts| doubts.changes += 1);
    }

    /// And what was written may be there or not.
    pub fn doubt_all(&self) {
        self.doubts.send_modify(|doubts| {
            doubts.changes += 1;
            doubts.records += 1;
        });
    }

    /// Makes the stream exist.
    pub async fn ensure(&self) -> Result<(), StreamError> {
        self.heed(self.stream.ensure().await?);
        Ok(())
    }

    /// Looks whether the stream is there and the same.
    pub async fn look(&self) -> Result<(), ApiError> {
        self.heed(self.stream.look().await?);
        Ok(())
    }

    async fn restore_if_gone(&self, error: &ApiError) {
        self.stream.restored_after(error).await.into_iter().for_each(|life| self.heed(life));
    }

    /// Where the stream was lost everything must be recorded anew.
    fn heed(&self, life: Life) {
        match life {
            Life::Same => {}
            Life::PutRight => self.doubt_changes(),
            Life::Anew => self.doubt_all(),
        }
    }

    /// Takes a record that came out of the stream. Never waits: publications stand behind it.
    pub fn arrived(&self, headers: &[u8], payload: Bytes) {
        let mut envelope = Envelope::of_block(headers);
        // Only the stream's own words count; anybody could publish to where they come out.
        if envelope.stream != Some(&*self.stream.plan.name) {
            return;
        }
        if envelope.is_hollow(&payload) {
            return self.doubt_changes();
        }
        let subject = envelope.subject.unwrap_or_default();
        let (stored_at, meta) = (envelope.stored_at(), envelope.meta());
        let stored = Stored { offset: Offset(envelope.sequence()), stored_at, data: payload, meta };
        let Some(record) = self.record_of(subject, stored) else { return };
        if self.changes.try_send(record).is_err() {
            self.doubt_changes();
        }
    }

    fn subject(&self, whose: Whose<'_>) -> String {
        match whose {
            Whose::Everybody => self.subjects.records(None),
            Whose::Channel(channel) => self.subjects.records_of(channel),
            Whose::Node(node) => self.subjects.records(Some(node)),
        }
    }

    fn record_of(&self, subject: &str, stored: Stored) -> Option<Record> {
        let occupant = self.subjects.occupant(subject)?;
        let info = Some(stored.data).filter(|data| !data.is_empty());
        let departed = stored.meta.info.filter(|_| info.is_none());
        let departed = departed.map(|info| Departed { info, ago: self.clock.since(stored.stored_at) });
        Some(Record { occupant, info, departed, revision: stored.offset.0 })
    }

    /// What was found from a revision on; what is no record of ours is passed over.
    fn page_of(&self, from: u64, found: Vec<Found>, more: bool) -> RecordPage {
        let next = found.last().map_or(from, |found| found.stored.offset.next().0);
        let records = found.into_iter();
        let records = records.filter_map(|found| self.record_of(&found.subject, found.stored)).collect();
        RecordPage { records, next, more }
    }
}

impl Nats {
    /// Only reached through the capability, which is absent without records.
    fn records(&self) -> Result<&Arc<Records>, PresenceError> {
        self.records.as_ref().ok_or_else(|| PresenceError::Unavailable("no namespace records it".to_owned()))
    }

    /// A channel's records are looked up by their subjects: a search from message to message passes everybody else's, and
    /// costs as much as there are of all channels. The search is for who has more records than the server looks up.
    async fn records_from_replica(
        &self,
        records: &Records,
        whose: Whose<'_>,
        subject: &str,
        from: u64,
        limit: usize,
    ) -> Result<Batch, ReadError> {
        let stream = &records.stream.plan.name;
        if matches!(whose, Whose::Channel(_)) {
            let question = json!({ "seq": from.max(1), "multi_last": [subject], "batch": limit });
            match self.reader.batch(stream, &question, limit).await {
                Err(ReadError::Refused(why)) => debug!(why, subject, "too many records to be looked up by subject"),
                other => return other,
            }
        }
        let question = json!({ "seq": from.max(1), "next_by_subj": subject, "batch": limit });
        self.reader.batch(stream, &question, limit).await
    }

    async fn write_record(&self, occupant: &Occupant, word: Word) -> Result<u64, PresenceError> {
        let mut headers = HeaderMap::new();
        let body = match word {
            Word::Here(info) => info,
            Word::Left(info) => {
                headers.insert("Nats-TTL", format!("{}s", DEPARTED_FOR.as_secs()));
                headers::write(&mut headers, &Meta { info, ..Meta::default() }, None);
                Bytes::new()
            }
        };
        // A client library keeps what it is given while it is away, and sends it when this node may be somebody else.
        if !self.link.is_up() {
            return Err(PresenceError::Unavailable("not connected to NATS".to_owned()));
        }
        let (records, subject) = (self.records()?, self.subjects.record(occupant));
        match self.link.store(&records.stream.plan.name, &subject, Some(headers), body, PATIENCE).await {
            Ok(ack) => Ok(ack.seq),
            Err(error) => {
                records.restore_if_gone(&error).await;
                Err(unwritten(error))
            }
        }
    }

    async fn records_from_leader(
        &self,
        records: &Records,
        subject: &str,
        from: u64,
        limit: usize,
    ) -> Result<RecordPage, PresenceError> {
        let mut found = Vec::new();
        let mut next = from.max(1);
        while found.len() < limit {
            let question = json!({ "seq": next, "next_by_subj": subject });
            let Some(one) = leader_get(&self.link, &records.stream.plan.name, &question).await.map_err(unavailable)?
            else {
                return Ok(records.page_of(from, found, false));
            };
            next = one.stored.offset.next().0;
            found.push(one);
        }
        Ok(records.page_of(from, found, true))
    }
}

#[async_trait]
impl Presences for Nats {
    async fn record(&self, occupant: &Occupant, word: Word) -> Result<u64, PresenceError> {
        let leaves = matches!(word, Word::Left(Some(_)));
        match self.write_record(occupant, word).await {
            // Who left goes into a header, which holds less than a body: it is the departure that counts.
            Err(PresenceError::Refused(why)) if leaves => {
                debug!(channel = %occupant.channel, why, "a departure is recorded without who left");
                self.write_record(occupant, Word::Left(None)).await
            }
            outcome => outcome,
        }
    }

    async fn page(
        &self,
        whose: Whose<'_>,
        from: u64,
        limit: usize,
        source: Source,
    ) -> Result<RecordPage, PresenceError> {
        let records = self.records()?;
        let subject = records.subject(whose);
        if source == Source::Replica {
            match self.records_from_replica(records, whose, &subject, from, limit).await {
                Ok(batch) => return Ok(records.page_of(from, batch.found, batch.pending > 0)),
                Err(error) => debug!(%error, "no replica answers, asking the leader for presence"),
            }
        }
        self.records_from_leader(records, &subject, from, limit).await
    }

    async fn newest(&self, whose: Whose<'_>) -> Result<u64, PresenceError> {
        let records = self.records()?;
        let question = json!({ "last_by_subj": records.subject(whose) });
        let newest = leader_get(&self.link, &records.stream.plan.name, &question).await.map_err(unavailable)?;
        Ok(newest.map_or(0, |found| found.stored.offset.0))
    }

    async fn roll(&self) -> Result<Roll, PresenceError> {
        let records = self.records()?;
        let info = match records.stream.plan.info(&self.link).await {
            Ok(info) => info,
            Err(error) => {
                records.restore_if_gone(&error).await;
                return Err(unavailable(error));
            }
        };
        if let Some(showed) = info.described_at() {
            records.clock.hear(showed);
        }
        Ok(Roll { identity: info.created.into(), last: info.state.last_seq })
    }

    async fn watch(&self, channel: &Channel) -> Result<(), SubscribeError> {
        let records = self.records().map_err(|error| SubscribeError::Unavailable(error.to_string()))?;
        if records.watched.lock().contains_key(channel) {
            return Ok(());
        }
        let subject = self.subjects.live_records_of(channel);
        let target = Target::Records(Arc::clone(records));
        let sid = self.interests.subscribe(&self.live, &subject, target).await?;
        let before = records.watched.lock().insert(channel.clone(), sid);
        before.into_iter().for_each(|sid| end(&self.interests, &self.live, sid));
        Ok(())
    }

    fn unwatch(&self, channel: &Channel) {
        let sid = self.records.as_ref().and_then(|records| records.watched.lock().remove(channel));
        sid.into_iter().for_each(|sid| end(&self.interests, &self.live, sid));
    }

    fn changes(&self) -> Option<mpsc::Receiver<Record>> {
        self.records.as_ref()?.reader.lock().take()
    }

    fn doubts(&self) -> watch::Receiver<Doubts> {
        self.records.as_ref().map_or_else(|| watch::channel(Doubts::default()).1, |records| records.doubts.subscribe())
    }
}

fn end(interests: &Interests, live: &Live, sid: Sid) {
    interests.forget(sid);
    live.unsubscribe(sid);
}

fn unavailable(error: ApiError) -> PresenceError {
    PresenceError::Unavailable(error.to_string())
}

/// Why a record was not written.
fn unwritten(error: ApiError) -> PresenceError {
    if error.is_too_large() { PresenceError::Refused(error.to_string()) } else { unavailable(error) }
}
