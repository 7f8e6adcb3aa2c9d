//! Heals topics: reads what is missing and delivers it in order, or tells those who were promised to be told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::Relay;
use super::audit::SETTLED;
use super::chain::Chain;
use super::publication::push_frames;
use super::pump::flush;
use super::recovery::{Bound, CatchUpError, CaughtUp, Refusal, catch_up};
use super::topic::{Course, Topic, Wanted, stored};
use crate::backplane::{GapCause, History, Stored};
use crate::hub::{Base, Mark, Outbox, Reach};
use crate::protocol::{Epoch, Offset};

/// Topics healed at one time.
const CONCURRENT: usize = 64;
/// How long healing is tried while history cannot be read.
const PATIENCE: Duration = Duration::from_secs(60);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(1);
/// Missed messages delivered before their sockets are written.
const CHUNK: usize = 64;
/// How often a leader that does not know what it sent yet is asked again.
const UNKNOWN_GOAL_RETRIES: u32 = 10;

/// Topics that wait to be healed, each at most once: a topic that is being healed is not queued again.
#[derive(Default)]
pub(super) struct HealQueue {
    topics: Mutex<VecDeque<Arc<Topic>>>,
    filled: Notify,
}

impl HealQueue {
    pub(super) fn push(&self, topic: Arc<Topic>) {
        self.topics.lock().push_back(topic);
        self.filled.notify_one();
    }

    fn pop(&self) -> Option<Arc<Topic>> {
        self.topics.lock().pop_front()
    }
}

/// Heals what is queued, for ever.
pub(super) async fn run(relay: Arc<Relay>) {
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < CONCURRENT
            && let Some(topic) = relay.heals.pop()
        {
            running.push(heal(&relay, topic));
        }
        tokio::select! {
            Some(()) = running.next() => {}
            () = relay.heals.filled.notified(), if running.len() < CONCURRENT => {}
        }
    }
}

/// What a round of healing starts from.
struct Hole {
    cause: GapCause,
    epoch: Epoch,
    had: Offset,
    /// Nothing of the channel lies between `had` and here.
    known: Offset,
    goal: Offset,
    /// The first message that waits for what is missing.
    waiting: Option<Offset>,
    counted: bool,
}

fn hole(topic: &Topic) -> Option<Hole> {
    let state = topic.state.lock();
    let Course::Chained(chained) = &state.course else { return None };
    let healing = chained.healing.as_ref()?;
    Some(Hole {
        cause: healing.cause,
        epoch: chained.chain.epoch.clone(),
        had: chained.chain.had,
        known: chained.chain.proven(),
        goal: healing.goal,
        waiting: healing.pending.first(),
        counted: healing.counted,
    })
}

/// Heals one topic, to the end.
async fn heal(relay: &Arc<Relay>, topic: Arc<Topic>) {
    let Some(history) = relay.backplane.history() else { return };
    let started = Instant::now();
    let mut backoff = BACKOFF_FIRST;
    let mut short = 0;
    while let Some(mut hole) = hole(&topic) {
        if topic.state.lock().closed {
            return;
        }
        let asked = relay.store_time(&topic);
        let lost = match catch_up(history, &topic.channel, &hole.epoch, hole.had, hole.known, Bound::NONE).await {
            // What the store has now may read well and still not be what it had.
            Ok(_) if hole.cause == GapCause::EpochChanged => "the store went back in time".to_owned(),
            Ok(caught) => match go_on(relay, &topic, &hole, caught, asked, &mut short).await {
                Round::Whole => return,
                Round::Again => continue,
                Round::Unknown => "the store does not know what it sent".to_owned(),
            },
            Err(CatchUpError::Refused(refusal)) => match give_time(relay, &topic, refusal).await {
                Some(Round::Whole) => return,
                Some(_) => continue,
                None => {
                    if refusal == Refusal::Epoch {
                        hole.cause = GapCause::EpochChanged;
                    }
                    refusal.to_string()
                }
            },
            Err(CatchUpError::Unavailable(error)) if started.elapsed() > PATIENCE => error.to_string(),
            Err(CatchUpError::Unavailable(_)) => {
                sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_LAST);
                continue;
            }
        };
        return start_over(relay, &topic, history, &hole, &lost).await;
    }
}

/// What came of a round in which history was read.
enum Round {
    /// Nothing is missing any more.
    Whole,
    Again,
    /// The store does not know of what it sent.
    Unknown,
}

/// Delivers what was read; `short` counts the rounds that did not come as far as they should.
async fn go_on(relay: &Arc<Relay>, topic: &Topic, hole: &Hole, caught: CaughtUp, asked: i64, short: &mut u32) -> Round {
    relay.count_found(topic, hole, &caught);
    let is_short = caught.top.offset.max(hole.had) < hole.goal;
    let (cause, read) = (hole.cause.label(), caught.messages.len());
    debug!(channel = %topic.channel, cause, from = %hole.had, through = %caught.top.offset, read, "healing");
    if deliver_missed(relay, topic, caught, asked).await {
        return Round::Whole;
    }
    if is_short {
        *short += 1;
        if *short > UNKNOWN_GOAL_RETRIES {
            if hole.cause != GapCause::Nudge {
                return Round::Unknown;
            }
            // Anybody can nudge. What the stream's leader does not know was not stored in this channel.
            debug!(channel = %topic.channel, goal = %hole.goal, "a nudge beyond the channel's end");
            forget_goal(topic);
        }
        sleep(BACKOFF_FIRST).await;
    }
    Round::Again
}

fn forget_goal(topic: &Topic) {
    if let Course::Chained(chained) = &mut topic.state.lock().course
        && let Some(healing) = &mut chained.healing
    {
        healing.goal = Offset::NONE;
    }
}

/// Delivers what was read, a chunk at a time, and then what waited. Returns whether the topic is whole now.
async fn deliver_missed(relay: &Relay, topic: &Topic, caught: CaughtUp, asked: i64) -> bool {
    let mut touched = Vec::new();
    for chunk in caught.messages.chunks(CHUNK) {
        deliver_chunk(relay, topic, chunk, &mut touched);
        flush(&mut touched).await;
    }
    let whole = follow_up(relay, topic, caught.top.offset, asked, &mut touched);
    flush(&mut touched).await;
    whole
}

fn deliver_chunk(relay: &Relay, topic: &Topic, missed: &[Stored], touched: &mut Vec<Arc<Outbox>>) {
    let Wanted { formats, mut base, patches } = topic.state.lock().wanted();
    let frames = missed.iter().map(|message| {
        let frames = push_frames(topic, message, base.as_ref());
        relay.prepare(&topic.channel, &frames, formats.clone(), patches);
        if patches && !frames.is_withheld() && !message.meta.tombstone {
            base = Some(Base { mark: Mark::stored(message.offset), data: message.data.clone() });
        }
        frames
    });
    let frames: Vec<_> = frames.collect();
    let mut state = topic.state.lock();
    let state = &mut *state;
    let Course::Chained(chained) = &mut state.course else { return };
    let mut reach = Reach::default();
    for (message, frames) in missed.iter().zip(&frames) {
        if message.offset > chained.chain.had {
            reach += chained.pass(&mut state.audience, message.clone(), frames, touched);
        }
    }
    chained.note_reached();
    relay.audits.saw(&topic.namespace.name, chained.chain.had);
    relay.count_reach(reach);
}

/// Passes on what waited while the hole was read up to `through`. Returns whether nothing more is missing.
fn follow_up(relay: &Relay, topic: &Topic, through: Offset, asked: i64, touched: &mut Vec<Arc<Outbox>>) -> bool {
    let mut state = topic.state.lock();
    let state = &mut *state;
    let Course::Chained(chained) = &mut state.course else { return true };
    let Some(healing) = chained.healing.take() else { return true };
    if healing.cause == GapCause::EpochChanged {
        // Learned meanwhile: what was read may be of a life that is over.
        chained.healing = Some(healing);
        return false;
    }
    chained.chain.prove(through, asked, relay.retention(topic));
    // Somebody may have learned meanwhile that the channel reaches further, although nothing of that has arrived.
    let known = healing.pending.last().map_or(chained.chain.proven(), |last| last.max(chained.chain.proven()));
    if healing.goal > known {
        chained.healing = Some(healing);
        return false;
    }
    let mut reach = Reach::default();
    // Until what waited has passed the channel counts as one that is healed.
    let hole = chained.follow(healing.pending, |chained, message| {
        let message = stored(message);
        let frames = push_frames(topic, &message, state.audience.base());
        reach += chained.pass(&mut state.audience, message.clone(), &frames, touched);
    });
    relay.count_reach(reach);
    !hole
}

/// What an audit found missing, and is stored no longer, may still be on its way to a node that is late. Each position is
/// given the time once in which everything arrives; the topic goes on meanwhile, since whatever is not next shows the
/// hole. Returns what came of it; `None` where no time is to be given.
async fn give_time(relay: &Relay, topic: &Arc<Topic>, refusal: Refusal) -> Option<Round> {
    if !matches!(refusal, Refusal::Trimmed | Refusal::Removed) {
        return None;
    }
    let mut touched = Vec::new();
    let hole = {
        let mut state = topic.state.lock();
        let state = &mut *state;
        let Course::Chained(chained) = &mut state.course else { return None };
        if chained.awaited_since().elapsed() >= SETTLED {
            return None;
        }
        let healing = chained.healing.take_if(|healing| healing.cause == GapCause::Audit)?;
        relay.audits.is_late(topic, chained.chain.proven());
        let mut reach = Reach::default();
        let hole = chained.follow(healing.pending, |chained, message| {
            let message = stored(message);
            let frames = push_frames(topic, &message, state.audience.base());
            reach += chained.pass(&mut state.audience, message.clone(), &frames, &mut touched);
        });
        relay.count_reach(reach);
        hole
    };
    flush(&mut touched).await;
    // Without a hole the topic is nobody's: who finds the next one queues it.
    Some(if hole { Round::Again } else { Round::Whole })
}

impl Relay {
    /// Counts a hole that is not healed, once: as soon as its listeners are told, whatever fails then.
    fn count_given_up(&self, topic: &Topic, cause: GapCause) {
        if let Course::Chained(chained) = &mut topic.state.lock().course
            && let Some(healing) = &mut chained.healing
            && !std::mem::replace(&mut healing.given_up, true)
        {
            if !std::mem::replace(&mut healing.counted, true) {
                self.count_gap(cause);
            }
            self.count_unhealed(cause);
        }
    }

    /// Counts a hole that was only suspected, once something is found in it.
    fn count_found(&self, topic: &Topic, hole: &Hole, caught: &CaughtUp) {
        let first = caught.messages.first().map(|message| message.offset);
        if hole.counted || first.is_none_or(|first| hole.waiting.is_some_and(|waiting| waiting <= first)) {
            return;
        }
        self.count_gap(hole.cause);
        if let Course::Chained(chained) = &mut topic.state.lock().course
            && let Some(healing) = &mut chained.healing
        {
            healing.counted = true;
        }
    }
}

/// What is missing cannot be had: tells everybody who was promised to be told, and goes on from the channel's top.
async fn start_over(relay: &Arc<Relay>, topic: &Arc<Topic>, history: &dyn History, hole: &Hole, why: &str) {
    let cause = hole.cause;
    let asked = relay.store_time(topic);
    let told = topic.state.lock().audience.lose(&topic.channel);
    relay.count_given_up(topic, cause);
    let top = match history.top(&topic.channel).await {
        Ok(top) => top,
        Err(_) => {
            // Others want to be healed too; this one comes round again.
            sleep(BACKOFF_LAST).await;
            relay.heals.push(Arc::clone(topic));
            return;
        }
    };
    let chain = Chain::new(&top, asked, relay.retention(topic));
    let mut touched = Vec::new();
    let (late, hole) = {
        let mut state = topic.state.lock();
        // Who joined meanwhile stands at the old position, and has the same hole.
        let late = state.audience.lose(&topic.channel);
        let (reach, hole) = state.go_on_from(topic, chain, relay.tails.clone(), &mut touched);
        relay.count_reach(reach);
        (late, hole)
    };
    flush(&mut touched).await;
    let told = told + late;
    if let Some(left_out) = relay.lost.due() {
        let (channel, cause) = (&topic.channel, cause.label());
        warn!(%channel, cause, told, left_out, "publications are lost to this node's listeners: {why}");
    }
    if hole {
        relay.heals.push(Arc::clone(topic));
    }
}
