//! One namespace's history: a single sequence over all its channels, as a JetStream stream has it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::backplane::message::now;
use crate::backplane::{Bounds, Link, Outgoing, Page, Stored, Top, Version};
use crate::protocol::{Channel, Epoch, Offset, Position};
use crate::settings::HistoryOptions;

/// What is stored of one namespace.
pub(super) struct Stream {
    epoch: Epoch,
    /// Messages kept of a channel: one more than readers get, which proves that nothing before it was missed.
    depth: usize,
    max_age: Duration,
    last: u64,
    /// The newest offset that was let go of because of its age.
    aged: u64,
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
    pub(super) fn new(history: &HistoryOptions, epoch: Epoch) -> Self {
        Self {
            epoch,
            depth: history.size + 1,
            max_age: history.horizon,
            // As in a cluster's streams, where the first offset is a mark's.
            last: 1,
            aged: 1,
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
        let stored_at = now();
        let log = self.channels.entry(channel.clone()).or_default();
        let previous = log.messages.back().map_or(Offset::NONE, |message| message.offset);
        if message.version.is_some() {
            log.version.clone_from(&message.version);
        }
        log.messages.push_back(Stored { offset, stored_at, data: message.data.clone(), meta: message.meta.clone() });
        if log.messages.len() > self.depth
            && let Some(oldest) = log.messages.pop_front()
        {
            self.order.remove(&oldest.offset.0);
        }
        self.order.insert(self.last, channel.clone());
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
        Bounds { epoch: self.epoch.clone(), first: Offset(self.aged + 1), last: Offset(self.last) }
    }

    pub(super) const fn retention(&self) -> Duration {
        self.max_age
    }

    pub(super) fn remove_before(&mut self, channel: &Channel, end: Offset) {
        let Some(log) = self.channels.get_mut(channel) else { return };
        while log.messages.front().is_some_and(|message| message.offset < end) {
            if let Some(message) = log.messages.pop_front() {
                self.order.remove(&message.offset.0);
            }
        }
    }

    /// Lets go of what is older than the horizon.
    pub(super) fn expire(&mut self) {
        let oldest = now().saturating_sub(i64::try_from(self.max_age.as_nanos()).unwrap_or(i64::MAX));
        while let Some(entry) = self.order.first_entry() {
            let Some(log) = self.channels.get_mut(entry.get()) else { return };
            if log.messages.front().is_some_and(|message| message.stored_at >= oldest) {
                return;
            }
            log.messages.pop_front();
            if log.messages.is_empty() {
                self.channels.remove(entry.get());
            }
            self.aged = *entry.key();
            entry.remove();
        }
    }
}

fn newer(version: &Version, had: &Version) -> bool {
    let comparable = version.epoch.is_empty() || version.epoch == had.epoch;
    !comparable || version.number > had.number
}
