//! What listeners want otherwise than most do: patches, some messages only, or not to be closed when they are slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::filters::{Filters, Place};
use super::frames::{Base, Frames, Mark};
use super::outbox::{Outbox, Spill, Taken};
use crate::protocol::Offset;
use crate::protocol::centrifuge::Filter;

/// What happens to a listener that reads more slowly than messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowReader {
    /// Its connection is closed, once too much waits for it.
    #[default]
    Close,
    /// While its socket is full, only the newest message of the channel waits for it.
    Conflate,
    /// Once much waits for it, it gets nothing more until it has read that, and then what it missed from history.
    Recover,
}

/// What a listener wants otherwise than others.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Patches, where they are smaller.
    pub patches: bool,
    /// The message that it has already, and that a patch may be against.
    pub has: Option<Base>,
    /// Only messages that pass.
    pub filter: Option<Arc<Filter>>,
    pub slow: SlowReader,
}

/// Of a listener with a manner of its own.
pub(super) struct Special {
    /// The message that it has, where it gets patches.
    pub(super) has: Option<Mark>,
    filter: Option<Place>,
    slow: SlowReader,
    /// Names its messages in the outbox, of which one replaces another.
    key: u64,
    /// It has everything up to here, and gets the rest when it has read on.
    pub(super) parked: Option<Offset>,
}

impl Special {
    /// None where the manner is everybody's.
    pub(super) fn of(manner: Manner, filters: &mut Filters, base: &mut Option<Base>) -> Option<Box<Self>> {
        static KEYS: AtomicU64 = AtomicU64::new(0);

        let Manner { patches, has, filter, slow } = manner;
        if !patches && filter.is_none() && slow == SlowReader::Close {
            return None;
        }
        let mark = has.as_ref().map_or(Mark::NONE, |has| has.mark);
        if patches && has.is_some() && base.as_ref().is_none_or(|base| base.mark < mark) {
            // The channel comes to this one yet, or came to it while nobody wanted patches.
            *base = has;
        }
        Some(Box::new(Self {
            has: patches.then_some(mark),
            filter: filter.map(|filter| filters.enter(filter)),
            slow,
            key: KEYS.fetch_add(1, Ordering::Relaxed),
            parked: None,
        }))
    }

    pub(super) fn leave(&self, filters: &mut Filters, outbox: &Outbox) {
        if let Some(place) = self.filter {
            filters.leave(place);
        }
        if self.slow == SlowReader::Conflate {
            outbox.forget(self.key);
        }
    }

    /// Whether the message judged last is for it, now.
    pub(super) fn wants(&self, filters: &Filters) -> bool {
        self.parked.is_none() && self.wants_parked(filters)
    }

    /// Whether the message judged last is for it, now or later.
    pub(super) fn wants_parked(&self, filters: &Filters) -> bool {
        self.filter.is_none_or(|place| filters.passes(place))
    }

    /// Gives it a message, and says how large that was; `None` where its format cannot carry it. It has everything up to
    /// `before` without it.
    pub(super) fn offer(
        &mut self,
        outbox: &Outbox,
        frames: &Frames<'_>,
        mark: Mark,
        offset: Offset,
        before: Offset,
    ) -> (Option<Taken>, usize) {
        let format = outbox.format();
        let (frame, alone) = match self.has {
            Some(has) => (frames.delta(format, has), frames.delta(format, Mark::NONE)),
            None => (frames.plain(format), frames.plain(format)),
        };
        let Some((frame, alone)) = frame.zip(alone) else { return (None, 0) };
        let spill = match self.slow {
            SlowReader::Close => Spill::Close,
            SlowReader::Conflate => Spill::Replace { key: self.key, alone },
            SlowReader::Recover => Spill::Refuse,
        };
        let taken = outbox.offer(frame.clone(), spill);
        match taken {
            Taken::First | Taken::Again => self.has = self.has.map(|_| mark),
            // Another may take its place.
            Taken::Replaced => self.has = self.has.map(|_| Mark::NONE),
            Taken::Full if offset != Offset::NONE => {
                self.parked = Some(before);
                self.has = self.has.map(|_| Mark::NONE);
            }
            // Not stored: at most once.
            Taken::Full | Taken::Dropped | Taken::Overflow | Taken::Closed => {}
        }
        (Some(taken), frame.len())
    }
}
