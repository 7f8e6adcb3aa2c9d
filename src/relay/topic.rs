//! A channel that this node listens to: its audience, and how far it was delivered.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::chain::{Chain, Judgement};
use super::order::{Order, Patient, Ward};
use super::pending::Pending;
use super::publication::push_frames;
use super::tail::{Tail, TailBudget};
use super::turn::Turn;
use crate::backplane::{GapCause, Incoming, Link, Stored};
use crate::hub::{Audience, Base, Frames, Outbox, Reach};
use crate::protocol::centrifuge::Format;
use crate::protocol::{Channel, Epoch, Offset, Position};
use crate::settings::Namespace;

/// A channel with listeners on this node.
pub(super) struct Topic {
    pub(super) channel: Channel,
    pub(super) namespace: Arc<Namespace>,
    /// Of all channels of the namespace, where they have one.
    pub(super) order: Option<Arc<Order>>,
    /// One at a time opens the channel or reads its history; the others find the result.
    pub(super) turn: Turn,
    pub(super) state: Mutex<TopicState>,
}

/// What of a topic changes.
pub(super) struct TopicState {
    pub(super) audience: Audience,
    pub(super) course: Course,
    /// Since when nobody listens.
    pub(super) idle_since: Option<Instant>,
    /// It waits in the list of idle topics.
    pub(super) listed_idle: bool,
    /// It left the registry: whoever still holds it must ask for it again.
    pub(super) closed: bool,
}

/// How publications pass.
pub(super) enum Course {
    /// The backplane was not asked yet, or has not answered.
    Unopened(Pending),
    /// No history: they pass as they come.
    Plain,
    /// Each is chained to the one before.
    Chained(Chained),
}

/// The course of a channel with history.
pub(super) struct Chained {
    pub(super) chain: Chain,
    pub(super) tail: Tail,
    pub(super) healing: Option<Box<Healing>>,
    /// What follows this offset has had time to arrive since then.
    awaited: Option<(Offset, Instant)>,
    /// Where it is while it is healed.
    ward: Ward,
}

/// A hole that is being healed.
pub(super) struct Healing {
    pub(super) cause: GapCause,
    /// That something is missing is certain, and was counted.
    pub(super) counted: bool,
    /// Its listeners were told that it is lost, and that was counted.
    pub(super) given_up: bool,
    /// The channel is known to reach this far.
    pub(super) goal: Offset,
    pub(super) pending: Pending,
    #[expect(dead_code, reason = "the channel counts as one that is healed as long as it lives")]
    patient: Patient,
}

/// What became of an arriving message.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "in a box it would be an allocation for each delivery")]
pub(super) enum Arrival {
    Delivered(Reach),
    /// Delivered before.
    Dropped,
    /// It waits until its channel is open or healed.
    Held {
        /// An older one that waited had to go for it.
        overflow: bool,
    },
    /// It shows a hole, or may: it waits, and the topic must be healed. Named is what certainly is one.
    Hole(Option<GapCause>),
}

impl Topic {
    pub(super) fn new(channel: Channel, namespace: Arc<Namespace>, order: Option<Arc<Order>>) -> Self {
        let state = TopicState {
            audience: Audience::default(),
            course: Course::Unopened(Pending::default()),
            idle_since: Some(Instant::now()),
            listed_idle: true,
            closed: false,
        };
        Self { channel, namespace, order, turn: Turn::default(), state: Mutex::new(state) }
    }

    /// How far it is known that nothing is missing; far beyond everything where nothing is chained.
    pub(super) fn proven(&self) -> Offset {
        match &self.state.lock().course {
            Course::Chained(chained) => chained.chain.proven(),
            Course::Plain | Course::Unopened(_) => Offset(u64::MAX),
        }
    }

    /// Where it is while it is healed.
    pub(super) fn ward(&self) -> Ward {
        self.order.as_ref().map_or_else(Ward::default, |order| order.ward().clone())
    }

    /// Whether its publications are stored and chained.
    pub(super) fn has_history(&self) -> bool {
        self.namespace.history.is_some()
    }
}

/// What a channel's listeners want of a message.
pub(super) struct Wanted<F> {
    pub(super) formats: F,
    /// What it may be a patch against.
    pub(super) base: Option<Base>,
    /// Some want patches.
    pub(super) patches: bool,
}

impl TopicState {
    pub(super) fn wanted(&self) -> Wanted<impl Iterator<Item = Format> + Clone + use<>> {
        let base = self.audience.base().cloned();
        Wanted { formats: self.audience.formats(), base, patches: self.audience.wants_patches() }
    }

    /// Where a reader stands, `now` by the store's clock, who has everything that passed here; `None` without history.
    pub(super) fn position(&self, now: i64) -> Option<Position> {
        match &self.course {
            Course::Chained(chained) => Some(chained.chain.position(now)),
            Course::Plain | Course::Unopened(_) => None,
        }
    }

    /// The epoch that the channel stands in; `None` without history.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match &self.course {
            Course::Chained(chained) => Some(chained.chain.epoch.clone()),
            Course::Plain | Course::Unopened(_) => None,
        }
    }

    /// The newest publication that passed here, or where the channel was opened; `None` without history.
    pub(super) fn had(&self) -> Option<Offset> {
        match &self.course {
            Course::Chained(chained) => Some(chained.chain.had),
            Course::Plain | Course::Unopened(_) => None,
        }
    }

    /// How far nothing of the channel is missing; `None` while nobody can say.
    pub(super) fn reaches(&self) -> Option<Offset> {
        match &self.course {
            Course::Chained(chained) => Some(chained.chain.proven()),
            Course::Plain | Course::Unopened(_) => None,
        }
    }

    /// Whether the channel, which reaches to `newest` if that is known, reaches further than what passed here.
    pub(super) fn is_behind(&self, newest: Option<Offset>) -> bool {
        self.had().zip(newest).is_some_and(|(had, newest)| had < newest)
    }

    /// Notes that, when it was `asked`, the channel had nothing more between `floor` and `through`.
    pub(super) fn confirm(&mut self, floor: Offset, through: Offset, asked: i64, retention: Duration) {
        if let Course::Chained(chained) = &mut self.course
            && chained.healing.is_none()
            && floor <= chained.chain.proven()
        {
            chained.chain.prove(through, asked, retention);
        }
    }

    /// Takes a message from the live feed.
    pub(super) fn arrive(&mut self, message: Incoming, frames: &Frames<'_>, touched: &mut Vec<Arc<Outbox>>) -> Arrival {
        let Some(link) = message.link else {
            return Arrival::Delivered(self.audience.deliver(frames, Offset::NONE, touched));
        };
        match &mut self.course {
            Course::Plain => Arrival::Delivered(self.audience.deliver(frames, Offset::NONE, touched)),
            Course::Unopened(pending) => Arrival::Held { overflow: pending.push(message) },
            Course::Chained(chained) => {
                if let Some(healing) = &mut chained.healing {
                    healing.goal = healing.goal.max(link.offset);
                    return Arrival::Held { overflow: healing.pending.push(message) };
                }
                match chained.judge(&link) {
                    Judgement::Old => Arrival::Dropped,
                    Judgement::Next => {
                        let reach = chained.pass(&mut self.audience, stored(message), frames, touched);
                        Arrival::Delivered(reach)
                    }
                    Judgement::Gap => chained.hold_back(message, link.offset, GapCause::Hole, true),
                    Judgement::Unproven => chained.hold_back(message, link.offset, GapCause::Hole, false),
                    Judgement::StepBack => chained.hold_back(message, link.offset, GapCause::EpochChanged, true),
                }
            }
        }
    }

    /// Marks the topic as having a hole. Returns whether it was whole until now: then somebody must heal it.
    pub(super) fn suspect(&mut self, cause: GapCause, goal: Offset) -> bool {
        let Course::Chained(chained) = &mut self.course else { return false };
        match &mut chained.healing {
            Some(healing) => {
                healing.goal = healing.goal.max(goal);
                if cause == GapCause::EpochChanged {
                    healing.cause = cause;
                }
                false
            }
            None => {
                chained.begin_healing(cause, true, goal, Pending::default());
                true
            }
        }
    }

    /// Forgets what arrived before the top is asked for: it lies before it, or is of a life of the store that is over.
    pub(super) fn begin_opening(&mut self) {
        if let Course::Unopened(pending) = &mut self.course {
            *pending = Pending::default();
        }
    }

    /// Opens the course at `chain`; what arrived meanwhile is passed on, and a hole in it found.
    pub(super) fn open_chained(&mut self, chain: Chain, budget: TailBudget, ward: Ward) -> bool {
        let pending = match &mut self.course {
            Course::Unopened(pending) => std::mem::take(pending),
            Course::Plain | Course::Chained(_) => return false,
        };
        let tail = Tail::new(chain.had, budget);
        let mut chained = Chained::new(chain, tail, ward);
        // Nobody listens yet, so what arrived needs no delivery: it only moves the chain.
        let hole = chained.follow(pending, Chained::skip);
        self.course = Course::Chained(chained);
        hole
    }
}

impl TopicState {
    /// Gives up what is missing and goes on from `chain`. What waited is delivered to those who were promised
    /// nothing. Returns whether what came after it shows another hole.
    pub(super) fn go_on_from(
        &mut self,
        topic: &Topic,
        chain: Chain,
        budget: TailBudget,
        touched: &mut Vec<Arc<Outbox>>,
    ) -> (Reach, bool) {
        let mut reach = Reach::default();
        let Course::Chained(chained) = &mut self.course else { return (reach, false) };
        let mut healed = chained.healing.take();
        let mut pending = healed.as_mut().map(|healing| std::mem::take(&mut healing.pending)).unwrap_or_default();
        let top = chain.had;
        let is_another_life = chain.epoch != chained.chain.epoch;
        if is_another_life {
            self.audience.begin_anew();
        }
        *chained = Chained::new(chain, Tail::new(top, budget), topic.ward());
        while let Some(message) = pending.pop_up_to(top) {
            let message = stored(message);
            if !message.meta.tombstone {
                let frames = push_frames(topic, &message, self.audience.base());
                reach += self.audience.deliver(&frames, message.offset, touched);
            }
        }
        if is_another_life {
            // Of the life that is over: it will never be anybody's next. What is of the new one shows as a hole.
            pending = Pending::default();
        }
        let audience = &mut self.audience;
        let hole = chained.follow(pending, |chained, message| {
            let message = stored(message);
            let frames = push_frames(topic, &message, audience.base());
            reach += chained.pass(audience, message.clone(), &frames, touched);
        });
        (reach, hole)
    }
}

impl Chained {
    const fn new(chain: Chain, tail: Tail, ward: Ward) -> Self {
        Self { chain, tail, healing: None, awaited: None, ward }
    }

    /// Since when what comes next has had time to arrive: since now, where nobody waited for it before.
    pub(super) fn awaited_since(&mut self) -> Instant {
        let had = self.chain.had;
        let before = self.awaited.filter(|(offset, _)| *offset == had);
        self.awaited.insert(before.unwrap_or_else(|| (had, Instant::now()))).1
    }

    /// What the chain says; but two leaders' clocks differ, so a message that is kept with this very time was here before.
    fn judge(&self, link: &Link) -> Judgement {
        match self.chain.judge(link) {
            Judgement::StepBack if self.tail.stored_at(link.offset) == Some(link.stored_at) => Judgement::Old,
            judgement => judgement,
        }
    }

    /// Moves on over a message that nobody needs.
    fn skip(&mut self, message: Incoming) {
        if let Some(link) = message.link {
            self.chain.advance(link.offset, link.stored_at);
            self.tail.push(stored(message));
        }
    }

    /// Delivers the chain's next message and moves on.
    pub(super) fn pass(
        &mut self,
        audience: &mut Audience,
        message: Stored,
        frames: &Frames<'_>,
        touched: &mut Vec<Arc<Outbox>>,
    ) -> Reach {
        self.chain.advance(message.offset, message.stored_at);
        let reach =
            if message.meta.tombstone { Reach::default() } else { audience.deliver(frames, message.offset, touched) };
        self.tail.push(message);
        reach
    }

    /// Passes on what waited, as far as it is whole; a hole starts the healing anew and is reported.
    pub(super) fn follow(&mut self, mut pending: Pending, mut pass: impl FnMut(&mut Self, Incoming)) -> bool {
        while let Some(message) = pending.pop() {
            let Some(link) = message.link else { continue };
            match self.judge(&link) {
                Judgement::Old => {}
                Judgement::Next => {
                    pass(self, message);
                    self.note_reached();
                }
                judgement @ (Judgement::Gap | Judgement::Unproven | Judgement::StepBack) => {
                    pending.unpop(message);
                    let goal = pending.last().unwrap_or(link.offset);
                    let stepped_back = judgement == Judgement::StepBack;
                    let cause = if stepped_back { GapCause::EpochChanged } else { GapCause::Hole };
                    self.begin_healing(cause, false, goal, pending);
                    return true;
                }
            }
        }
        false
    }

    /// Notes how far it was delivered while it is healed.
    pub(super) fn note_reached(&self) {
        self.ward.reach(&self.chain.epoch, self.chain.had);
    }

    fn begin_healing(&mut self, cause: GapCause, counted: bool, goal: Offset, pending: Pending) {
        let patient = self.ward.admit();
        self.healing = Some(Box::new(Healing { cause, counted, given_up: false, goal, pending, patient }));
    }

    fn hold_back(&mut self, message: Incoming, goal: Offset, cause: GapCause, certain: bool) -> Arrival {
        let mut pending = Pending::default();
        pending.push(message);
        self.begin_healing(cause, certain, goal, pending);
        Arrival::Hole(certain.then_some(cause))
    }
}

/// A live message as history would give it.
pub(super) fn stored(message: Incoming) -> Stored {
    let (offset, stored_at) = message.link.map_or((Offset::NONE, 0), |link| (link.offset, link.stored_at));
    Stored { offset, stored_at, data: message.data, meta: message.meta }
}
