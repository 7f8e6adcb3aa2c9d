//! History as the seam asks for it: authority from the leader, bulk from any replica.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::sleep;
use tracing::debug;

use super::Nats;
use super::connection::{ApiError, Unanswered};
use super::get::{Found, ReadError, leader_get};
use super::keep::Keep;
use super::streams::Info;
use super::subjects::Purpose;
use super::vigil::is_gone;
use crate::backplane::{Bounds, History, HistoryError, Meta, Newer, Outgoing, Page, Top};
use crate::protocol::{Channel, Epoch, Offset};

/// Messages that one question brings at most.
const BATCH: usize = 1000;
/// Names in one question: beyond this many matches the server refuses. One is left for the name that must match.
const NAMES: usize = 1023;
/// Questions to the leader under way at one time.
const LEADER_READS: usize = 16;

/// Before a leader is asked again that described less than was seen.
const REASK_AFTER: Duration = Duration::from_millis(300);

impl Nats {
    fn keep(&self, namespace: &str) -> Result<&Arc<Keep>, HistoryError> {
        self.keeps.get(namespace).ok_or_else(|| HistoryError::Absent(namespace.to_owned()))
    }

    /// The stream as its leader describes it, and the epoch that this belongs to.
    async fn described(&self, keep: &Keep) -> Result<(Info, Epoch), HistoryError> {
        let (info, epoch, _) = self.described_after(keep).await?;
        Ok((info, epoch))
    }

    /// The same, and whether somebody described it before who did not know it.
    async fn described_after(&self, keep: &Keep) -> Result<(Info, Epoch, bool), HistoryError> {
        let mut doubtful = false;
        loop {
            // Everybody must know of a new life before anybody gets an answer from it.
            let announced = self.vigil.announce_epoch(keep).await;
            announced.map_err(|closed| HistoryError::Unavailable(closed.to_string()))?;
            let seen = keep.seen();
            let info = match keep.plan.info(&self.link).await {
                Ok(info) => info,
                Err(error) => {
                    if is_gone(&error) {
                        self.vigil.signals.check_epoch(&keep.namespace);
                    }
                    return Err(unavailable(error));
                }
            };
            if let Some(epoch) = keep.confirm(&info, seen).filter(|_| !keep.is_unannounced()) {
                let (messages, bytes) = (info.state.messages, info.state.bytes);
                let stored = &self.vigil.telemetry.backplane;
                stored.note_stream(&keep.namespace, messages, bytes, info.limit("max_bytes"));
                return Ok((info, epoch, doubtful));
            }
            // The stream is another, or went back; or who described it is deposed and does not know it yet.
            doubtful = true;
            let before = keep.epoch();
            let checked = keep.check(&self.link, &self.generations).await;
            checked.map_err(|error| HistoryError::Unavailable(error.to_string()))?;
            if keep.epoch() == before {
                sleep(REASK_AFTER).await;
            }
        }
    }

    async fn leader(&self, keep: &Keep, question: serde_json::Value) -> Result<Option<Found>, HistoryError> {
        leader_get(&self.link, &keep.plan.name, &question).await.map_err(unavailable)
    }

    fn subject(&self, channel: &Channel) -> String {
        self.subjects.of(Purpose::Publish, channel)
    }

    async fn page_from_leader(
        &self,
        keep: &Keep,
        subject: &str,
        from: Offset,
        limit: usize,
    ) -> Result<Page, HistoryError> {
        let mut page = Page::default();
        let mut next = from;
        while let Some(found) = self.leader(keep, json!({ "seq": next.0.max(1), "next_by_subj": subject })).await? {
            if page.messages.len() == limit {
                page.more = true;
                break;
            }
            next = found.stored.offset.next();
            page.messages.push(found.stored);
        }
        Ok(page)
    }

    /// Asks any replica that is at least as far as the leader was; `None` if none answered so.
    async fn newer_from_replica(
        &self,
        keep: &Keep,
        names: &[&str],
        floor: Offset,
        last: Offset,
        witness: &str,
    ) -> Option<Vec<(String, Offset)>> {
        let names: Vec<&str> = names.iter().copied().chain([witness]).collect();
        let question = json!({ "multi_last": names, "seq": floor.next().0 });
        for _ in 0..2 {
            match self.reader.batch(&keep.plan.name, &question, names.len()).await {
                // An answer that is cut short by its size is for the leader: it takes large messages by the thousand.
                Ok(batch) if batch.pending > 0 => return None,
                Ok(batch) if batch.up_to >= last.0 => {
                    let found = batch.found.into_iter().map(|found| (found.subject, found.stored.offset));
                    return Some(found.filter(|(_, offset)| *offset > floor).collect());
                }
                Ok(batch) => debug!(stream = keep.plan.name, batch.up_to, %last, "a replica is behind"),
                Err(error) => debug!(stream = keep.plan.name, %error, "no replica answers"),
            }
        }
        None
    }

    /// Asks the leader, by messages or by channels, whichever are fewer.
    async fn newer_from_leader(
        &self,
        keep: &Keep,
        names: &[&str],
        floor: Offset,
        last: Offset,
    ) -> Result<Vec<(String, Offset)>, HistoryError> {
        if last.0 - floor.0 < names.len() as u64 {
            let everything = self.subjects.all(Purpose::Publish, &keep.namespace);
            let mut newest = HashMap::new();
            let mut next = floor.next();
            while let Some(found) = self.leader(keep, json!({ "seq": next.0, "next_by_subj": everything })).await? {
                next = found.stored.offset.next();
                newest.insert(found.subject, found.stored.offset);
            }
            return Ok(names.iter().filter_map(|name| newest.remove_entry(*name)).collect());
        }
        let questions: Vec<_> = names.iter().map(|name| json!({ "last_by_subj": name })).collect();
        let mut tops =
            stream::iter(questions).map(|question| self.leader(keep, question)).buffer_unordered(LEADER_READS);
        let mut newer = Vec::new();
        while let Some(top) = tops.try_next().await? {
            newer.extend(
                top.filter(|found| found.stored.offset > floor).map(|found| (found.subject, found.stored.offset)),
            );
        }
        Ok(newer)
    }
}

#[async_trait]
impl History for Nats {
    async fn top(&self, channel: &Channel) -> Result<Top, HistoryError> {
        let keep = self.keep(channel.namespace())?;
        let newest = async || self.leader(keep, json!({ "last_by_subj": self.subject(channel) })).await;
        let (info, epoch, doubtful, seen, mut found) = loop {
            let (before, seen) = (keep.epoch(), Offset(keep.seen()));
            let (described, found) = tokio::join!(self.described_after(keep), newest());
            let (info, epoch, doubtful) = described?;
            // What another life of the stream answered is of no use in this one.
            if epoch == before {
                break (info, epoch, doubtful, seen, found);
            }
        };
        if doubtful || !matches!(found, Ok(Some(_))) {
            // "Nothing" counts only if it was said after the last sequence was known; and a leader that was deposed and does
            // not know it may have answered both questions, of which only one shows it.
            found = newest().await;
        }
        let newest = found?.map(|found| found.stored.offset);
        let last = Offset(info.state.last_seq).max(newest.unwrap_or_default());
        // What was known before the question was asked is covered by its answer.
        let through = newest.map_or(last, |newest| newest.max(seen));
        Ok(Top { epoch, newest, last, through })
    }

    async fn page(&self, channel: &Channel, from: Offset, limit: usize) -> Result<Page, HistoryError> {
        let keep = self.keep(channel.namespace())?;
        let subject = self.subject(channel);
        let mut page = Page::default();
        let mut next = from.max(Offset(1));
        loop {
            let room = (limit - page.messages.len()).min(BATCH);
            let question = json!({ "seq": next.0, "batch": room, "next_by_subj": subject });
            match self.reader.batch(&keep.plan.name, &question, room).await {
                Ok(batch) => {
                    page.messages.extend(batch.found.into_iter().map(|found| found.stored));
                    page.more = batch.pending > 0;
                }
                Err(ReadError::Timeout(_) | ReadError::Disconnected | ReadError::Torn) => {
                    return self.page_from_leader(keep, &subject, from, limit).await;
                }
                Err(error) => return Err(HistoryError::Unavailable(error.to_string())),
            }
            match page.messages.last() {
                Some(last) if page.more && page.messages.len() < limit => next = last.offset.next(),
                _ => return Ok(page),
            }
        }
    }

    async fn holds(&self, channel: &Channel, offset: Offset) -> Result<bool, HistoryError> {
        let found = self.leader(self.keep(channel.namespace())?, json!({ "seq": offset.0 })).await?;
        Ok(found.is_some_and(|found| found.subject == self.subject(channel)))
    }

    async fn bounds(&self, namespace: &str) -> Result<Bounds, HistoryError> {
        let keep = self.keep(namespace)?;
        let (described, recorded) = tokio::join!(self.described(keep), keep.depths.read(&self.generations));
        let (info, epoch) = described?;
        let last = Offset(info.state.last_seq);
        let first = if info.state.messages == 0 { last.next() } else { Offset(info.state.first_seq) };
        let recorded = recorded.map_err(|error| HistoryError::Unavailable(error.to_string()))?;
        let mut depths = recorded.of(&epoch);
        if info.depth() < depths.now() {
            // Somebody made it less by hand. Were it more again by the next check, nobody would know.
            self.vigil.signals.check_epoch(&keep.namespace);
            depths.lower(info.depth());
        }
        Ok(Bounds { epoch, first, last, depths })
    }

    async fn newer(&self, namespace: &str, channels: &[Channel], floor: Offset) -> Result<Newer, HistoryError> {
        let keep = self.keep(namespace)?;
        let (info, _) = self.described(keep).await?;
        let last = Offset(info.state.last_seq);
        if channels.is_empty() || last <= floor {
            return Ok(Newer { tops: Vec::new(), last });
        }
        // A replica that finds nothing does not say how far it is. One that has the newest message finds at least that.
        let witness = self.leader(keep, json!({ "seq": last.0 })).await?.map(|found| found.subject);
        let mut tops = Vec::new();
        for chunk in channels.chunks(NAMES) {
            let subjects: HashMap<String, &Channel> =
                chunk.iter().map(|channel| (self.subject(channel), channel)).collect();
            let names: Vec<&str> = subjects.keys().map(String::as_str).collect();
            let found = match &witness {
                Some(witness) => self.newer_from_replica(keep, &names, floor, last, witness).await,
                None => None,
            };
            let found = match found {
                Some(found) => found,
                None => self.newer_from_leader(keep, &names, floor, last).await?,
            };
            tops.extend(found.into_iter().filter_map(|(name, top)| Some(((*subjects.get(&name)?).clone(), top))));
        }
        Ok(Newer { tops, last })
    }

    fn retention(&self, namespace: &str) -> Duration {
        self.keeps.get(namespace).map_or(Duration::ZERO, |keep| keep.retention())
    }

    fn now(&self, namespace: &str) -> i64 {
        self.keeps.get(namespace).map_or(0, |keep| keep.clock.now())
    }

    async fn remove(&self, channel: &Channel) -> Result<(), HistoryError> {
        let keep = self.keep(channel.namespace())?;
        let tombstone = Outgoing { meta: Meta { tombstone: true, ..Meta::default() }, ..Outgoing::default() };
        let stored = self.publisher.store(keep, channel, tombstone).await;
        let stored = stored.map_err(|error| HistoryError::Unavailable(error.to_string()))?;
        // Up to the tombstone, which stays.
        let end = stored.position.map_or(0, |position| position.offset.0);
        let question = json!({ "filter": self.subject(channel), "seq": end });
        let verb = format!("STREAM.PURGE.{}", keep.plan.name);
        self.link.ask::<serde_json::Value>(&verb, &question).await.map_err(unavailable)?;
        Ok(())
    }
}

fn unavailable(error: ApiError) -> HistoryError {
    match error {
        ApiError::Unanswered(Unanswered::Timeout(within)) => HistoryError::Timeout(within),
        error => HistoryError::Unavailable(error.to_string()),
    }
}
