//! What a client never got, between two that it got.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use super::at;
use super::deliveries::Received;

/// Everything that is missing in one place.
pub struct Hole<'a> {
    missing: &'a [(u64, &'a str)],
    before: Option<(u64, &'a Received)>,
    after: Option<(u64, &'a Received)>,
}

impl<'a> Hole<'a> {
    /// The holes that `missing`, by offset and ascending, leaves in what was received.
    pub fn all(missing: &'a [(u64, &'a str)], received: &'a BTreeMap<u64, Received>) -> Vec<Self> {
        let after = |offset: u64| received.range((Bound::Excluded(offset), Bound::Unbounded)).next();
        let same = |one: &(u64, &str), next: &(u64, &str)| {
            after(one.0).map(|(offset, _)| offset) == after(next.0).map(|(offset, _)| offset)
        };
        let holes = missing.chunk_by(same).map(|missing| {
            let (first, last) = (missing[0].0, missing[missing.len() - 1].0);
            Self {
                missing,
                before: received.range(..first).next_back().map(|(offset, received)| (*offset, received)),
                after: after(last).map(|(offset, received)| (*offset, received)),
            }
        });
        holes.collect()
    }

    pub const fn size(&self) -> usize {
        self.missing.len()
    }
}

impl fmt::Display for Hole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((first, id), (last, _)) = (self.missing[0], self.missing[self.size() - 1]);
        match self.size() {
            1 => write!(f, "{id} (offset {first})")?,
            size => write!(f, "{size} from {id} (offset {first}) to offset {last}")?,
        }
        for (word, next) in [("before", self.before), ("after", self.after)] {
            match next {
                Some((offset, Received { at: came, how, .. })) => {
                    write!(f, ", {word} it {offset} ({how:?}) at {}", at(*came))?;
                }
                None => write!(f, ", {word} it nothing")?,
            }
        }
        Ok(())
    }
}
