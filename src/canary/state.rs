//! What was said, and what came back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// The last words, which are known when they come back. At the default pace twice as many as the store keeps.
const REMEMBERED: usize = 64;

#[derive(Default)]
pub(super) struct State {
    /// The last words, in their order.
    spoken: VecDeque<Spoken>,
    /// The last word that came back, and when.
    heard: u64,
    heard_at: Option<Instant>,
    /// When the first word was acknowledged after the last one that came back.
    waiting_since: Option<Instant>,
    /// Since when the store refuses words for good.
    refused_since: Option<Instant>,
    /// When each other node was heard last, or first expected, by process.
    peers: BTreeMap<String, Peer>,
}

struct Spoken {
    number: u64,
    nonce: Uuid,
    at: Instant,
}

/// What a word is that speaks in this node's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// One that came back, after so long.
    Back(Duration),
    /// It, or a later one, had come back already.
    Again,
    /// None of the last ones: whoever says it made it up.
    NeverSpoken,
}

struct Peer {
    heard: Instant,
    /// It was heard at least once: it may be one that has no canary.
    speaks: bool,
}

impl State {
    pub(super) fn speaks(&mut self, number: u64, nonce: Uuid, now: Instant) {
        if self.spoken.len() == REMEMBERED {
            self.spoken.pop_front();
        }
        self.spoken.push_back(Spoken { number, nonce, at: now });
    }

    /// The store has a word; it may have come back already.
    pub(super) fn acknowledged(&mut self, number: u64, now: Instant) {
        self.refused_since = None;
        if number > self.heard {
            self.waiting_since.get_or_insert(now);
        }
    }

    /// The store refuses a word, and would refuse it again.
    pub(super) fn refused(&mut self, now: Instant) {
        self.refused_since.get_or_insert(now);
    }

    /// Whether it has refused all words for as long as `patience`.
    pub(super) fn is_refused(&self, patience: Duration, now: Instant) -> bool {
        self.refused_since.is_some_and(|since| now.saturating_duration_since(since) >= patience)
    }

    /// A word came in this node's name. Whoever may publish may say one: only what was spoken counts.
    pub(super) fn heard(&mut self, number: u64, nonce: Uuid, now: Instant) -> Heard {
        let Some(spoken) = self.spoken.iter().find(|spoken| spoken.number == number && spoken.nonce == nonce) else {
            return Heard::NeverSpoken;
        };
        if number <= self.heard {
            return Heard::Again;
        }
        self.heard = number;
        self.heard_at = Some(now);
        self.waiting_since = None;
        Heard::Back(now.saturating_duration_since(spoken.at))
    }

    /// For how long acknowledged words have not come back.
    pub(super) fn waits(&self, now: Instant) -> Option<Duration> {
        self.waiting_since.map(|since| now.saturating_duration_since(since))
    }

    /// Everybody gets time anew; what has not come back is waited for all the same.
    pub(super) fn forgive(&mut self, now: Instant) {
        self.waiting_since = self.waiting_since.map(|_| now);
        self.peers.values_mut().for_each(|peer| peer.heard = now);
    }

    /// Another node was heard; one that is not expected is not noted.
    pub(super) fn heard_peer(&mut self, process: &str, now: Instant) {
        if let Some(peer) = self.peers.get_mut(process) {
            *peer = Peer { heard: now, speaks: true };
        }
    }

    /// Whether a word of this node itself has come back within `patience`.
    pub(super) fn hears_itself(&self, patience: Duration, now: Instant) -> bool {
        self.heard_at.is_some_and(|heard| now.saturating_duration_since(heard) < patience)
    }

    /// Of the nodes that are `up` (by process, with their names) those that spoke once and have been silent for `patience`.
    /// All others are forgotten.
    pub(super) fn silent_peers<'a>(
        &mut self,
        up: &[(&str, &'a str)],
        patience: Duration,
        now: Instant,
    ) -> Vec<&'a str> {
        self.peers.retain(|process, _| up.iter().any(|(known, _)| known == process));
        let mut silent = Vec::new();
        for (process, name) in up {
            let peer = self.peers.entry((*process).to_owned()).or_insert(Peer { heard: now, speaks: false });
            if peer.speaks && now.saturating_duration_since(peer.heard) >= patience {
                silent.push(*name);
            }
        }
        silent
    }
}
