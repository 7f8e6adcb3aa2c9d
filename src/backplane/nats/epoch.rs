//! What tells one unbroken life of a stream from another.
//!
//! A stream's name and creation time are not enough: a store that was rolled back (an old volume, a snapshot) keeps both
//! and gives the same sequences to other messages. So an epoch also counts a *generation*, kept in a bucket and raised by
//! any node that proves a step back. The proofs: a message that is stored now gets a sequence that was seen before; a
//! sequence that was seen now has another timestamp.

use std::collections::VecDeque;

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::connection::{API_TIMEOUT, ApiError, Link, Refusal};
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

/// Whether the stream lost or rewrote something that this node had seen. `contradicted` says that a delivery hinted at it.
pub async fn stepped_back(
    link: &Link,
    keep: &Keep,
    seen: u64,
    info: &Info,
    contradicted: bool,
) -> Result<bool, ApiError> {
    if info.state.last_seq < seen && !goes_on(link, keep, seen).await? {
        return Ok(true);
    }
    let mut confirmed = false;
    for (sequence, stored_at) in keep.witnesses() {
        if let Some(stored) = leader_get(link, &keep.plan.name, &serde_json::json!({ "seq": sequence })).await? {
            if stored.stored.stored_at != stored_at {
                return Ok(true);
            }
            confirmed = true;
        }
    }
    Ok(contradicted && !confirmed)
}

/// Whether what is written now comes behind everything that was seen. A leader that was deposed and does not know it
/// describes what it has for as long as ten seconds; acknowledged is only what a quorum stores.
async fn goes_on(link: &Link, keep: &Keep, seen: u64) -> Result<bool, ApiError> {
    Ok(keep.write_probe(link).await? > seen)
}

/// A stream's generation, with the revision under which it stands in the bucket; 0 and 0 before the first was raised.
pub async fn read_generation(link: &Link, bucket: &str, stream: &str) -> Result<(u64, u64), ApiError> {
    let question = serde_json::json!({ "last_by_subj": format!("$KV.{bucket}.{stream}") });
    let found = leader_get(link, &format!("KV_{bucket}"), &question).await?;
    Ok(found.map_or((0, 0), |entry| {
        let generation = std::str::from_utf8(&entry.stored.data).ok().and_then(|text| text.parse().ok());
        (generation.unwrap_or(0), entry.stored.offset.0)
    }))
}

/// Raises a stream's generation above `proven`, under which a step back was proven; another node may be faster.
pub async fn raise_generation(link: &Link, bucket: &str, stream: &str, proven: u64) -> Result<u64, ApiError> {
    loop {
        let (generation, revision) = read_generation(link, bucket, stream).await?;
        if generation > proven {
            return Ok(generation);
        }
        // The bucket may have been rolled back as well: a number that was used before must not come again.
        let raised = (proven + 1).max(unix_time().as_millis() as u64);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", HeaderValue::from(revision));
        let subject = format!("$KV.{bucket}.{stream}");
        let body = Bytes::from(raised.to_string());
        match link.store(&format!("KV_{bucket}"), &subject, Some(headers), body, API_TIMEOUT).await {
            Ok(_) => return Ok(raised),
            Err(error) if matches!(error.code(), Refusal::WRONG_LAST | Refusal::WRONG_LAST_IN_FLIGHT) => {}
            Err(error) => return Err(error),
        }
    }
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
