//! One channel's listeners on this node.

use std::sync::Arc;

use super::filters::Filters;
use super::frames::{Base, Frames, Mark};
use super::manner::{Manner, Special};
use super::outbox::{Control, Outbox, Taken};
use super::reach::{Reach, Sent};
use crate::protocol::centrifuge::Format;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::websocket::Deflate;
use crate::protocol::{Channel, Offset};

/// A listener's place in its audience, for leaving it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// One connection that listens.
pub struct Listener {
    pub outbox: Arc<Outbox>,
    /// It was promised to be told when something is missing.
    pub positioned: bool,
    /// It has everything up to here: stored publications at or below are not for it.
    pub floor: Offset,
    /// What it wants otherwise than others.
    pub manner: Manner,
}

impl Listener {
    /// The floor of one that gets nothing yet.
    pub const WAITS: Offset = Offset(u64::MAX);
}

struct Seat {
    outbox: Arc<Outbox>,
    positioned: bool,
    /// Something is missing: nothing more may reach it, or the hole would be papered over.
    muted: bool,
    floor: Offset,
    /// Boxed: most want nothing special.
    special: Option<Box<Special>>,
}

impl Seat {
    /// Something is missing. A client of Socket.IO knows one position for all of its channels: it must not get anything
    /// more in the others either.
    fn tell_loss(&mut self, channel: &Channel) {
        self.muted = true;
        if self.outbox.format() == Format::SocketIo {
            self.outbox.take_no_more();
        }
        self.outbox.request(Control::Lost(channel.clone()));
    }
}

/// Everybody on this node who listens to one channel.
#[derive(Default)]
pub struct Audience {
    seats: Vec<Option<Seat>>,
    free: Vec<u32>,
    /// How many listen in each format.
    counts: [u32; Format::COUNT],
    /// How messages are compressed for those who have them so.
    deflate: Deflate,
    /// How many get patches.
    deltas: u32,
    /// The message delivered last, as long as somebody gets patches.
    base: Option<Base>,
    filters: Filters,
    /// The stored message delivered last.
    last: Offset,
    /// How many that were not stored were delivered.
    passed: u64,
}

impl Audience {
    /// Takes a listener in.
    pub fn enter(&mut self, listener: Listener) -> Slot {
        let Listener { outbox, positioned, floor, manner } = listener;
        let format = outbox.format();
        self.counts[format.index()] += 1;
        self.deflate = format.deflate().unwrap_or(self.deflate);
        let special = Special::of(manner, &mut self.filters, &mut self.base);
        self.deltas += u32::from(special.as_ref().is_some_and(|special| special.has.is_some()));
        let seat = Some(Seat { outbox, positioned, muted: false, floor, special });
        if let Some(index) = self.free.pop() {
            self.seats[index as usize] = seat;
            return Slot(index);
        }
        // Most channels are private to one user: a vector that grows by doubling would waste three seats each.
        if self.seats.len() < 4 {
            self.seats.reserve_exact(1);
        }
        self.seats.push(seat);
        Slot(self.seats.len() as u32 - 1)
    }

    /// Lets a listener go.
    pub fn leave(&mut self, slot: Slot) {
        let Some(seat) = self.seats.get_mut(slot.0 as usize).and_then(Option::take) else { return };
        self.counts[seat.outbox.format().index()] -= 1;
        if let Some(special) = seat.special {
            self.deltas -= u32::from(special.has.is_some());
            special.leave(&mut self.filters, &seat.outbox);
        }
        if self.deltas == 0 {
            self.base = None;
        }
        if self.is_empty() {
            *self = Self { last: self.last, passed: self.passed, ..Self::default() };
        } else {
            self.free.push(slot.0);
        }
    }

    /// Sends a listener nothing more; returns up to where it had everything when it came.
    pub fn silence(&mut self, slot: Slot) -> Offset {
        let Some(seat) = self.seats.get_mut(slot.0 as usize).and_then(Option::as_mut) else { return Offset::NONE };
        seat.muted = true;
        seat.floor
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections listen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.iter().sum::<u32>() as usize
    }

    /// The formats that somebody listens in.
    pub fn formats(&self) -> impl Iterator<Item = Format> + Clone + use<> {
        let counts = self.counts;
        Format::all(self.deflate).into_iter().filter(move |format| counts[format.index()] > 0)
    }

    /// Whether somebody gets patches.
    #[must_use]
    pub const fn wants_patches(&self) -> bool {
        self.deltas > 0
    }

    /// What the next message may be a patch against.
    #[must_use]
    pub const fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// Appends a message to every listener's outbox; `offset` is [`Offset::NONE`] for one that was not stored.
    /// Whoever got something is added to `touched`, to be flushed.
    pub fn deliver(&mut self, frames: &Frames<'_>, offset: Offset, touched: &mut Vec<Arc<Outbox>>) -> Reach {
        let mut reach = Reach::default();
        if frames.is_withheld() {
            return reach;
        }
        let content = frames.content();
        self.filters.judge(content.tags);
        let mark = self.mark(offset);
        let Self { seats, filters, last, .. } = self;
        for seat in seats.iter_mut().flatten() {
            let waits = seat.floor == Listener::WAITS;
            if seat.muted || waits || (offset != Offset::NONE && offset <= seat.floor) {
                continue;
            }
            let Some(spill) = frames.spill(&seat.outbox) else { continue };
            let format = seat.outbox.format();
            let (taken, bytes) = match &mut seat.special {
                None => match frames.plain(format) {
                    Some(frame) => (Some(seat.outbox.offer(frame.clone(), spill)), frame.len()),
                    None => (None, 0),
                },
                Some(special) if !special.wants(filters) => continue,
                Some(special) => special.offer(&seat.outbox, frames, mark, offset, (*last).max(seat.floor)),
            };
            match taken {
                Some(Taken::First) => touched.push(Arc::clone(&seat.outbox)),
                Some(Taken::Again) => {}
                Some(taken) => {
                    reach.miss(taken);
                    continue;
                }
                None => {
                    seat.outbox.request(Control::Close(DisconnectCode::InappropriateProtocol.into()));
                    continue;
                }
            }
            reach.sent[format.index()] += Sent { messages: 1, bytes };
        }
        if self.deltas > 0 {
            self.base = content.data.map(|data| Base { mark, data: data.clone() });
        }
        self.last = self.last.max(offset);
        reach
    }

    fn mark(&mut self, offset: Offset) -> Mark {
        if offset != Offset::NONE {
            return Mark::stored(offset);
        }
        self.passed += 1;
        Mark::passing(self.passed)
    }

    /// Up to where a listener has everything that waits in history until it reads on; `None` when nothing does.
    #[must_use]
    pub fn parked(&self, slot: Slot) -> Option<Offset> {
        self.seat(slot).filter(|seat| !seat.muted)?.special.as_ref()?.parked
    }

    /// Whether a listener gets patches.
    #[must_use]
    pub fn patches(&self, slot: Slot) -> bool {
        self.seat(slot).and_then(|seat| seat.special.as_ref()).is_some_and(|special| special.has.is_some())
    }

    /// Gives a parked listener the stored message that comes next in the channel. Returns whether it has it now, or does
    /// not want it; if not, it stays parked before it.
    pub fn catch_up(&mut self, slot: Slot, frames: &Frames<'_>, offset: Offset) -> (bool, Reach) {
        let mut reach = Reach::default();
        self.filters.judge(frames.content().tags);
        let Self { seats, filters, .. } = self;
        let Some(seat) = seats.get_mut(slot.0 as usize).and_then(Option::as_mut) else { return (false, reach) };
        let Some(special) = &mut seat.special else { return (false, reach) };
        // What it stood before may be over meanwhile.
        if special.parked.is_none() {
            return (false, reach);
        }
        if !frames.is_withheld() && special.wants_parked(filters) {
            let (taken, bytes) = special.offer(&seat.outbox, frames, Mark::stored(offset), offset, seat.floor);
            match taken {
                Some(Taken::First | Taken::Again) => {
                    reach.sent[seat.outbox.format().index()] += Sent { messages: 1, bytes };
                }
                Some(_) => return (false, reach),
                None => {
                    seat.outbox.request(Control::Close(DisconnectCode::InappropriateProtocol.into()));
                    return (false, reach);
                }
            }
        }
        special.parked = Some(offset);
        seat.floor = seat.floor.max(offset);
        (true, reach)
    }

    /// Delivers to a parked listener as to others again.
    pub fn unpark(&mut self, slot: Slot) {
        let seat = self.seats.get_mut(slot.0 as usize).and_then(Option::as_mut);
        if let Some(special) = seat.and_then(|seat| seat.special.as_mut()) {
            special.parked = None;
        }
    }

    /// The channel began anew: what listeners had of its former life says nothing of this one.
    pub fn begin_anew(&mut self) {
        self.last = Offset::NONE;
        self.base = None;
        for seat in self.seats.iter_mut().flatten() {
            if seat.floor != Listener::WAITS {
                seat.floor = Offset::NONE;
            }
            if let Some(special) = &mut seat.special {
                special.parked = None;
                special.has = special.has.map(|_| Mark::NONE);
            }
        }
    }

    /// From now on a listener gets what lies behind `floor`.
    pub fn let_in(&mut self, slot: Slot, floor: Offset) {
        if let Some(seat) = self.seats.get_mut(slot.0 as usize).and_then(Option::as_mut) {
            seat.floor = floor;
        }
    }

    fn seat(&self, slot: Slot) -> Option<&Seat> {
        self.seats.get(slot.0 as usize)?.as_ref()
    }

    /// Tells one listener that something is missing, and sends it nothing more.
    pub fn lose_one(&mut self, slot: Slot, channel: &Channel) {
        let seat = self.seats.get_mut(slot.0 as usize).and_then(Option::as_mut);
        if let Some(seat) = seat.filter(|seat| !seat.muted) {
            seat.tell_loss(channel);
        }
    }

    /// Tells every positioned listener that something is missing and sends it nothing more; returns how many.
    pub fn lose(&mut self, channel: &Channel) -> usize {
        let mut told = 0;
        for seat in self.seats.iter_mut().flatten().filter(|seat| seat.positioned && !seat.muted) {
            seat.tell_loss(channel);
            told += 1;
        }
        told
    }
}

#[cfg(test)]
mod tests;
