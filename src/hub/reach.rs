//! How far deliveries went.

use super::outbox::Taken;
use crate::protocol::centrifuge::Format;
use crate::protocol::websocket::Deflate;

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

/// How far one delivery went, or several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// By format.
    pub sent: [Sent; Format::COUNT],
    /// Messages that wait alone, in place of an older one or until a newer one takes their place.
    pub conflated: usize,
    /// Subscriptions that were parked: what follows is read from history once their connection has read on.
    pub parked: usize,
}

impl Reach {
    /// How many listeners got it.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.sent.iter().map(|sent| sent.messages).sum()
    }

    /// Messages and bytes in each format that got any.
    pub fn by_format(&self) -> impl Iterator<Item = (Format, usize, usize)> + use<> {
        // How something is compressed makes no difference to how it is counted.
        let all = Format::all(Deflate::default()).into_iter().zip(self.sent);
        all.filter(|(_, sent)| sent.messages > 0).map(|(format, sent)| (format, sent.messages, sent.bytes))
    }
    /// Notes what became of a message that was not simply queued.
    pub(super) const fn miss(&mut self, taken: Taken) {
        match taken {
            Taken::Replaced => self.conflated += 1,
            Taken::Full => self.parked += 1,
            Taken::First | Taken::Again | Taken::Dropped | Taken::Overflow | Taken::Closed => {}
        }
    }
}

impl std::ops::AddAssign for Reach {
    fn add_assign(&mut self, other: Self) {
        for (sent, other) in self.sent.iter_mut().zip(other.sent) {
            *sent += other;
        }
        self.conflated += other.conflated;
        self.parked += other.parked;
    }
}
