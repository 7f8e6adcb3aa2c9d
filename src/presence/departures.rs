//! Departures that come while records are read: what is read may be older than they.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::backplane::{Occupant, Record};

/// Who left since somebody began to read.
#[derive(Default)]
pub(super) struct Departures(Mutex<State>);

#[derive(Default)]
struct State {
    /// Those who read.
    readers: usize,
    /// By whom they are of, their last.
    revisions: HashMap<Occupant, u64>,
}

/// Departures are remembered until this is dropped.
pub(super) struct Remembering<'a>(&'a Departures);

impl Drop for Remembering<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl State {
    fn overtake(&self, record: &Record) -> bool {
        self.revisions.get(&record.occupant).is_some_and(|departed| *departed >= record.revision)
    }
}

impl Departures {
    /// From now on they are remembered.
    pub(super) fn remember(&self) -> Remembering<'_> {
        self.begin();
        Remembering(self)
    }

    /// As [`remember`](Self::remember), until [`end`](Self::end).
    pub(super) fn begin(&self) {
        self.0.lock().readers += 1;
    }

    pub(super) fn end(&self) {
        let mut state = self.0.lock();
        state.readers -= 1;
        if state.readers == 0 {
            state.revisions = HashMap::new();
        }
    }

    /// Takes in what comes live.
    pub(super) fn note(&self, record: &Record) {
        let mut state = self.0.lock();
        if state.readers > 0 && record.info.is_none() {
            state.revisions.insert(record.occupant.clone(), record.revision);
        }
    }

    /// Whether somebody of whom this was read has left since.
    pub(super) fn overtake(&self, record: &Record) -> bool {
        self.0.lock().overtake(record)
    }

    /// Has `take` take what was read, unless it is overtaken. A departure that comes meanwhile comes after it.
    pub(super) fn unless_overtaken(&self, record: Record, take: impl FnOnce(Record)) {
        let state = self.0.lock();
        if !state.overtake(&record) {
            take(record);
        }
    }

    /// Revisions begin anew: those that are known say nothing any more.
    pub(super) fn forget(&self) {
        self.0.lock().revisions = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::protocol::Channel;

    fn record(revision: u64, is_there: bool) -> Record {
        let channel = Channel::parse("room", 255).expect("a channel");
        let occupant = Occupant { node: "a~1".into(), channel, client: Uuid::from_u128(1) };
        Record { occupant, info: is_there.then(|| "{}".into()), departed: None, revision }
    }

    #[test]
    fn what_is_read_does_not_bring_back_who_left_meanwhile() {
        let departures = Departures::default();
        departures.note(&record(4, false));
        let remembering = departures.remember();
        assert!(!departures.overtake(&record(3, true)), "nobody read then");
        departures.note(&record(9, false));
        assert!(departures.overtake(&record(8, true)) && !departures.overtake(&record(10, true)));
        drop(remembering);
        assert!(!departures.overtake(&record(8, true)));
    }

    #[test]
    fn where_revisions_began_anew_older_departures_overtake_nothing() {
        let departures = Departures::default();
        let _remembering = departures.remember();
        departures.note(&record(1000, false));
        departures.forget();
        assert!(!departures.overtake(&record(2, true)));
    }
}
