//! Which epochs a namespace had.

use std::collections::{BTreeSet, HashMap};

use super::publications::{Outcome, Publications};
use crate::journal::{Entry, Line};
use crate::plan::Promise;

/// Every epoch that anybody was told, by namespace.
pub fn all(lines: &[Line], publications: &Publications) -> HashMap<Promise, BTreeSet<String>> {
    let mut epochs: HashMap<Promise, BTreeSet<String>> = HashMap::new();
    let mut note = |channel: &str, epoch: &str| {
        if let Some(promise) = Promise::of(channel) {
            epochs.entry(promise).or_default().insert(epoch.to_owned());
        }
    };
    for line in lines {
        if let Entry::Subscribed { channel, position: Some(position), .. } = &line.entry {
            note(channel, &position.epoch);
        }
    }
    for publication in publications.0.values() {
        if let Outcome::Acked { epoch: Some(epoch), .. } = &publication.outcome {
            note(&publication.channel, epoch);
        }
    }
    epochs
}
