//! What the records of a channel say in the end.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::life;
use crate::backplane::Record;

/// The last word on each client: of two lives of one node only what is said of the later one counts.
#[derive(Default)]
pub(super) struct Said(HashMap<Uuid, Last>);

struct Last {
    life: Arc<str>,
    revision: u64,
    /// `None` once it has left.
    info: Option<Bytes>,
    /// The first revision that it was recorded at, under any life.
    since: u64,
}

/// A client that is recorded.
pub struct Noted {
    pub client: Uuid,
    /// The life of the node that has it.
    pub life: Arc<str>,
    pub info: Bytes,
    /// The first revision at which it is recorded.
    pub since: u64,
}

impl Said {
    pub(super) fn take(&mut self, record: Record) {
        let Record { occupant, info, revision, .. } = record;
        let since = if info.is_some() { revision } else { u64::MAX };
        match self.0.entry(occupant.client) {
            Entry::Vacant(entry) => drop(entry.insert(Last { life: occupant.node, revision, info, since })),
            Entry::Occupied(mut entry) => {
                let last = entry.get_mut();
                last.since = last.since.min(since);
                let is_later = match life::compare(&occupant.node, &last.life) {
                    Some(Less) => false,
                    Some(Greater) => true,
                    Some(Equal) | None => revision >= last.revision,
                };
                if is_later {
                    (last.life, last.revision, last.info) = (occupant.node, revision, info);
                }
            }
        }
    }

    /// Who is recorded and has not left.
    pub(super) fn here(self) -> impl Iterator<Item = Noted> {
        self.0
            .into_iter()
            .filter_map(|(client, Last { life, info, since, .. })| info.map(|info| Noted { client, life, info, since }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Occupant;
    use crate::protocol::Channel;

    /// Records of one client: under which life of its node, at which revision, and whether it was there.
    fn said(records: &[(&str, u64, bool)]) -> Vec<(String, u64)> {
        let mut said = Said::default();
        for (life, revision, here) in records {
            let channel = Channel::parse("chat:a", 255).expect("a channel");
            let occupant = Occupant { channel, node: (*life).into(), client: Uuid::from_u128(1) };
            let info = here.then(|| Bytes::from_static(b"{}"));
            said.take(Record { occupant, info, departed: None, revision: *revision });
        }
        said.here().map(|noted| (noted.life.to_string(), noted.since)).collect()
    }

    #[test]
    fn a_client_under_two_lives_of_its_node_is_there_once() {
        let later = vec![("a~2".to_owned(), 5)];
        assert_eq!(said(&[("a~1", 5, true), ("a~2", 9, true)]), later);
        assert_eq!(said(&[("a~2", 9, true), ("a~1", 5, true)]), later);
        assert_eq!(
            said(&[("a~1", 5, true), ("a~2", 9, true), ("a~1", 12, false)]),
            later,
            "the earlier was cleaned up"
        );
    }

    #[test]
    fn whoever_left_is_not_there_whatever_an_earlier_life_says() {
        assert_eq!(said(&[("a~1", 5, true), ("a~2", 9, false)]), []);
        assert_eq!(said(&[("a~1", 9, false), ("a~1", 5, true)]), [], "read from a replica that is late");
    }
}
