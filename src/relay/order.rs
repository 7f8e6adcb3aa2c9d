//! Namespaces whose channels have one order: whoever has a publication has everything that was stored before it, in all of
//! its channels. Clients of Socket.IO know how far they are by one offset for all of their rooms.
//!
//! A channel's chain proves nothing of another channel. But everything of such a namespace passes one pump, whether or not
//! anybody here listens to it, and offsets have no holes there: whatever follows the one before has nothing between. After
//! a hole, and while a channel is healed, publications go out all the same, with the word that nobody can go on from there
//! ([`Stand`]): until every channel is known to be whole up to where the offsets follow one another again, and none has come
//! further than that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::registry::Registry;
use super::topic::{Course, Topic};
use crate::backplane::{Bounds, Link, Top};
use crate::hub::Outbox;
use crate::protocol::socketio::{Arguments, Stand};
use crate::protocol::{Epoch, Offset, Position};
use crate::settings::Namespaces;

/// Between two looks at all channels, while they are not known to be whole.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The namespaces that have one order.
pub(super) type Orders = HashMap<Arc<str>, Arc<Order>>;

/// The order of one namespace.
pub(super) struct Order {
    pub(super) namespace: Arc<str>,
    /// Held while a publication passes, and while somebody is let in: nobody gets in between two channels.
    run: Mutex<Run>,
    ward: Ward,
    /// Who says for whom events are that are not for one channel.
    pub(super) reader: OnceLock<Reader>,
}

/// Reads an event that is for more than one channel.
pub type Reader = Box<dyn Fn(&[u8]) -> Option<Addressed> + Send + Sync>;

/// An event, and who gets it.
pub struct Addressed {
    pub arguments: Arguments,
    /// Only for whom nothing waits.
    pub volatile: bool,
    pub to: Vec<Arc<Outbox>>,
}

/// What passed without a hole.
struct Run {
    /// It is known where the namespace stood when the first channel was opened.
    begun: bool,
    epoch: Epoch,
    first: Offset,
    last: Offset,
    /// Up to here it went on without a publication that passed, by what was known of the channels that were open.
    went_on_to: Offset,
    /// Nothing before `first` is missing in any channel.
    whole: bool,
    looked: Instant,
    /// When it was last tried to go on without a publication.
    tried_to_go_on: Option<Instant>,
}

/// Channels that are being healed.
#[derive(Clone, Default)]
pub(super) struct Ward(Arc<Beds>);

#[derive(Default)]
struct Beds {
    taken: AtomicUsize,
    /// How far what was read for one of them was delivered: further, perhaps, than anything passed.
    reached: Mutex<Option<Position>>,
}

/// One of them; leaves on drop.
pub(super) struct Patient(Ward);

impl Ward {
    pub(super) fn admit(&self) -> Patient {
        self.0.taken.fetch_add(1, Ordering::AcqRel);
        Patient(self.clone())
    }

    fn is_empty(&self) -> bool {
        self.0.taken.load(Ordering::Acquire) == 0
    }

    /// Notes how far a channel was delivered that is being healed.
    pub(super) fn reach(&self, epoch: &Epoch, offset: Offset) {
        let mut reached = self.0.reached.lock();
        match &mut *reached {
            Some(position) if position.epoch == *epoch => position.offset = position.offset.max(offset),
            _ => *reached = Some(Position { offset, epoch: epoch.clone() }),
        }
    }

    /// Whether a channel was delivered further than everything else.
    fn is_ahead_of(&self, run: &Run) -> bool {
        let reached = self.0.reached.lock();
        reached.as_ref().is_some_and(|reached| reached.epoch == run.epoch && reached.offset > run.last)
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        self.0.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One order for each namespace that wants it.
pub(super) fn orders(namespaces: &Namespaces) -> Orders {
    let order = |namespace: Arc<str>| {
        let order = Order::new(namespace);
        (Arc::clone(&order.namespace), Arc::new(order))
    };
    namespaces.ordered().map(order).collect()
}

impl Order {
    fn new(namespace: Arc<str>) -> Self {
        let run = Run {
            begun: false,
            epoch: Epoch::new(""),
            first: Offset::NONE,
            last: Offset::NONE,
            went_on_to: Offset::NONE,
            whole: false,
            looked: Instant::now(),
            tried_to_go_on: None,
        };
        Self { namespace, run: Mutex::new(run), ward: Ward::default(), reader: OnceLock::new() }
    }

    pub(super) const fn ward(&self) -> &Ward {
        &self.ward
    }

    pub(super) fn has_begun(&self) -> bool {
        self.run.lock().begun
    }

    /// Begins where the namespace stood after its deliveries were asked for. What lies before is in no channel that is
    /// opened after this: it is before their tops. Begins anew where the store did.
    pub(super) fn begin(&self, bounds: &Bounds) {
        let mut run = self.run.lock();
        if run.begun && run.epoch == bounds.epoch {
            return;
        }
        let next = bounds.last.next();
        if run.begun {
            // Channels that are open may have to begin anew as well.
            run.restart(bounds.epoch.clone(), next, bounds.last);
            return;
        }
        run.begun = true;
        run.epoch = bounds.epoch.clone();
        if run.last == Offset::NONE {
            (run.first, run.last) = (next, bounds.last);
        }
        run.whole = run.first <= next;
    }

    /// Lets one publication pass, or lets somebody in between two.
    pub(super) fn pass(&self) -> Passing<'_> {
        Passing { order: self, run: self.run.lock() }
    }
}

/// Nothing else passes until this is dropped.
pub(super) struct Passing<'a> {
    order: &'a Order,
    run: MutexGuard<'a, Run>,
}

impl Passing<'_> {
    /// Notes what comes next; whether something is missing before it. The `epoch` is that of its channel, where it is known.
    pub(super) fn note(&mut self, link: &Link, epoch: Option<Epoch>) -> bool {
        let run = &mut *self.run;
        let offset = link.offset;
        if let Some(epoch) = epoch.filter(|epoch| run.begun && *epoch != run.epoch) {
            run.restart(epoch, offset, offset);
            return true;
        }
        if offset == run.last.next() {
            run.last = offset;
            return false;
        }
        if offset <= run.last {
            return false;
        }
        (run.first, run.last, run.whole) = (offset, offset, false);
        run.begun
    }

    /// Up to where everything is known to have come, in every channel, and nothing else; `None` while that is not known.
    pub(super) fn known(&mut self, registry: &Registry) -> Option<Position> {
        let known = self.is_whole(registry) && !self.order.ward.is_ahead_of(&self.run);
        known.then(|| Position { offset: self.run.last, epoch: self.run.epoch.clone() })
    }

    fn is_whole(&mut self, registry: &Registry) -> bool {
        if !self.run.whole && self.run.begun && self.run.looked.elapsed() >= LOOK_EVERY {
            self.run.looked = Instant::now();
            let topics = registry.of_namespace(&self.order.namespace);
            self.run.whole = topics.iter().all(|topic| self.run.knows(topic));
        }
        self.run.whole && self.order.ward.is_empty()
    }

    /// Goes on to where every channel is known to be whole. What was healed, or found by an audit, never passed here; and
    /// where nothing is published any more, nothing will that follows it. A channel that is being opened has no say: it
    /// will not be where it [would be behind](Self::is_past). Not more often than all channels may be looked at: many ask.
    pub(super) fn go_on(&mut self, registry: &Registry) {
        let is_too_soon = self.run.tried_to_go_on.is_some_and(|tried| tried.elapsed() < LOOK_EVERY);
        if is_too_soon || !self.is_whole(registry) {
            return;
        }
        self.run.tried_to_go_on = Some(Instant::now());
        let topics = registry.of_namespace(&self.order.namespace);
        let least = topics.iter().filter_map(|topic| topic.state.lock().reaches()).min();
        if let Some(least) = least.filter(|least| *least > self.run.last) {
            (self.run.last, self.run.went_on_to) = (least, least);
        }
    }

    /// Whether the namespace went on past what a channel that is not open yet was said to have.
    pub(super) fn is_past(&self, top: &Top) -> bool {
        top.epoch == self.run.epoch && top.through < self.run.went_on_to
    }

    /// What whoever gets a publication now is told of how far it is.
    pub(super) fn stand(&mut self, offset: Option<Offset>, registry: &Registry) -> Stand {
        let known = self.known(registry).filter(|known| offset.is_none_or(|offset| offset == known.offset));
        match known {
            Some(position) => Stand { position, doubtful: false },
            None => {
                let offset = offset.unwrap_or(self.run.last);
                Stand { position: Position { offset, epoch: self.run.epoch.clone() }, doubtful: true }
            }
        }
    }
}

impl Run {
    /// Begins anew, in another life of the store.
    fn restart(&mut self, epoch: Epoch, first: Offset, last: Offset) {
        (self.epoch, self.first, self.last) = (epoch, first, last);
        (self.went_on_to, self.whole) = (Offset::NONE, false);
    }

    /// Whether a channel has everything that came before this run.
    fn knows(&self, topic: &Topic) -> bool {
        match &topic.state.lock().course {
            Course::Chained(chained) => {
                let proven = chained.chain.proven().next() >= self.first;
                chained.healing.is_none() && proven && chained.chain.epoch == self.epoch
            }
            // Nobody listens yet; who will begins at the channel's top.
            Course::Unopened(_) | Course::Plain => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Depths;
    use crate::protocol::Channel;
    use crate::relay::chain::Chain;
    use crate::relay::tail::TailBudget;
    use crate::settings::Settings;

    fn order(last: u64) -> Order {
        assert!(orders(&Namespaces(HashMap::new())).is_empty());
        let order = Order::new("chat".into());
        order.begin(&bounds("e", last));
        order
    }

    fn bounds(epoch: &str, last: u64) -> Bounds {
        Bounds { epoch: Epoch::new(epoch), first: Offset(1), last: Offset(last), depths: Depths::always(10) }
    }

    /// Of an empty channel.
    fn top(through: u64) -> Top {
        Top { epoch: Epoch::new("e"), newest: None, last: Offset(through), through: Offset(through) }
    }

    fn passes(order: &Order, offset: u64) -> (bool, bool) {
        let link = Link { offset: Offset(offset), previous: Offset::NONE, stored_at: 0 };
        let mut passing = order.pass();
        let gap = passing.note(&link, Some(Epoch::new("e")));
        (gap, passing.stand(Some(Offset(offset)), &Registry::default()).doubtful)
    }

    #[tokio::test]
    async fn what_follows_the_one_before_has_nothing_between() {
        let order = order(7);
        assert_eq!(passes(&order, 8), (false, false));
        assert_eq!(passes(&order, 9), (false, false));
        assert_eq!(passes(&order, 9), (false, false), "twice");
        assert_eq!(passes(&order, 5), (false, true), "late: nobody has it that gets it now");
        assert_eq!(passes(&order, 10), (false, false));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_hole_nobody_can_go_on_until_all_channels_are_known_to_be_whole() {
        let order = order(7);
        assert_eq!(passes(&order, 9), (true, true));
        assert_eq!(passes(&order, 10), (false, true));
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(passes(&order, 11), (false, false), "no channel is open");
    }

    #[tokio::test]
    async fn nobody_can_go_on_while_a_channel_is_healed() {
        let order = order(7);
        let patient = order.ward().admit();
        assert_eq!(passes(&order, 8), (false, true));
        drop(patient);
        assert_eq!(passes(&order, 9), (false, false));
    }

    #[tokio::test]
    async fn whoever_had_what_was_healed_ahead_of_all_else_was_told_it_could_go_on_from_before_and_got_it_twice() {
        let order = order(7);
        let patient = order.ward().admit();
        order.ward().reach(&Epoch::new("e"), Offset(10));
        drop(patient);
        assert_eq!([8, 9, 10].map(|offset| passes(&order, offset).1), [true, true, false]);
        order.ward().reach(&Epoch::new("of another life"), Offset(99));
        assert_eq!(passes(&order, 11), (false, false));
    }

    #[tokio::test]
    async fn another_epoch_is_another_run() {
        let order = order(7);
        let link = Link { offset: Offset(8), previous: Offset::NONE, stored_at: 0 };
        let mut passing = order.pass();
        assert!(passing.note(&link, Some(Epoch::new("f"))));
        let stand = passing.stand(Some(Offset(8)), &Registry::default());
        assert_eq!((stand.doubtful, stand.position.epoch.as_str()), (true, "f"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_began_anew_unseen_was_taken_for_the_one_before() {
        let order = order(7);
        order.begin(&bounds("f", 2));
        assert_eq!(order.pass().known(&Registry::default()), None, "channels that are open may be of the other still");
        tokio::time::advance(LOOK_EVERY).await;
        let known = order.pass().known(&Registry::default()).expect("no channel is open");
        assert_eq!((known.epoch.as_str(), known.offset), ("f", Offset(2)));
        order.begin(&bounds("f", 9));
        assert_eq!(order.pass().known(&Registry::default()), Some(known), "it has begun");
    }

    #[tokio::test]
    async fn a_channel_that_was_being_opened_kept_all_others_from_going_on() {
        let (order, registry) = (Arc::new(order(7)), Registry::default());
        let settings = Settings::from_toml("[[channel.namespaces]]\nname = \"chat\"\n").unwrap();
        let [open, _opening] = ["chat:open", "chat:opening"].map(|name| {
            let channel = Channel::parse(name, 255).unwrap();
            let namespace = settings.channel.namespaces.of(&channel).unwrap();
            registry.get_or_make(&channel, namespace, Some(&order)).0
        });
        let chain = Chain::new(&top(12), 0, Duration::from_secs(60));
        open.state.lock().open_chained(chain, TailBudget::default(), order.ward().clone());
        let mut passing = order.pass();
        passing.go_on(&registry);
        assert_eq!(passing.known(&registry).map(|known| known.offset), Some(Offset(12)));
        assert!(passing.is_past(&top(11)), "what it was said to have may be short of that: it is asked for again");
        assert!(!passing.is_past(&top(12)));
    }
}
