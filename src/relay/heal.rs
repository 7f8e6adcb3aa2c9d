//! Heals topics: reads what is missing and delivers it in order, or tells those who were promised to be told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Relay;
use super::publication::push_frames;
use super::pump::flush;
use super::recovery::{Bound, CatchUpError, CaughtUp, Refusal, catch_up};
use super::topic::{Course, Topic, stored};
use crate::backplane::{GapCause, History};
use crate::hub::Reach;
use crate::protocol::{Epoch, Offset};

/// Topics healed at one time.
const CONCURRENT: usize = 64;
/// How long healing is tried while history cannot be read.
const PATIENCE: Duration = Duration::from_secs(60);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(1);
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

/// Heals what is queued until `stop`.
pub(super) async fn run(relay: Arc<Relay>, stop: CancellationToken) {
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < CONCURRENT
            && let Some(topic) = relay.heals.pop()
        {
            running.push(heal(&relay, topic));
        }
        tokio::select! {
            () = stop.cancelled() => return,
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
    goal: Offset,
}

fn hole(topic: &Topic) -> Option<Hole> {
    let state = topic.state.lock();
    let Course::Chained(chained) = &state.course else { return None };
    let healing = chained.healing.as_ref()?;
    Some(Hole { cause: healing.cause, epoch: chained.chain.epoch.clone(), had: chained.chain.had, goal: healing.goal })
}

/// Heals one topic, to the end.
async fn heal(relay: &Arc<Relay>, topic: Arc<Topic>) {
    let Some(history) = relay.backplane.history() else { return };
    let Some(options) = &topic.namespace.history else { return };
    let bound = Bound { depth: options.size + 1, messages: options.size + 1, bytes: usize::MAX, ttl: None };
    let started = Instant::now();
    let mut backoff = BACKOFF_FIRST;
    let mut unknown_goal = 0;
    while let Some(hole) = hole(&topic) {
        match catch_up(history, &topic.channel, &hole.epoch, hole.had, bound).await {
            // What the store has now may read well and still not be what it had.
            Ok(_) if hole.cause == GapCause::EpochChanged => {
                start_over(relay, &topic, history, hole.cause, "the store went back in time").await;
                return;
            }
            Ok(caught) => {
                let reached = caught.top.offset.max(hole.had);
                if reached < hole.goal {
                    unknown_goal += 1;
                }
                if unknown_goal > UNKNOWN_GOAL_RETRIES {
                    start_over(relay, &topic, history, hole.cause, "the store does not know what it sent").await;
                    return;
                }
                let short = reached < hole.goal;
                let mut touched = Vec::new();
                let whole = deliver_missed(relay, &topic, caught, short, &mut touched);
                flush(&mut touched).await;
                if whole {
                    return;
                }
                if short {
                    sleep(BACKOFF_FIRST).await;
                }
            }
            Err(CatchUpError::Refused(refusal)) => {
                let cause = if refusal == Refusal::Epoch { GapCause::EpochChanged } else { hole.cause };
                start_over(relay, &topic, history, cause, &refusal.to_string()).await;
                return;
            }
            Err(CatchUpError::Unavailable(error)) if started.elapsed() > PATIENCE => {
                start_over(relay, &topic, history, hole.cause, &error.to_string()).await;
                return;
            }
            Err(CatchUpError::Unavailable(_)) => {
                sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_LAST);
            }
        }
    }
}

/// Delivers what was read and then what waited. Returns whether the topic is whole now.
fn deliver_missed(
    relay: &Relay,
    topic: &Topic,
    caught: CaughtUp,
    short: bool,
    touched: &mut Vec<Arc<crate::hub::Outbox>>,
) -> bool {
    let encodings: Vec<_> = topic.state.lock().audience.encodings().collect();
    let missed: Vec<_> = caught.messages.iter().map(|message| push_frames(&topic.channel, message)).collect();
    missed.iter().for_each(|frames| frames.prepare(encodings.iter().copied()));
    let mut state = topic.state.lock();
    let state = &mut *state;
    let Course::Chained(chained) = &mut state.course else { return true };
    let mut reach = Reach::default();
    for (message, frames) in caught.messages.iter().zip(&missed) {
        if message.offset > chained.chain.had {
            reach += chained.pass(&mut state.audience, message.clone(), frames, touched);
        }
    }
    relay.audits.saw(&topic.namespace.name, chained.chain.had);
    let whole = if short {
        false
    } else {
        let Some(healing) = chained.healing.take() else { return true };
        !chained.follow(healing.pending, |chained, message| {
            let message = stored(message);
            let frames = push_frames(&topic.channel, &message);
            reach += chained.pass(&mut state.audience, message.clone(), &frames, touched);
        })
    };
    relay.count_reach(reach);
    whole
}

/// What is missing cannot be had: tells everybody who was promised to be told, and goes on from the channel's top.
async fn start_over(relay: &Arc<Relay>, topic: &Arc<Topic>, history: &dyn History, cause: GapCause, why: &str) {
    let mut backoff = BACKOFF_FIRST;
    let told = topic.state.lock().audience.lose(&topic.channel);
    relay.count_unhealed(cause);
    warn!(channel = %topic.channel, cause = cause.label(), told, "publications are lost to this node's listeners: {why}");
    let top = loop {
        match history.top(&topic.channel).await {
            Ok(top) => break top,
            Err(_) if topic.state.lock().closed => return,
            Err(_) => {
                sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_LAST);
            }
        }
    };
    let mut state = topic.state.lock();
    // Who joined meanwhile stands at the old position, and has the same hole.
    state.audience.lose(&topic.channel);
    if state.start_over(top.position(), relay.tails.clone()) {
        drop(state);
        relay.heals.push(Arc::clone(topic));
    }
}
