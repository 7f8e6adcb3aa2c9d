//! Somebody comes back to several channels of a namespace that has one order, and has everything up to one offset.
//!
//! It listens to all of them first, and [waits](super::Wish::waits). Then it is let in to all of them at once, between two
//! publications: from there on everything comes live, in order. What lies between its own offset and that one is read.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Relay;
use super::join::Membership;
use super::order::Order;
use super::publication::is_withheld;
use super::recovery::{Bound, CatchUpError, CaughtUp, Excess, Refusal, age, catch_up};
use super::topic::{Course, Topic};
use crate::backplane::{GapCause, HistoryError, Stored};
use crate::hub::TurnedAway;
use crate::protocol::{Offset, Position};

/// How often, and how long in all, it is tried to let somebody in: what another node delivered may be on its way here.
const PAUSE: Duration = Duration::from_millis(10);
const ATTEMPTS: u32 = 200;
/// The attempts for which nothing is done about it.
const ON_ITS_WAY: u32 = 20;
/// Bytes of missed messages that are read at a time.
const PART: usize = 256 * 1024;

/// Why somebody cannot be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotLetIn {
    /// A hole is being healed, or this node is far behind others.
    #[error("not everything before is known to have come")]
    Unknown,
    /// What was published is of another life of the history.
    #[error("the history has another epoch")]
    Epoch,
    /// Nothing that was published has such an offset.
    #[error("nothing was published up to there")]
    Ahead,
}

/// Why nobody is let in at this moment.
enum NotNow {
    Unknown,
    /// What was published is of another life of the history than what it has.
    Another,
    /// What it has and its channels are of another life than what was published last.
    Outdated,
}

/// Why what was missed cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MissedError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Unavailable(#[from] HistoryError),
    #[error("too many recover: {0}")]
    Busy(#[from] TurnedAway),
}

impl Relay {
    /// Up to where everything that was published in a namespace that has one order has passed here, in all of its channels;
    /// `None` while that is not known.
    #[must_use]
    pub fn stands(&self, namespace: &str) -> Option<Position> {
        self.orders.get(namespace)?.pass().known(&self.registry)
    }

    /// Lets somebody in who waits in all of these channels of one namespace, and who has everything up to `since`. Returns
    /// up to where what was published has to be read; it gets what lies behind that.
    ///
    /// # Errors
    /// See [`NotLetIn`].
    pub async fn let_in(&self, memberships: &[&Membership], since: &Position) -> Result<Position, NotLetIn> {
        let mut topics = memberships.iter().map(|membership| &membership.topic);
        let Some(order) = topics.find_map(|topic| topic.order.as_ref()) else { return Err(NotLetIn::Unknown) };
        for attempt in 0..ATTEMPTS {
            match self.try_to_let_in(order, memberships, since) {
                Ok(known) => return Ok(known),
                Err(NotNow::Another) => return Err(NotLetIn::Epoch),
                Err(NotNow::Outdated) => self.begin_anew(order).await?,
                Err(NotNow::Unknown) => {}
            }
            if attempt == ON_ITS_WAY {
                // Whoever makes an offset up must not keep others waiting.
                if self.is_ahead(order, since).await {
                    return Err(NotLetIn::Ahead);
                }
                // It may have passed nobody here, but been healed: then nothing comes any more that follows it.
                self.audits.demand(&order.namespace, GapCause::Audit);
            }
            sleep(PAUSE).await;
        }
        Err(NotLetIn::Unknown)
    }

    fn try_to_let_in(&self, order: &Order, memberships: &[&Membership], since: &Position) -> Result<Position, NotNow> {
        let mut passing = order.pass();
        let known = passing.known(&self.registry).ok_or(NotNow::Unknown)?;
        let mut topics = memberships.iter().map(|membership| &membership.topic);
        if known.epoch != since.epoch {
            let of_this = |topic: &Arc<Topic>| topic.state.lock().epoch().is_some_and(|epoch| epoch == since.epoch);
            return Err(if topics.all(of_this) { NotNow::Outdated } else { NotNow::Another });
        }
        // A channel that was opened a moment ago may have come further than what was delivered.
        if topics.all(|topic| has_come_to(topic, &known)) && since.offset <= known.offset {
            memberships.iter().for_each(|membership| seat(membership, known.offset));
            return Ok(known);
        }
        passing.go_on(&self.registry);
        Err(NotNow::Unknown)
    }

    /// Whether somebody says that it has what the store has not.
    async fn is_ahead(&self, order: &Order, since: &Position) -> bool {
        let Some(history) = self.backplane.history() else { return false };
        let bounds = history.bounds(&order.namespace).await;
        bounds.is_ok_and(|bounds| bounds.epoch == since.epoch && bounds.last < since.offset)
    }

    /// The store began anew, and nothing was published since that would say so.
    async fn begin_anew(&self, order: &Order) -> Result<(), NotLetIn> {
        let history = self.backplane.history().ok_or(NotLetIn::Unknown)?;
        order.begin(&history.bounds(&order.namespace).await.map_err(|_| NotLetIn::Unknown)?);
        Ok(())
    }

    /// Gives `take` everything that was published in the channel of `membership` behind `since` and up to where it was let
    /// in, ascending, part after part: not all of it may be for whoever missed it.
    ///
    /// # Errors
    /// When that cannot be had, or `take` refuses. Then what was given before is not all.
    pub async fn missed(
        &self,
        membership: &Membership,
        since: Offset,
        through: &Position,
        mut take: impl FnMut(Stored) -> Result<(), Refusal> + Send,
    ) -> Result<(), MissedError> {
        let topic = &membership.topic;
        let wanted = |message: &Stored| message.offset <= through.offset && !is_withheld(&topic.namespace, message);
        let mut take = |messages: Vec<Stored>| messages.into_iter().filter(wanted).try_for_each(&mut take);
        match self.missed_from_tail(topic, since, through)? {
            Some(messages) => Ok(take(messages)?),
            None => self.missed_from_stream(topic, since, through, take).await,
        }
    }

    fn missed_from_tail(
        &self,
        topic: &Topic,
        since: Offset,
        through: &Position,
    ) -> Result<Option<Vec<Stored>>, Refusal> {
        let state = topic.state.lock();
        let Course::Chained(chained) = &state.course else { return Ok(None) };
        if chained.chain.epoch != through.epoch {
            return Err(Refusal::Epoch);
        }
        if since > chained.chain.proven() {
            return Ok(None);
        }
        let Some(messages) = chained.tail.since(since) else { return Ok(None) };
        let ttl = topic.namespace.history.as_ref().map_or(Duration::ZERO, |history| history.ttl);
        match messages.first().is_some_and(|oldest| age(oldest, self.store_time(topic)) > ttl) {
            true => Err(Refusal::Expired),
            false => Ok(Some(messages)),
        }
    }

    async fn missed_from_stream(
        &self,
        topic: &Arc<Topic>,
        since: Offset,
        through: &Position,
        mut take: impl FnMut(Vec<Stored>) -> Result<(), Refusal> + Send,
    ) -> Result<(), MissedError> {
        let history = self.backplane.history().ok_or(Refusal::Trimmed)?;
        let _permit = self.permit().await?;
        // Whoever read meanwhile left it there.
        if let Some(messages) = self.missed_from_tail(topic, since, through)? {
            return Ok(take(messages)?);
        }
        let ttl = topic.namespace.history.as_ref().map(|history| history.ttl);
        let bound = Bound { messages: usize::MAX, bytes: PART, excess: Excess::Later, ttl };
        let mut reached = since;
        loop {
            let caught = catch_up(history, &topic.channel, &through.epoch, reached, reached, bound).await?;
            if reached == since {
                leave_in_tail(topic, since, &caught, through);
            }
            reached = caught.top.offset;
            take(caught.messages)?;
            if reached >= through.offset || caught.newest.is_none_or(|newest| newest <= reached) {
                break;
            }
        }
        Ok(take(delivered_since(topic, reached, through)?)?)
    }
}

/// Leaves the first that was read for whoever comes next: where it is all, nobody else has to read.
fn leave_in_tail(topic: &Topic, since: Offset, caught: &CaughtUp, through: &Position) {
    if let Course::Chained(chained) = &mut topic.state.lock().course
        && chained.chain.epoch == through.epoch
    {
        chained.tail.reach_back(since, caught.top.offset, &caught.messages);
    }
}

/// What was delivered here behind what was read: that may end before it.
fn delivered_since(topic: &Topic, reached: Offset, through: &Position) -> Result<Vec<Stored>, Refusal> {
    let state = topic.state.lock();
    let Course::Chained(chained) = &state.course else { return Err(Refusal::Epoch) };
    if chained.chain.epoch != through.epoch {
        return Err(Refusal::Epoch);
    }
    if reached >= chained.chain.had.min(through.offset) {
        return Ok(Vec::new());
    }
    chained.tail.since(reached).ok_or(Refusal::Trimmed)
}

/// Whether a channel has nothing that has not passed here yet, and is of the same life.
fn has_come_to(topic: &Topic, known: &Position) -> bool {
    let state = topic.state.lock();
    match &state.course {
        Course::Chained(chained) => chained.chain.had <= known.offset && chained.chain.epoch == known.epoch,
        Course::Plain | Course::Unopened(_) => false,
    }
}

fn seat(membership: &Membership, offset: Offset) {
    let mut state = membership.topic.state.lock();
    state.audience.let_in(membership.slot, offset);
    if let Course::Chained(chained) = &mut state.course {
        // It listened before, and everything up to there has passed.
        chained.chain.know_through(offset);
    }
}

impl From<CatchUpError> for MissedError {
    fn from(error: CatchUpError) -> Self {
        match error {
            CatchUpError::Refused(refusal) => Self::Refused(refusal),
            CatchUpError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}
