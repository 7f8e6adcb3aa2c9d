//! The unbroken chain of a channel's publications that passed this node.

use std::time::Duration;

use crate::backplane::{Link, Top};
use crate::protocol::{Epoch, Offset, Position};

/// How far everything was delivered, without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) epoch: Epoch,
    /// The newest publication delivered, or the position at which the channel was opened.
    pub(super) had: Offset,
    /// Whether that is a publication that was stored, and not the position of an empty channel.
    stored: bool,
    /// When it was stored; 0 while none passed.
    stored_at: i64,
    /// The channel has nothing else up to here; at least `had`.
    proven: Offset,
    /// When that was so, by the store's clock: nanoseconds since the Unix epoch.
    proven_at: i64,
    /// For how long the store surely has what came after that: nanoseconds.
    retention: i64,
}

/// What an arriving message is to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The next link: deliver.
    Next,
    /// It was here before: drop.
    Old,
    /// Something before it is missing: heal.
    Gap,
    /// The store has nothing older any more, so nobody can say from the message alone whether something is missing.
    Unproven,
    /// An offset that was given out before came back with a newer time: the store stepped back.
    StepBack,
}

impl Chain {
    /// Begins where the channel stood when it was asked, at `now` by the store's clock.
    pub(super) fn new(top: &Top, now: i64, retention: Duration) -> Self {
        let Position { offset, epoch } = top.position();
        let stored = top.newest.is_some();
        let mut chain = Self { epoch, had: offset, stored, stored_at: 0, proven: offset, proven_at: now, retention: 0 };
        chain.prove(top.through, now, retention);
        chain
    }

    pub(super) fn judge(&self, link: &Link) -> Judgement {
        if link.offset <= self.had {
            let newer = self.stored_at != 0 && link.stored_at > self.stored_at;
            return if newer { Judgement::StepBack } else { Judgement::Old };
        }
        if link.previous != Offset::NONE {
            return if link.previous == self.had { Judgement::Next } else { Judgement::Gap };
        }
        // Anything in between would still be stored, and be its predecessor. Half the time is left for leaders whose
        // clocks differ.
        let recent = link.stored_at.saturating_sub(self.proven_at) < self.retention / 2;
        if recent { Judgement::Next } else { Judgement::Unproven }
    }

    pub(super) fn advance(&mut self, offset: Offset, stored_at: i64) {
        self.had = offset;
        self.stored = true;
        self.stored_at = stored_at;
        self.proven = self.proven.max(offset);
        self.proven_at = self.proven_at.max(stored_at);
    }

    /// Notes that, at `now`, the channel had nothing behind what was delivered, up to `through`.
    pub(super) fn prove(&mut self, through: Offset, now: i64, retention: Duration) {
        self.proven = self.proven.max(through);
        self.proven_at = self.proven_at.max(now);
        self.retention = i64::try_from(retention.as_nanos()).unwrap_or(i64::MAX);
    }

    /// Notes that everything up to `through` has passed.
    pub(super) fn know_through(&mut self, through: Offset) {
        self.proven = self.proven.max(through);
    }

    /// How far the channel is known.
    pub(super) const fn proven(&self) -> Offset {
        self.proven
    }

    /// Where a reader stands who has everything: at the newest publication as long as that is stored, and so proves that
    /// nothing behind it was removed; otherwise as far on as possible.
    pub(super) fn position(&self, now: i64) -> Position {
        let expired = self.retention > 0 && self.stored_at != 0 && now - self.stored_at >= self.retention;
        let offset = if self.stored && !expired { self.had } else { self.proven };
        Position { offset, epoch: self.epoch.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Duration = Duration::from_nanos(1_000);

    fn link(previous: u64, offset: u64, stored_at: i64) -> Link {
        Link { offset: Offset(offset), previous: Offset(previous), stored_at }
    }

    /// Opened at time 100 on a namespace that had come to offset 9.
    fn chain(newest: Option<u64>, retention: Duration) -> Chain {
        let top = Top { epoch: Epoch::new("e"), newest: newest.map(Offset), last: Offset(9), through: Offset(9) };
        Chain::new(&top, 100, retention)
    }

    #[test]
    fn only_the_successor_of_what_was_delivered_is_next() {
        let mut chain = chain(Some(7), RETENTION);
        chain.advance(Offset(7), 100);
        for (arriving, judgement) in [
            (link(7, 12, 200), Judgement::Next),
            (link(8, 12, 200), Judgement::Gap),
            (link(3, 7, 100), Judgement::Old),
            (link(2, 3, 50), Judgement::Old),
            (link(3, 6, 101), Judgement::StepBack),
        ] {
            assert_eq!(chain.judge(&arriving), judgement, "{arriving:?}");
        }
    }

    #[test]
    fn nothing_older_stored_is_proof_while_anything_in_between_would_still_be_stored() {
        for newest in [None, Some(7)] {
            let mut chain = chain(newest, RETENTION);
            assert_eq!(chain.judge(&link(0, 12, 599)), Judgement::Next);
            assert_eq!(chain.judge(&link(0, 12, 600)), Judgement::Unproven);
            chain.prove(Offset(10), 300, RETENTION);
            assert_eq!(chain.judge(&link(0, 12, 600)), Judgement::Next);
            chain.advance(Offset(12), 600);
            assert_eq!(chain.judge(&link(0, 13, 1_000)), Judgement::Next);
        }
        assert_eq!(chain(None, Duration::ZERO).judge(&link(0, 12, 101)), Judgement::Unproven);
    }

    #[test]
    fn a_reader_stands_at_the_newest_publication_while_it_is_stored() {
        let mut full = chain(Some(7), RETENTION);
        assert_eq!(full.position(1_050).offset, Offset(7));
        full.advance(Offset(12), 200);
        full.prove(Offset(30), 900, RETENTION);
        assert_eq!(full.position(1_050).offset, Offset(12));
        assert_eq!(full.position(1_200).offset, Offset(30), "the publication has aged out");
        assert_eq!(chain(None, RETENTION).position(100).offset, Offset(9), "an empty channel");
    }
}
