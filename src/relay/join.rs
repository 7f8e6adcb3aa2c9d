//! How a connection comes to listen to a channel: whole from its position on, or told that it is not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Relay;
use super::chain::Chain;
use super::publication::is_withheld;
use super::recovery::{Bound, CatchUpError, CaughtUp, Excess, Refusal, age, catch_up};
use super::since::Since;
use super::topic::{Course, Topic, TopicState};
use super::turn::shared;
use super::wish::Wish;
use crate::backplane::{GapCause, HistoryError, Stored, SubscribeError, Top};
use crate::hub::{Hold, Listener, Outbox, Slot, TurnedAway};
use crate::protocol::{Channel, Epoch, Offset, Position};
use crate::settings::{HistoryOptions, Namespace, RecoveryMode};
use crate::telemetry::RecoverySource;

/// Official clients drop the whole connection when a subscribe is not answered within 5 s.
const DEADLINE: Duration = Duration::from_secs(4);
/// How often a catch-up starts over because publications overtook it.
pub(super) const ATTEMPTS: usize = 8;

/// What a subscriber got.
pub struct Joined {
    pub membership: Membership,
    /// Where it stands now; `None` in namespaces without history.
    pub position: Option<Position>,
    pub outcome: Outcome,
    /// Deliveries wait until this is dropped: after the reply.
    pub hold: Hold,
}

/// What became of recovery.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Not asked for.
    Fresh,
    /// Everything since the asked position (or the latest, in cache mode), ascending.
    Recovered(Vec<Stored>),
    Refused(Refusal),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("fresh"),
            Self::Recovered(messages) => write!(f, "recovered {}", messages.len()),
            Self::Refused(refusal) => write!(f, "not recovered: {refusal}"),
        }
    }
}

/// Why nobody may listen now. All of these pass.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("the channel did not open within {0:?}")]
    Timeout(Duration),
    /// Others recover, more than may at a time.
    #[error("too many recover: {0}")]
    Busy(#[from] TurnedAway),
}

/// Listening to a channel; ends on drop.
pub struct Membership {
    pub(super) relay: Arc<Relay>,
    pub(super) topic: Arc<Topic>,
    pub(super) slot: Slot,
}

impl Membership {
    /// The channel listened to.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.topic.channel
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.topic.state.lock();
        state.audience.leave(self.slot);
        self.relay.tally.went(state.audience.is_empty());
        self.relay.telemetry.relay.subscriptions.of(&self.topic.namespace.name).decrement(1.0);
        if state.audience.is_empty() {
            state.idle_since = Some(Instant::now());
            if !std::mem::replace(&mut state.listed_idle, true) {
                drop(state);
                self.relay.registry.list_idle(Arc::clone(&self.topic));
            }
        }
    }
}

impl Relay {
    /// Lets `outbox` listen to `channel`, which belongs to `namespace`.
    ///
    /// # Errors
    /// When the backplane refuses or does not answer in time. A refused *recovery* is no error.
    pub async fn join(
        self: &Arc<Self>,
        channel: &Channel,
        namespace: &Arc<Namespace>,
        wish: &Wish,
        outbox: &Arc<Outbox>,
    ) -> Result<Joined, JoinError> {
        let attempt = async {
            loop {
                let topic = self.topic(channel, namespace);
                self.open(&topic).await?;
                // A topic may close between being found and being entered.
                if let Some(joined) = self.enter(&topic, wish, outbox).await? {
                    return Ok(joined);
                }
            }
        };
        let joined = timeout(DEADLINE, attempt).await.unwrap_or(Err(JoinError::Timeout(DEADLINE)));
        if wish.since.is_some() {
            self.count_recovery(joined.as_ref().ok().map(|joined| &joined.outcome));
        }
        joined
    }

    fn topic(&self, channel: &Channel, namespace: &Arc<Namespace>) -> Arc<Topic> {
        let (topic, made) = self.registry.get_or_make(channel, namespace, self.orders.get(&namespace.name));
        if made {
            self.telemetry.relay.channels.of(&namespace.name).increment(1.0);
        }
        topic
    }

    /// Subscribes in the backplane and finds the channel's top, unless somebody did before.
    async fn open(&self, topic: &Arc<Topic>) -> Result<(), JoinError> {
        if !matches!(topic.state.lock().course, Course::Unopened(_)) {
            return Ok(());
        }
        let _turn = topic.turn.take().await;
        {
            // Opened by somebody else meanwhile, or closed: then it is asked for anew.
            let state = topic.state.lock();
            if state.closed || !matches!(state.course, Course::Unopened(_)) {
                return Ok(());
            }
        }
        self.backplane.subscribe(&topic.channel).await?;
        let Some(history) = self.backplane.history().filter(|_| topic.has_history()) else {
            topic.state.lock().course = Course::Plain;
            return Ok(());
        };
        if let Some(order) = topic.order.as_ref().filter(|order| !order.has_begun()) {
            order.begin(&history.bounds(&topic.namespace.name).await?);
        }
        loop {
            // Only after the subscription was accepted: what is published from here on arrives, or shows in the top.
            topic.state.lock().begin_opening();
            let asked = self.store_time(topic);
            let top = history.top(&topic.channel).await?;
            if self.open_at(topic, &top, asked) {
                return Ok(());
            }
        }
    }

    /// Opens the course where the channel was when it was asked; not where its namespace has gone on past that meanwhile.
    fn open_at(&self, topic: &Arc<Topic>, top: &Top, asked: i64) -> bool {
        let passing = topic.order.as_ref().map(|order| order.pass());
        if passing.as_ref().is_some_and(|passing| passing.is_past(top)) {
            return false;
        }
        let chain = Chain::new(top, asked, self.retention(topic));
        let hole = topic.state.lock().open_chained(chain, self.tails.clone(), topic.ward());
        drop(passing);
        if hole {
            self.heals.push(Arc::clone(topic));
        }
        self.audits.opened(topic, top.through);
        true
    }

    async fn enter(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        wish: &Wish,
        outbox: &Arc<Outbox>,
    ) -> Result<Option<Joined>, JoinError> {
        let history = topic.namespace.history.as_ref().zip(self.backplane.history());
        let (Some(since), Some((options, history))) = (&wish.since, history) else {
            return Ok(self.admit(topic, wish, outbox, None, Outcome::Fresh));
        };
        if wish.mode == RecoveryMode::Cache {
            return self.enter_with_latest(topic, wish, since, outbox, options, history).await;
        }
        let started = Instant::now();
        for attempt in 0..ATTEMPTS {
            let Some(epoch) = topic.state.lock().epoch() else { return Ok(None) };
            if let Some(refusal) = since.refusal(&epoch) {
                return Ok(self.admit(topic, wish, outbox, None, Outcome::Refused(refusal)));
            }
            let mut joined = self.enter_from_tail(topic, wish, since, outbox, options, &epoch);
            let turn = if joined.is_none() { Some(topic.turn.take().await) } else { None };
            joined = joined.or_else(|| self.enter_from_tail(topic, wish, since, outbox, options, &epoch));
            let Some(mut turn) = turn.filter(|_| joined.is_none()) else {
                self.time_recovery(RecoverySource::Tail, started.elapsed());
                return Ok(joined);
            };
            // Whoever had the turn before may have read what is wanted here; but the same is tried only once.
            let brought = turn.brought(since.offset).filter(|_| attempt == 0);
            let caught = match brought {
                Some(brought) => brought.map_err(CatchUpError::from),
                None => {
                    let bound = bound(options, wish);
                    let _permit = self.permit().await?;
                    let caught = catch_up(history, &topic.channel, &epoch, since.offset, since.offset, bound).await;
                    turn.leave(since.offset, || shared(&caught));
                    self.time_recovery(RecoverySource::Stream, started.elapsed());
                    caught
                }
            };
            match caught {
                Ok(caught) => {
                    if let Some(joined) = self.enter_caught_up(topic, wish, since, outbox, caught) {
                        return Ok(Some(joined));
                    }
                }
                // The stream changed under this node, which is about to learn it too.
                Err(CatchUpError::Refused(refusal)) => {
                    if refusal == Refusal::Epoch {
                        self.suspect(topic, GapCause::EpochChanged, Offset::NONE);
                    }
                    return Ok(self.admit(topic, wish, outbox, None, Outcome::Refused(refusal)));
                }
                Err(CatchUpError::Unavailable(error)) => return Err(error.into()),
            }
            if topic.state.lock().closed {
                return Ok(None);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(HistoryError::Unavailable("publications kept overtaking the catch-up".to_owned()).into())
    }

    /// Enters where the node's own memory reaches back to the position; `None` when it does not.
    fn enter_from_tail(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        wish: &Wish,
        since: &Since,
        outbox: &Arc<Outbox>,
        options: &HistoryOptions,
        epoch: &Epoch,
    ) -> Option<Joined> {
        let mut state = topic.state.lock();
        let Course::Chained(chained) = &state.course else { return None };
        if since.offset > chained.chain.proven() || chained.chain.epoch != *epoch {
            return None;
        }
        let messages = chained.tail.since(since.offset)?;
        let bytes: usize = messages.iter().map(|message| message.data.len()).sum();
        let outcome = if messages.len() > wish.max_publications || bytes > wish.max_bytes {
            Outcome::Refused(Refusal::Limit)
        } else if messages.first().is_some_and(|oldest| age(oldest, self.store_time(topic)) > options.ttl) {
            Outcome::Refused(Refusal::Expired)
        } else {
            Outcome::Recovered(messages)
        };
        self.seat(topic, &mut state, wish, outbox, None, outcome)
    }

    /// Enters with what was read; `None` when publications have overtaken the read and the tail cannot bridge them.
    fn enter_caught_up(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        wish: &Wish,
        since: &Since,
        outbox: &Arc<Outbox>,
        caught: CaughtUp,
    ) -> Option<Joined> {
        let CaughtUp { mut messages, top, newest } = caught;
        let mut state = topic.state.lock();
        let Course::Chained(chained) = &mut state.course else { return None };
        // The channel may have started over while its history was read.
        if chained.chain.epoch != top.epoch {
            return None;
        }
        let had = chained.chain.had;
        chained.tail.reach_back(since.offset, top.offset, &messages);
        if top.offset < had {
            messages.extend(chained.tail.since(top.offset)?);
        }
        let stand = Position { offset: top.offset.max(had), epoch: top.epoch };
        let bytes: usize = messages.iter().map(|message| message.data.len()).sum();
        let outcome = if messages.len() > wish.max_publications || bytes > wish.max_bytes {
            Outcome::Refused(Refusal::Limit)
        } else {
            Outcome::Recovered(messages)
        };
        let behind = newest.is_some_and(|newest| newest > had && state.suspect(GapCause::Audit, newest));
        let joined = self.seat(topic, &mut state, wish, outbox, Some(stand), outcome);
        if behind {
            self.have_healed(topic, GapCause::Audit);
        }
        joined
    }

    fn admit(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        wish: &Wish,
        outbox: &Arc<Outbox>,
        stand: Option<Position>,
        outcome: Outcome,
    ) -> Option<Joined> {
        self.seat(topic, &mut topic.state.lock(), wish, outbox, stand, outcome)
    }

    /// Takes the listener in, and with the same lock fixes where it stands: nothing passes in between.
    pub(super) fn seat(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        state: &mut TopicState,
        wish: &Wish,
        outbox: &Arc<Outbox>,
        stand: Option<Position>,
        outcome: Outcome,
    ) -> Option<Joined> {
        if state.closed {
            return None;
        }
        let mut outcome = outcome;
        if let Outcome::Recovered(messages) = &mut outcome {
            messages.retain(|message| !is_withheld(&topic.namespace, message) && wish.wants(message));
        }
        let position = stand.or_else(|| state.position(self.store_time(topic)));
        let floor = position.as_ref().map_or(Offset::NONE, |position| position.offset);
        let floor = if wish.waits { Listener::WAITS } else { floor };
        let hold = outbox.hold();
        let first = state.audience.is_empty();
        self.tally.came(first);
        if let Some(watcher) = self.watcher.get().filter(|_| first) {
            watcher(&topic.channel);
        }
        let slot = state.audience.enter(Listener {
            outbox: Arc::clone(outbox),
            positioned: wish.positioned,
            floor,
            manner: wish.manner(&outcome),
        });
        state.idle_since = None;
        self.telemetry.relay.subscriptions.of(&topic.namespace.name).increment(1.0);
        let membership = Membership { relay: Arc::clone(self), topic: Arc::clone(topic), slot };
        Some(Joined { membership, position, outcome, hold })
    }

    /// Marks a topic as having a hole, and has it healed.
    pub(super) fn suspect(&self, topic: &Arc<Topic>, cause: GapCause, goal: Offset) {
        let news = topic.state.lock().suspect(cause, goal);
        if news {
            self.have_healed(topic, cause);
        }
    }

    /// Counts a gap that was found, and has it healed.
    pub(super) fn have_healed(&self, topic: &Arc<Topic>, cause: GapCause) {
        self.count_gap(cause);
        self.heals.push(Arc::clone(topic));
    }
}

const fn bound(options: &HistoryOptions, wish: &Wish) -> Bound {
    let (messages, bytes) = (wish.max_publications, wish.max_bytes);
    Bound { messages, bytes, excess: Excess::Refused, ttl: Some(options.ttl) }
}
