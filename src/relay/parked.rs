//! Slow readers whose subscription was parked: nothing is queued for them until they have read what was.
//!
//! They get what they missed in order, from the node's tail or the stream: one part after another, each proven to be
//! whole and no larger than what may wait for them, when they have read the one before. Where neither reaches back to
//! where they stand they are told, as anybody is who misses something.

use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use super::Relay;
use super::join::Membership;
use super::publication::push_frames;
use super::recovery::{Bound, CatchUpError, Excess, Refusal, catch_up};
use super::topic::{Course, Topic};
use crate::backplane::{History, HistoryError, Stored};
use crate::hub::{Control, Outbox, Slot};
use crate::protocol::{Epoch, Offset};
use crate::telemetry::SlowAction;

/// Before history is asked for again that could not be had.
const RETRY: Duration = Duration::from_millis(250);

/// Messages encoded before the topic is locked to deliver them.
const CHUNK: usize = 64;

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
    /// Gives a subscription what it missed while it was parked, or the next part of it; `None` when it was not.
    ///
    /// At most about `part` bytes are read from the stream, and no more before they are read by the client. Whenever there
    /// is more to come, [`Control::Drained`] asks for the next call.
    pub async fn resume(&self, membership: &Membership, outbox: &Outbox, part: usize) -> Option<Resumed> {
        membership.topic.state.lock().audience.parked(membership.slot)?;
        let resumed = self.catch_up_parked(membership, outbox, part).await;
        let action = match resumed {
            Resumed::StillParked => return Some(resumed),
            Resumed::Live => SlowAction::Recovered,
            Resumed::Lost => SlowAction::Lost,
        };
        self.telemetry.clients.slow_consumers.of(action).increment(1);
        Some(resumed)
    }

    async fn catch_up_parked(&self, membership: &Membership, outbox: &Outbox, part: usize) -> Resumed {
        let (topic, slot) = (&membership.topic, membership.slot);
        let (since, epoch) = loop {
            match missed(topic, slot) {
                Missed::Nothing => return Resumed::Live,
                Missed::These(messages) if self.feed(topic, slot, outbox, &messages) => {}
                Missed::These(_) => return Resumed::StillParked,
                Missed::Since(offset, epoch) => break (offset, epoch),
            }
        };
        if !outbox.is_drained() {
            return Resumed::StillParked;
        }
        match self.read(topic, since, &epoch, part).await {
            Ok(messages) => {
                if self.feed(topic, slot, outbox, &messages) {
                    // Whatever else its session has to do comes first: the reading may go on for long.
                    outbox.request(Control::Drained);
                }
                Resumed::StillParked
            }
            Err(CatchUpError::Refused(_)) => {
                topic.state.lock().audience.lose_one(slot, &topic.channel);
                Resumed::Lost
            }
            // Nothing is lost: the store is away, or others are reading.
            Err(CatchUpError::Unavailable(error)) => {
                debug!(%error, "a parked reader waits for the store");
                sleep(RETRY).await;
                outbox.request(Control::Drained);
                Resumed::StillParked
            }
        }
    }

    /// The next part of what was missed, from the stream.
    async fn read(
        &self,
        topic: &Topic,
        since: Offset,
        epoch: &Epoch,
        part: usize,
    ) -> Result<Vec<Stored>, CatchUpError> {
        // Nobody can say what was delivered here where nothing is stored.
        let unknown = || CatchUpError::from(Refusal::Trimmed);
        let history: &dyn History = self.backplane.history().ok_or_else(unknown)?;
        let bound = Bound { bytes: part, excess: Excess::Later, ..Bound::NONE };
        let _turn = topic.turn.take().await;
        let permit = self.permit().await;
        let _permit = permit.map_err(|error| HistoryError::Unavailable(error.to_string()))?;
        let caught = catch_up(history, &topic.channel, epoch, since, since, bound).await?;
        if caught.messages.is_empty() { Err(unknown()) } else { Ok(caught.messages) }
    }

    /// Whether a parked listener took everything.
    fn feed(&self, topic: &Topic, slot: Slot, outbox: &Outbox, messages: &[Stored]) -> bool {
        let patches = topic.state.lock().audience.patches(slot);
        for chunk in messages.chunks(CHUNK) {
            let frames: Vec<_> = chunk.iter().map(|message| push_frames(topic, message, None)).collect();
            // Encoded before the topic is locked.
            frames.iter().for_each(|frames| frames.prepare([outbox.format()], patches));
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
