//! One namespace's history: a single sequence over all its channels, as a JetStream stream has it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::backplane::store_clock::StoreClock;
use crate::backplane::{Bounds, Depths, Link, Outgoing, Page, Stored, Top, Version};
use crate::protocol::{Channel, Epoch, Offset, Position};
use crate::settings::HistoryOptions;

/// What a message takes beside its contents.
const OVERHEAD: usize = 256;

/// What is stored of one namespace.
pub(super) struct Stream {
    /// Hears nobody: it goes on from where it began, whatever is done to the host's.
    clock: StoreClock,
    epoch: Epoch,
    /// Messages kept of a channel: one more than readers get, which proves that nothing before it was missed.
    depth: usize,
    max_age: Duration,
    max_bytes: usize,
    bytes: usize,
    last: u64,
    /// The newest offset that was let go of because of its age, or for want of room.
    gone: u64,
    /// Room was wanting.
    cramped: bool,
    channels: HashMap<Channel, Log>,
    /// Every stored offset with its channel, oldest first.
    order: BTreeMap<u64, Channel>,
}

#[derive(Default)]
struct Log {
    messages: VecDeque<Stored>,
    version: Option<Version>,
}

impl Stream {
    /// Keeps what `history` says, and at most `max_bytes` of it.
    pub(super) fn new(history: &HistoryOptions, max_bytes: usize, epoch: Epoch) -> Self {
        Self {
            clock: StoreClock::new(),
            epoch,
            depth: history.size + 1,
            max_age: history.horizon,
            max_bytes,
            bytes: 0,
            cramped: false,
            // As in a cluster's streams, where the first offset is a mark's.
            last: 1,
            gone: 1,
            channels: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    /// Stores a message unless its version is not newer; returns where the channel then stands, and the message's link.
    pub(super) fn append(&mut self, channel: &Channel, message: &Outgoing) -> (Position, Option<Link>) {
        self.expire();
        if let Some(version) = &message.version
            && self.channels.get(channel).and_then(|log| log.version.as_ref()).is_some_and(|had| !newer(version, had))
        {
            return (self.top(channel).position(), None);
        }
        self.last += 1;
        let offset = Offset(self.last);
        let stored_at = self.clock.now();
        let log = self.channels.entry(channel.clone()).or_default();
        let previous = log.messages.back().map_or(Offset::NONE, |message| message.offset);
        if message.version.is_some() {
            log.version.clone_from(&message.version);
        }
        let stored = Stored { offset, stored_at, data: message.data.clone(), meta: message.meta.clone() };
        self.bytes += weight(&stored);
        log.messages.push_back(stored);
        if log.messages.len() > self.depth
            && let Some(oldest) = log.messages.pop_front()
        {
            self.bytes -= weight(&oldest);
            self.order.remove(&oldest.offset.0);
        }
        self.order.insert(self.last, channel.clone());
        while self.bytes > self.max_bytes && self.order.len() > 1 {
            self.cramped = true;
            self.let_go_of_oldest();
        }
        (Position { offset, epoch: self.epoch.clone() }, Some(Link { offset, previous, stored_at }))
    }

    pub(super) fn top(&mut self, channel: &Channel) -> Top {
        self.expire();
        let newest = self.channels.get(channel).and_then(|log| log.messages.back()).map(|message| message.offset);
        Top { epoch: self.epoch.clone(), newest, last: Offset(self.last), through: Offset(self.last) }
    }

    pub(super) fn page(&mut self, channel: &Channel, from: Offset, limit: usize) -> Page {
        self.expire();
        let Some(log) = self.channels.get(channel) else { return Page::default() };
        let start = log.messages.partition_point(|message| message.offset < from);
        let messages: Vec<_> = log.messages.iter().skip(start).take(limit).cloned().collect();
        Page { more: start + messages.len() < log.messages.len(), messages }
    }

    pub(super) fn bounds(&mut self) -> Bounds {
        self.expire();
        Bounds {
            epoch: self.epoch.clone(),
            first: Offset(self.gone + 1),
            last: Offset(self.last),
            depths: Depths::always(self.depth),
        }
    }

    pub(super) const fn retention(&self) -> Duration {
        if self.cramped { Duration::ZERO } else { self.max_age }
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now()
    }

    pub(super) fn remove_before(&mut self, channel: &Channel, end: Offset) {
        let Some(log) = self.channels.get_mut(channel) else { return };
        log.version = None;
        while log.messages.front().is_some_and(|message| message.offset < end) {
            if let Some(message) = log.messages.pop_front() {
                self.bytes -= weight(&message);
                self.order.remove(&message.offset.0);
            }
        }
    }

    /// Lets go of what is older than the horizon.
    pub(super) fn expire(&mut self) {
        let oldest = self.clock.now().saturating_sub(i64::try_from(self.max_age.as_nanos()).unwrap_or(i64::MAX));
        while let Some((_, channel)) = self.order.first_key_value() {
            let first = self.channels.get(channel).and_then(|log| log.messages.front());
            if first.is_none_or(|message| message.stored_at >= oldest) {
                return;
            }
            self.let_go_of_oldest();
        }
    }

    fn let_go_of_oldest(&mut self) {
        let Some((offset, channel)) = self.order.pop_first() else { return };
        self.gone = offset;
        let Some(log) = self.channels.get_mut(&channel) else { return };
        if let Some(message) = log.messages.pop_front() {
            self.bytes -= weight(&message);
        }
        if log.messages.is_empty() {
            self.channels.remove(&channel);
        }
    }
}

/// Bytes that a message takes, about.
fn weight(message: &Stored) -> usize {
    OVERHEAD + message.data.len() + message.meta.weight()
}

fn newer(version: &Version, had: &Version) -> bool {
    let comparable = version.epoch.is_empty() || version.epoch == had.epoch;
    !comparable || version.number > had.number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(max_bytes: usize) -> Stream {
        let history = HistoryOptions { size: 10, ttl: Duration::from_secs(60), horizon: Duration::from_secs(600) };
        Stream::new(&history, max_bytes, Epoch::new("e"))
    }

    fn message(size: usize) -> Outgoing {
        Outgoing { data: vec![b'x'; size].into(), ..Outgoing::default() }
    }

    fn channel(name: &str) -> Channel {
        Channel::parse(name, 255).expect("a channel")
    }

    #[test]
    fn the_oldest_of_all_channels_give_way_and_the_bounds_say_so() {
        let mut stream = stream(10 * (OVERHEAD + 100));
        for n in 0..30 {
            stream.append(&channel(&format!("chat:{n}")), &message(100));
        }
        assert_eq!(stream.order.len(), 10);
        assert_eq!(stream.channels.len(), 10);
        assert_eq!(stream.bounds().first, Offset(stream.last - 9));
        assert_eq!(stream.retention(), Duration::ZERO, "nobody can say any more how long something stays");
        assert_eq!(stream.top(&channel("chat:3")).newest, None);
    }

    #[test]
    fn what_is_counted_is_what_is_there() {
        let mut stream = stream(usize::MAX);
        let room = channel("chat:room");
        for n in 0..30 {
            stream.append(&room, &message(n));
        }
        stream.remove_before(&room, Offset(stream.last));
        let left: usize = stream.channels.values().flat_map(|log| &log.messages).map(weight).sum();
        assert_eq!((stream.bytes, stream.order.len()), (left, 1));
        assert_eq!(stream.bounds().first, Offset(2), "neither age nor want of room took anything");
        assert_eq!(stream.retention(), Duration::from_secs(600));
    }

    #[test]
    fn a_message_larger_than_the_room_stays_until_the_next() {
        let mut stream = stream(10);
        for _ in 0..3 {
            stream.append(&channel("chat:room"), &message(1_000));
            assert_eq!(stream.order.len(), 1);
        }
    }
}
