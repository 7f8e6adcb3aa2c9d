//! The newest publications of a channel, kept on the node: who comes back at once needs no read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::registry::Registry;
use super::topic::Course;
use crate::backplane::Stored;
use crate::protocol::Offset;

/// Publications kept of one channel.
const MESSAGES: usize = 128;
/// Bytes kept of one channel.
const BYTES: usize = 128 * 1024;
/// Bytes kept of all channels of a node.
const TOTAL: usize = 64 * 1024 * 1024;
/// Below this nobody has to make room.
const AMPLE: usize = TOTAL / 4 * 3;
/// What a publication weighs beside its data.
const OVERHEAD: usize = 160;

/// Bytes in all tails of a node.
pub(super) type TailBudget = Arc<AtomicUsize>;

/// Everything of a channel behind `floor`.
pub(super) struct Tail {
    floor: Offset,
    messages: VecDeque<Stored>,
    bytes: usize,
    budget: TailBudget,
    /// Something was published since it was last looked at.
    busy: bool,
}

impl Tail {
    /// An empty tail: nothing is known before `floor`.
    pub(super) const fn new(floor: Offset, budget: TailBudget) -> Self {
        Self { floor, messages: VecDeque::new(), bytes: 0, budget, busy: false }
    }

    /// Appends the channel's newest publication.
    pub(super) fn push(&mut self, message: Stored) {
        if message.meta.tombstone {
            *self = Self::new(message.offset, Arc::clone(&self.budget));
            return;
        }
        self.busy = true;
        self.weigh(weight(&message));
        self.messages.push_back(message);
        while self.messages.len() > MESSAGES || self.bytes > BYTES || self.budget.load(Ordering::Relaxed) > TOTAL {
            if !self.forget_oldest() {
                break;
            }
        }
    }

    /// Gives half of its room to others, where nothing was published since it was last asked.
    fn make_room(&mut self) {
        if std::mem::take(&mut self.busy) {
            return;
        }
        for _ in 0..self.messages.len().div_ceil(2) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(oldest) = self.messages.pop_front() else { return false };
        self.floor = oldest.offset;
        self.unweigh(weight(&oldest));
        true
    }

    /// Reaches further back, where it can: `read` is everything behind `from` and up to `through`, ascending.
    pub(super) fn reach_back(&mut self, from: Offset, through: Offset, read: &[Stored]) {
        if from >= self.floor || through < self.floor {
            return;
        }
        let older = &read[..read.partition_point(|message| message.offset <= self.floor)];
        let bytes: usize = older.iter().map(weight).sum();
        let fits = self.messages.len() + older.len() <= MESSAGES
            && self.bytes + bytes <= BYTES
            && self.budget.load(Ordering::Relaxed) + bytes <= TOTAL;
        if fits {
            self.weigh(bytes);
            self.floor = from;
            for message in older.iter().rev() {
                self.messages.push_front(message.clone());
            }
        }
    }

    /// Everything behind `position`, ascending; `None` when the tail does not reach back so far.
    pub(super) fn since(&self, position: Offset) -> Option<Vec<Stored>> {
        (position >= self.floor).then(|| {
            let start = self.messages.partition_point(|message| message.offset <= position);
            self.messages.range(start..).cloned().collect()
        })
    }

    /// When a message that is kept was stored.
    pub(super) fn stored_at(&self, offset: Offset) -> Option<i64> {
        let index = self.messages.binary_search_by_key(&offset, |message| message.offset).ok()?;
        Some(self.messages[index].stored_at)
    }

    fn weigh(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.fetch_add(bytes, Ordering::Relaxed);
    }

    fn unweigh(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Has channels that fell quiet make room, where there is little: whoever publishes pays with its own oldest, and where all
/// is taken what a channel keeps that became busy later would be nothing. To be called now and then.
pub(super) fn make_room(registry: &Registry, budget: &TailBudget) {
    let is_ample = || budget.load(Ordering::Relaxed) <= AMPLE;
    if is_ample() {
        return;
    }
    for topic in registry.all() {
        if let Course::Chained(chained) = &mut topic.state.lock().course {
            chained.tail.make_room();
        }
        if is_ample() {
            return;
        }
    }
}

fn weight(message: &Stored) -> usize {
    message.data.len() + message.meta.weight() + OVERHEAD
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::backplane::{Meta, Top};
    use crate::protocol::{Channel, Epoch};
    use crate::relay::chain::Chain;
    use crate::relay::order::Ward;
    use crate::settings::Settings;

    fn stored(offset: u64, size: usize) -> Stored {
        Stored { offset: Offset(offset), stored_at: 0, data: Bytes::from(vec![b'x'; size]), meta: Meta::default() }
    }

    fn offsets(messages: &[Stored]) -> Vec<u64> {
        messages.iter().map(|message| message.offset.0).collect()
    }

    #[test]
    fn it_answers_only_for_what_it_kept_whole() {
        let mut tail = Tail::new(Offset(10), TailBudget::default());
        tail.push(stored(12, 1));
        tail.push(stored(15, 1));
        assert_eq!(offsets(&tail.since(Offset(10)).expect("covered")), [12, 15]);
        assert_eq!(offsets(&tail.since(Offset(13)).expect("covered")), [15]);
        assert!(tail.since(Offset(9)).is_none());
        tail.reach_back(Offset(4), Offset(9), &[stored(6, 1), stored(9, 1)]);
        assert!(tail.since(Offset(9)).is_none(), "something may lie between");
        tail.reach_back(Offset(4), Offset(12), &[stored(6, 1), stored(10, 1), stored(12, 1)]);
        assert_eq!(offsets(&tail.since(Offset(5)).expect("covered")), [6, 10, 12, 15]);
    }

    #[test]
    fn it_stays_within_its_bounds_and_forgets_the_oldest() {
        let budget = TailBudget::default();
        let mut tail = Tail::new(Offset(0), Arc::clone(&budget));
        for offset in 1..=500 {
            tail.push(stored(offset, 10));
        }
        assert_eq!(tail.floor, Offset(500 - MESSAGES as u64));
        tail.push(stored(501, BYTES));
        assert!(tail.since(Offset(500)).is_none(), "one message larger than the tail is not kept");
        drop(tail);
        assert_eq!(budget.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_channel_that_became_busy_after_others_had_taken_all_the_room_kept_nothing() {
        let (registry, budget) = (Registry::default(), TailBudget::default());
        let settings = Settings::from_toml("[[channel.namespaces]]\nname = \"chat\"\n").unwrap();
        let open = |name: &str| {
            let channel = Channel::parse(name, 255).unwrap();
            let namespace = settings.channel.namespaces.of(&channel).unwrap();
            let topic = registry.get_or_make(&channel, namespace, None).0;
            let none = Offset::NONE;
            let top = Top { epoch: Epoch::new("e"), newest: None, last: none, through: none };
            let chain = Chain::new(&top, 0, std::time::Duration::from_secs(60));
            topic.state.lock().open_chained(chain, Arc::clone(&budget), Ward::default());
            topic
        };
        let with = |topic: &crate::relay::topic::Topic, work: &mut dyn FnMut(&mut Tail)| {
            if let Course::Chained(chained) = &mut topic.state.lock().course {
                work(&mut chained.tail);
            }
        };
        // All have the same bytes: they weigh as if each had its own.
        let half = stored(1, BYTES / 2 - OVERHEAD);
        for number in 0..TOTAL / BYTES {
            let quiet = open(&format!("chat:{number}"));
            with(&quiet, &mut |tail| {
                tail.push(half.clone());
                tail.push(Stored { offset: Offset(2), ..half.clone() });
            });
        }
        assert_eq!(budget.load(Ordering::Relaxed), TOTAL);
        let busy = open("chat:busy");
        let mut keeps = |offset: u64| {
            let mut kept = 0;
            with(&busy, &mut |tail| {
                tail.push(stored(offset, 10));
                kept = tail.messages.len();
            });
            kept
        };
        assert_eq!(keeps(1), 0, "there is no room");
        make_room(&registry, &budget);
        assert_eq!(keeps(2), 0, "all were busy a moment ago");
        make_room(&registry, &budget);
        assert!(budget.load(Ordering::Relaxed) <= AMPLE);
        assert_eq!([3, 4].map(&mut keeps), [1, 2]);
        make_room(&registry, &budget);
        assert_eq!(keeps(5), 3, "nobody has to give more than is wanted");
    }
}
