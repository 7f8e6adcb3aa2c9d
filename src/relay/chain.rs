//! The unbroken chain of a channel's publications that passed this node.

use crate::backplane::Link;
use crate::protocol::{Epoch, Offset, Position};

/// How far everything was delivered, without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) epoch: Epoch,
    /// The newest publication delivered, or the position at which the channel was opened.
    pub(super) had: Offset,
    /// When that publication was stored; 0 while none passed.
    stored_at: i64,
}

/// What an arriving message is to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The next link: deliver.
    Next,
    /// It was here before: drop.
    Old,
    /// Something before it is missing, or may be: heal.
    Gap,
    /// An offset that was given out before came back with a newer time: the store stepped back.
    StepBack,
}

impl Chain {
    pub(super) fn new(position: Position) -> Self {
        Self { epoch: position.epoch, had: position.offset, stored_at: 0 }
    }

    pub(super) fn judge(&self, link: &Link) -> Judgement {
        if link.offset <= self.had {
            let newer = self.stored_at != 0 && link.stored_at > self.stored_at;
            return if newer { Judgement::StepBack } else { Judgement::Old };
        }
        if link.previous == self.had && self.had != Offset::NONE { Judgement::Next } else { Judgement::Gap }
    }

    pub(super) const fn advance(&mut self, offset: Offset, stored_at: i64) {
        self.had = offset;
        self.stored_at = stored_at;
    }

    pub(super) fn position(&self) -> Position {
        Position { offset: self.had, epoch: self.epoch.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(previous: u64, offset: u64, stored_at: i64) -> Link {
        Link { offset: Offset(offset), previous: Offset(previous), stored_at }
    }

    #[test]
    fn only_the_successor_of_what_was_delivered_is_next() {
        let mut chain = Chain::new(Position { offset: Offset(7), epoch: Epoch::new("e") });
        chain.advance(Offset(7), 100);
        for (arriving, judgement) in [
            (link(7, 12, 200), Judgement::Next),
            (link(9, 12, 200), Judgement::Gap),
            (link(0, 12, 200), Judgement::Gap),
            (link(3, 7, 100), Judgement::Old),
            (link(2, 3, 50), Judgement::Old),
            (link(3, 6, 101), Judgement::StepBack),
        ] {
            assert_eq!(chain.judge(&arriving), judgement, "{arriving:?}");
        }
    }

    #[test]
    fn a_message_without_a_known_predecessor_is_never_next() {
        let chain = Chain::new(Position { offset: Offset::NONE, epoch: Epoch::new("e") });
        assert_eq!(chain.judge(&link(0, 1, 5)), Judgement::Gap);
    }
}
