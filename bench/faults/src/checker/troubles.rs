//! When something was broken. What is promised at most once, or at once, is judged where nothing was.

use std::collections::HashMap;
use std::time::Duration;

use crate::journal::{Entry, Line, Manifest};
use crate::plan::Fault;

/// Around what happens in calm: nothing may have been broken for so long before, nothing breaks so soon after.
pub const CALM_AFTER: Duration = Duration::from_secs(15);
const BEFORE: u64 = CALM_AFTER.as_micros() as u64;
pub const AFTER: u64 = 2_000_000;

/// From when to when.
pub struct Troubles(Vec<(u64, u64)>);

impl Troubles {
    pub fn of(manifest: &Manifest, lines: &[Line]) -> Self {
        Self::where_is(manifest, lines, Fault::is_trouble)
    }

    /// When something of a kind was broken.
    pub fn where_is(manifest: &Manifest, lines: &[Line], kind: impl Fn(&Fault) -> bool) -> Self {
        let is_trouble = |index: &usize| manifest.steps.get(*index).is_none_or(|step| kind(&step.fault));
        let mut open: HashMap<usize, u64> = HashMap::new();
        let mut troubles = Vec::new();
        for line in lines {
            match &line.entry {
                Entry::FaultBegan { index, .. } if is_trouble(index) => drop(open.insert(*index, line.at)),
                Entry::FaultEnded { index } => {
                    troubles.extend(open.remove(index).map(|from| (from, line.at)));
                }
                _ => {}
            }
        }
        troubles.extend(open.into_values().map(|from| (from, u64::MAX / 2)));
        Self(troubles)
    }

    /// Whether something was broken between these times, or ended so shortly before.
    pub fn reach(&self, began: u64, ended: u64, shortly: u64) -> bool {
        self.0.iter().any(|(from, to)| *from < ended && to.saturating_add(shortly) > began)
    }

    /// Whether there was a moment of calm between these times.
    pub fn were_over(&self, from: u64, to: u64) -> bool {
        let mut moments = self.0.iter().map(|(_, ended)| ended.saturating_add(BEFORE)).chain([from]);
        moments.any(|moment| (from..=to).contains(&moment) && self.is_calm(moment, moment))
    }

    /// Whether nothing was broken around what began and ended then.
    pub fn is_calm(&self, began: u64, ended: u64) -> bool {
        !self.0.iter().any(|(from, to)| *from < ended + AFTER && to + BEFORE > began)
    }
}
