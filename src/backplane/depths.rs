//! How many messages of one channel a store has kept, since when.
//!
//! Whoever has more than that many loses the oldest. So fewer than were kept prove that nothing was pushed out; but what
//! counts is what was kept *then*, and that may have been less than now.

use serde::{Deserialize, Serialize};

use crate::protocol::Offset;

/// More changes than this within one horizon are not told apart: of what lies before them nothing is known.
const STEPS: usize = 16;

/// At least so many messages of each channel were kept, at every moment since an offset had been given out. Nothing is known
/// of earlier times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depths(Vec<(u64, u64)>);

impl Depths {
    /// It has never been another.
    #[must_use]
    pub fn always(depth: usize) -> Self {
        Self(vec![(0, depth as u64)])
    }

    /// Messages that were kept of a channel at every moment since `position`; 0 where that is not known.
    #[must_use]
    pub fn since(&self, position: Offset) -> usize {
        let step = self.0.iter().rev().find(|(since, _)| *since <= position.0);
        step.map_or(0, |(_, depth)| usize::try_from(*depth).unwrap_or(usize::MAX))
    }

    /// Messages that are kept now.
    #[must_use]
    pub fn now(&self) -> usize {
        self.since(Offset(u64::MAX))
    }

    /// Takes note that no more than `depth` are kept, or will be in a moment.
    pub fn lower(&mut self, depth: usize) {
        let depth = depth as u64;
        if let Some(first) = self.0.iter().position(|(_, kept)| *kept >= depth) {
            self.0.truncate(first + 1);
            self.0[first].1 = depth;
        }
    }

    /// Takes note that `depth` are kept, more than before, of what comes behind `since`.
    pub fn raise(&mut self, depth: usize, since: Offset) {
        self.0.retain(|(before, _)| *before < since.0);
        self.0.push((since.0, depth as u64));
        let surplus = self.0.len().saturating_sub(STEPS);
        self.0.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(depths: &Depths) -> [usize; 4] {
        [0, 99, 100, 200].map(|position| depths.since(Offset(position)))
    }

    #[test]
    fn what_was_kept_since_a_position_is_the_least_of_all_times_since() {
        let mut depths = Depths::default();
        assert_eq!(at(&depths), [0, 0, 0, 0], "nothing is known");
        depths.raise(11, Offset(0));
        assert_eq!(at(&depths), [11, 11, 11, 11]);
        depths.raise(51, Offset(100));
        depths.raise(101, Offset(200));
        assert_eq!(at(&depths), [11, 11, 51, 101]);
        depths.lower(21);
        assert_eq!(at(&depths), [11, 11, 21, 21]);
        depths.raise(101, Offset(200));
        assert_eq!(at(&depths), [11, 11, 21, 101]);
        depths.lower(5);
        assert_eq!(at(&depths), [5, 5, 5, 5]);
    }

    #[test]
    fn of_what_lies_before_many_changes_nothing_is_known() {
        let mut depths = Depths::default();
        (0..100).for_each(|step| depths.raise(step + 1, Offset(step as u64)));
        assert_eq!(depths.0.len(), STEPS);
        assert_eq!((depths.since(Offset(50)), depths.now()), (0, 100));
    }
}
