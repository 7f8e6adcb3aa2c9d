//! Which epochs a namespace had.

use std::collections::{BTreeSet, HashMap};

use super::publications::{Outcome, Publications};
use crate::journal::{Entry, Line};
use crate::plan::Promise;

pub type Epochs = HashMap<Promise, BTreeSet<String>>;

/// Every epoch that anybody was told of `before` this time, by namespace.
pub fn told(lines: &[Line], publications: &Publications, before: u64) -> Epochs {
    let mut epochs = Epochs::new();
    let mut note = |channel: &str, epoch: &str| {
        if let Some(promise) = Promise::of(channel) {
            epochs.entry(promise).or_default().insert(epoch.to_owned());
        }
    };
    for line in lines.iter().take_while(|line| line.at < before) {
        if let Entry::Subscribed { channel, position: Some(position), .. } = &line.entry {
            note(channel, &position.epoch);
        }
    }
    for publication in publications.0.values() {
        if let Outcome::Acked { epoch: Some(epoch), at, .. } = &publication.outcome
            && *at < before
        {
            note(&publication.channel, epoch);
        }
    }
    epochs
}
