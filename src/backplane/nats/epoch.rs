//! What tells one unbroken life of a stream from another.
//!
//! A stream's name and creation time are not enough: a store that was rolled back (an old volume, a snapshot) keeps both
//! and gives the same sequences to other messages. So an epoch also counts a *generation*, kept in a bucket and raised by
//! any node that proves a step back. The proofs: a message that is stored now gets a sequence that was seen before; a
//! sequence that was seen now has another timestamp.
//!
//! Where the bucket itself is lost nobody knows any more how often the generation was raised. A node that lives remembers
//! the one that it gave out, and writes it again if the newest message that it saw is still stored: then the stream is
//! unbroken as far as it ever told anybody. Whoever cannot prove that begins a new one, and clients are told; so does a
//! node that starts and finds none.

use std::collections::VecDeque;

use sha2::{Digest, Sha256};

use super::connection::{ApiError, Link};
use super::get::leader_get;
use super::headers::nanoseconds;
use super::keep::Keep;
use super::streams::Info;
use crate::clock::unix_time;
use crate::protocol::Epoch;

/// Witnesses that are kept: several, since each may have been trimmed when it is asked.
const WITNESSES: usize = 4;
/// The least distance between two that are kept, by the store's clock.
const APART: i64 = 1_000_000_000;
/// What an epoch is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    pub created: String,
    pub generation: u64,
}

impl Life {
    /// The epoch that clients see.
    pub fn epoch(&self, stream: &str) -> Epoch {
        let digest = Sha256::digest(format!("{stream}\n{}\n{}", self.created, self.generation));
        let hex: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        Epoch::new(&hex)
    }
}

/// Messages that were seen, to be compared with what is stored later.
#[derive(Debug, Default)]
pub struct Witnesses {
    /// Sequence and time, oldest first; the newest is replaced until it is far enough from the one before it.
    seen: VecDeque<(u64, i64)>,
}

impl Witnesses {
    /// Notes a message; false when it contradicts what was seen: a sequence that is not newer, with a newer time.
    pub fn note(&mut self, sequence: u64, stored_at: i64) -> bool {
        let Some(&(last, last_at)) = self.seen.back() else {
            self.seen.push_back((sequence, stored_at));
            return true;
        };
        if sequence <= last {
            return stored_at <= last_at;
        }
        let replaces = self.seen.len() > 1 && last_at - self.seen[self.seen.len() - 2].1 < APART;
        if replaces {
            self.seen.pop_back();
        }
        self.seen.push_back((sequence, stored_at));
        if self.seen.len() > WITNESSES {
            self.seen.pop_front();
        }
        true
    }

    pub fn newest_first(&self) -> Vec<(u64, i64)> {
        self.seen.iter().rev().copied().collect()
    }

    pub fn clear(&mut self) {
        self.seen.clear();
    }
}

/// What a stream says of whether it is the one that this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The newest message that this node saw is stored as it was, and nothing speaks against the rest.
    Unbroken,
    /// Nothing speaks for it, and nothing against it.
    Nothing,
    /// It lost or rewrote something that this node had seen.
    Broken,
}

/// Compares the stream with what this node has seen of it. `contradicted` says that a delivery hinted at a break.
pub async fn examine(
    link: &Link,
    keep: &Keep,
    seen: u64,
    info: &Info,
    contradicted: bool,
) -> Result<Evidence, ApiError> {
    if info.state.last_seq < seen && !goes_on(link, keep, seen).await? {
        return Ok(Evidence::Broken);
    }
    let (mut newest, mut some) = (false, false);
    for (age, (sequence, stored_at)) in keep.witnesses().into_iter().enumerate() {
        if let Some(stored) = leader_get(link, &keep.plan.name, &serde_json::json!({ "seq": sequence })).await? {
            if stored.stored.stored_at != stored_at {
                return Ok(Evidence::Broken);
            }
            newest |= age == 0;
            some = true;
        }
    }
    Ok(match (contradicted, some, newest) {
        (true, false, _) => Evidence::Broken,
        (_, _, true) => Evidence::Unbroken,
        (_, _, false) => Evidence::Nothing,
    })
}

/// Whether what is written now comes behind everything that was seen. A leader that was deposed and does not know it
/// describes what it has for as long as ten seconds; acknowledged is only what a quorum stores.
async fn goes_on(link: &Link, keep: &Keep, seen: u64) -> Result<bool, ApiError> {
    Ok(keep.write_probe(link).await? > seen)
}

/// A generation that no stream had before; `known` is one that it had. The bucket may have been rolled back as well: a number
/// that was used before must not come again.
pub fn next_generation(known: u64) -> u64 {
    (known + 1).max(unix_time().as_millis() as u64)
}

/// The newest message that a stream's description speaks of.
pub fn last_of(info: &Info) -> Option<(u64, i64)> {
    (info.state.messages > 0).then_some(info.state.last_seq).zip(nanoseconds(&info.state.last_ts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_life_makes_its_epoch() {
        let life = Life { created: "2024-01-01T00:00:00Z".to_owned(), generation: 0 };
        let other = Life { generation: 1, ..life.clone() };
        assert_eq!(life.epoch("MP_a"), life.epoch("MP_a"));
        assert_ne!(life.epoch("MP_a"), life.epoch("MP_b"));
        assert_ne!(life.epoch("MP_a"), other.epoch("MP_a"));
    }

    #[test]
    fn a_late_message_is_no_contradiction_but_a_rewritten_one_is() {
        let mut witnesses = Witnesses::default();
        assert!(witnesses.note(10, 1_000));
        assert!(witnesses.note(11, 2_000));
        assert!(witnesses.note(9, 900), "older and late");
        assert!(!witnesses.note(9, 3_000), "an older sequence with a newer time");
    }

    #[test]
    fn witnesses_are_few_and_apart_and_the_newest_is_always_among_them() {
        let mut witnesses = Witnesses::default();
        for second in 0..100 {
            for step in 0..10 {
                witnesses.note(second * 10 + step + 1, (second * 10 + step) as i64 * APART / 10);
            }
        }
        let kept = witnesses.newest_first();
        assert_eq!(kept.len(), WITNESSES);
        assert_eq!(kept[0].0, 1_000);
        assert!(kept[1..].windows(2).all(|pair| pair[0].1 - pair[1].1 >= APART), "{kept:?}");
    }
}
