//! Departures that come while records are read: what is read may be older than they.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use super::life;
use crate::backplane::{Occupant, Record};
use crate::protocol::Channel;

/// Who left since somebody began to read.
#[derive(Default)]
pub(super) struct Departures(Mutex<State>);

#[derive(Default)]
struct State {
    /// Those who read.
    readers: usize,
    /// By whom they are of, their last.
    last: HashMap<(Channel, Uuid), Departure>,
}

struct Departure {
    life: Arc<str>,
    revision: u64,
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
        let occupant = &record.occupant;
        let Some(departed) = self.last.get(&(occupant.channel.clone(), occupant.client)) else { return false };
        if departed.life == occupant.node {
            return departed.revision >= record.revision;
        }
        // Who has left under a later life of its node is not there under an earlier one.
        life::compare(&occupant.node, &departed.life) == Some(Ordering::Less)
    }

    fn note(&mut self, record: &Record) {
        let Occupant { node, channel, client } = record.occupant.clone();
        let departure = Departure { life: node, revision: record.revision };
        let last = self.last.entry((channel, client));
        let last = last.or_insert_with(|| Departure { life: Arc::clone(&departure.life), revision: 0 });
        if life::compare(&departure.life, &last.life) != Some(Ordering::Less) {
            *last = departure;
        }
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
            state.last = HashMap::new();
        }
    }

    /// Takes in what comes live.
    pub(super) fn note(&self, record: &Record) {
        let mut state = self.0.lock();
        if state.readers > 0 && record.info.is_none() {
            state.note(record);
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
        self.0.lock().last = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(revision: u64, is_there: bool) -> Record {
        record_of("a~1", revision, is_there)
    }

    fn record_of(life: &str, revision: u64, is_there: bool) -> Record {
        let channel = Channel::parse("room", 255).expect("a channel");
        let occupant = Occupant { node: life.into(), channel, client: Uuid::from_u128(1) };
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

    #[test]
    fn who_leaves_under_a_later_life_is_not_brought_back_by_what_is_read_of_an_earlier_one() {
        let departures = Departures::default();
        let _remembering = departures.remember();
        departures.note(&record_of("a~2", 9, false));
        // The earlier one is cleaned up after.
        departures.note(&record_of("a~1", 11, false));
        assert!(departures.overtake(&record_of("a~1", 10, true)));
        assert!(departures.overtake(&record_of("a~2", 8, true)) && !departures.overtake(&record_of("a~2", 10, true)));
        assert!(!departures.overtake(&record_of("a~3", 1, true)) && !departures.overtake(&record_of("b~1", 1, true)));
    }
}
