//! One channel's listeners on this node.

use std::sync::Arc;

use super::frames::Frames;
use super::outbox::{Control, Outbox, Taken};
use crate::protocol::centrifuge::Format;
use crate::protocol::centrifuge::codes::DisconnectCode;
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
}

struct Seat {
    listener: Listener,
    /// Something is missing: nothing more may reach it, or the hole would be papered over.
    muted: bool,
}

/// What was given to outboxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    pub messages: usize,
    pub bytes: usize,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// How far one delivery went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// By format.
    pub sent: [Sent; Format::ALL.len()],
    /// Connections that were closed because too much waited for them.
    pub overflowed: usize,
}

impl Reach {
    /// Messages and bytes in each format that got any.
    pub fn by_format(&self) -> impl Iterator<Item = (Format, usize, usize)> + use<> {
        let all = Format::ALL.into_iter().zip(self.sent);
        all.filter(|(_, sent)| sent.messages > 0).map(|(format, sent)| (format, sent.messages, sent.bytes))
    }
}

impl std::ops::AddAssign for Reach {
    fn add_assign(&mut self, other: Self) {
        for (sent, other) in self.sent.iter_mut().zip(other.sent) {
            *sent += other;
        }
        self.overflowed += other.overflowed;
    }
}

/// Everybody on this node who listens to one channel.
#[derive(Default)]
pub struct Audience {
    seats: Vec<Option<Seat>>,
    free: Vec<u32>,
    /// How many listen in each format.
    counts: [u32; Format::ALL.len()],
}

impl Audience {
    /// Takes a listener in.
    pub fn enter(&mut self, listener: Listener) -> Slot {
        self.counts[listener.outbox.format().index()] += 1;
        let seat = Some(Seat { listener, muted: false });
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
        self.counts[seat.listener.outbox.format().index()] -= 1;
        if self.is_empty() {
            *self = Self::default();
        } else {
            self.free.push(slot.0);
        }
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
        Format::ALL.into_iter().filter(move |format| counts[format.index()] > 0)
    }

    /// Appends a message to every listener's outbox; `offset` is [`Offset::NONE`] for one that was not stored.
    /// Whoever got something is added to `touched`, to be flushed.
    pub fn deliver(&self, frames: &Frames<'_>, offset: Offset, touched: &mut Vec<Arc<Outbox>>) -> Reach {
        let mut reach = Reach::default();
        if frames.is_withheld() {
            return reach;
        }
        for seat in self.seats.iter().flatten() {
            let listener = &seat.listener;
            if seat.muted || (offset != Offset::NONE && offset <= listener.floor) {
                continue;
            }
            let Some(frame) = frames.get(listener.outbox.format()) else {
                listener.outbox.request(Control::Close(DisconnectCode::InappropriateProtocol.into()));
                continue;
            };
            match listener.outbox.deliver(frame.clone()) {
                Taken::First => touched.push(Arc::clone(&listener.outbox)),
                Taken::Again => {}
                Taken::Overflow => {
                    reach.overflowed += 1;
                    continue;
                }
                Taken::Closed => continue,
            }
            reach.sent[listener.outbox.format().index()] += Sent { messages: 1, bytes: frame.len() };
        }
        reach
    }

    /// Tells every positioned listener that something is missing and sends it nothing more; returns how many.
    pub fn lose(&mut self, channel: &Channel) -> usize {
        let mut told = 0;
        for seat in self.seats.iter_mut().flatten().filter(|seat| seat.listener.positioned && !seat.muted) {
            seat.muted = true;
            seat.listener.outbox.request(Control::Lost(channel.clone()));
            told += 1;
        }
        told
    }
}
