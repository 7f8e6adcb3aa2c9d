//! Slow readers whose subscription was parked: nothing is queued for them until they have read what was.
//!
//! They get what they missed in order, from the node's tail or the stream, as much at a time as may wait for them. Where
//! neither reaches back to where they stand they are told, as anybody is who misses something.

use super::Relay;
use super::join::Membership;
use super::publication::push_frames;
use super::recovery::{Bound, CatchUpError, Refusal, catch_up};
use super::topic::{Course, Topic};
use crate::backplane::{History, Stored};
use crate::hub::{Frames, Outbox, Slot};
use crate::protocol::{Epoch, Offset};
use crate::telemetry::SlowAction;

/// Messages encoded before the topic is locked to deliver them.
const CHUNK: usize = 64;
/// How often the stream is read because publications overtook the reading.
const ATTEMPTS: usize = 8;

/// What became of a parked subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// It gets everything as it comes.
    Live,
    /// There is more than may wait for it: it stays parked until that is read.
    StillParked,
    /// What it missed cannot be had: its outbox tells the session.
    Lost,
}

/// What somebody parked has to get next.
enum Missed {
    Nothing,
    /// Ascending, without a hole.
    These(Vec<Stored>),
    /// Everything since; that is longer ago than the tail reaches.
    Since(Offset, Epoch),
}

impl Relay {
    /// Gives a subscription what it missed while it was parked; `None` when it was not. At most `limit` bytes are read from
    /// the stream.
    pub async fn resume(&self, membership: &Membership, outbox: &Outbox, limit: usize) -> Option<Resumed> {
        membership.topic.state.lock().audience.parked(membership.slot)?;
        let resumed = self.catch_up_parked(membership, outbox, limit).await;
        let action = match resumed {
            Resumed::StillParked => return Some(resumed),
            Resumed::Live => SlowAction::Recovered,
            Resumed::Lost => SlowAction::Lost,
        };
        self.telemetry.clients.slow_consumers.of(action).increment(1);
        Some(resumed)
    }

    async fn catch_up_parked(&self, membership: &Membership, outbox: &Outbox, limit: usize) -> Resumed {
        let (topic, slot) = (&membership.topic, membership.slot);
        for _ in 0..ATTEMPTS {
            let (since, epoch) = loop {
                match missed(topic, slot) {
                    Missed::Nothing => return Resumed::Live,
                    Missed::These(messages) if self.feed(topic, slot, outbox, &messages) => {}
                    Missed::These(_) => return Resumed::StillParked,
                    Missed::Since(offset, epoch) => break (offset, epoch),
                }
            };
            let Some((history, depth)) = self.backplane.history().zip(depth(topic)) else { break };
            match self.read(history, topic, since, &epoch, depth, limit).await {
                Ok(messages) if self.feed(topic, slot, outbox, &messages) => {}
                Ok(_) => return Resumed::StillParked,
                Err(_) => break,
            }
        }
        topic.state.lock().audience.lose_one(slot, &topic.channel);
        Resumed::Lost
    }

    async fn read(
        &self,
        history: &dyn History,
        topic: &Topic,
        since: Offset,
        epoch: &Epoch,
        depth: usize,
        limit: usize,
    ) -> Result<Vec<Stored>, CatchUpError> {
        let bound = Bound { depth, messages: usize::MAX, bytes: limit, ttl: None };
        let _turn = topic.turn.lock().await;
        let caught = catch_up(history, &topic.channel, epoch, since, since, bound).await?;
        if caught.messages.is_empty() {
            // Nobody can say what was delivered here in between.
            return Err(Refusal::Trimmed.into());
        }
        Ok(caught.messages)
    }

    /// Whether a parked listener took everything.
    fn feed(&self, topic: &Topic, slot: Slot, outbox: &Outbox, messages: &[Stored]) -> bool {
        for chunk in messages.chunks(CHUNK) {
            let frames: Vec<_> = chunk.iter().map(|message| push_frames(topic, message, None)).collect();
            frames.iter().for_each(|frames| encode(frames, outbox));
            let mut state = topic.state.lock();
            for (message, frames) in chunk.iter().zip(&frames) {
                let (taken, reach) = state.audience.catch_up(slot, frames, message.offset);
                self.count_reach(reach);
                if !taken {
                    return false;
                }
            }
        }
        true
    }
}

/// Encodes what the listener gets, before the topic is locked.
fn encode(frames: &Frames<'_>, outbox: &Outbox) {
    frames.plain(outbox.format());
}

fn depth(topic: &Topic) -> Option<usize> {
    topic.namespace.history.as_ref().map(|options| options.size + 1)
}

/// What a parked listener missed; when that is nothing it is not parked any more.
fn missed(topic: &Topic, slot: Slot) -> Missed {
    let mut state = topic.state.lock();
    let Some(since) = state.audience.parked(slot) else { return Missed::Nothing };
    if let Course::Chained(chained) = &state.course
        && since < chained.chain.had
    {
        match chained.tail.since(since) {
            Some(messages) if !messages.is_empty() => return Missed::These(messages),
            Some(_) => {}
            None => return Missed::Since(since, chained.chain.epoch.clone()),
        }
    }
    state.audience.unpark(slot);
    Missed::Nothing
}
