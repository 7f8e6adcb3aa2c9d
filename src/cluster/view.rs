//! Whom this node knows: what the registry says of everybody, and when each last gave a sign of life, by this node's own
//! monotonic clock. Clocks of different hosts are never compared.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Debt, Entry, incarnation_id};
use super::heartbeat::Beat;
use super::load::Load;
use super::timing::Timing;
use crate::backplane::Revision;

/// Everybody that this node knows, itself included.
#[derive(Default)]
pub(super) struct View {
    nodes: BTreeMap<String, Known>,
    highest: Revision,
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) entry: Entry,
    pub(super) revision: Revision,
    /// The last sign of life of this incarnation: a heartbeat, or that it wrote its entry. Two ways, so that one which is
    /// blocked makes nobody dead.
    sign: Instant,
    /// The same, where this node has seen one: what it was told of when it came may be long over.
    seen: Option<Instant>,
    pub(super) load: Option<Load>,
    /// It takes clients, as its last heartbeat said.
    pub(super) ready: bool,
    /// When its debts were last seen to change.
    debts_since: Instant,
}

/// What a heartbeat was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Of a life that is known, after so long a silence; whether it is as the registry says, and whether it takes clients
    /// now and did not before, or the other way about.
    Known { silence: Duration, agrees: bool, turned: bool },
    /// Of a node, or a life, that the registry has to tell about.
    Stranger,
    /// Of a life that is over.
    Over,
}

impl Known {
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.sign)
    }

    /// How long ago its last sign of life was, where this node has seen any.
    pub(super) fn last_seen(&self, now: Instant) -> Option<Duration> {
        self.seen.map(|seen| now.saturating_duration_since(seen))
    }
}

impl View {
    pub(super) fn all(&self) -> impl Iterator<Item = &Known> {
        self.nodes.values()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Known> {
        self.nodes.get(name)
    }

    /// The highest revision seen so far.
    pub(super) const fn highest(&self) -> Revision {
        self.highest
    }

    /// Takes in what somebody wrote; whether it was news.
    pub(super) fn apply(&mut self, entry: Entry, revision: Revision, now: Instant) -> bool {
        self.highest = self.highest.max(revision);
        match self.nodes.get_mut(&entry.name) {
            Some(known) if revision <= known.revision => return false,
            Some(known) => known.update(entry, revision, now),
            None => {
                let known =
                    Known { entry, revision, sign: now, seen: None, load: None, ready: false, debts_since: now };
                self.nodes.insert(known.entry.name.clone(), known);
            }
        }
        true
    }

    /// A key has no value any more; whether that was news.
    pub(super) fn forget(&mut self, name: &str, revision: Revision) -> bool {
        self.highest = self.highest.max(revision);
        let over = self.nodes.get(name).is_some_and(|known| known.revision < revision);
        if over {
            self.nodes.remove(name);
        }
        over
    }

    /// Takes in the whole registry, as it was at some time after this view had seen `before`. It counts over what was known
    /// then, also where its revisions are lower: the registry may have been lost.
    pub(super) fn replace(&mut self, listed: Vec<(Entry, Revision)>, before: Revision, now: Instant) {
        let mut listed: BTreeMap<String, (Entry, Revision)> =
            listed.into_iter().map(|(entry, revision)| (entry.name.clone(), (entry, revision))).collect();
        self.nodes.retain(|name, known| known.revision > before || listed.contains_key(name));
        for known in self.nodes.values_mut() {
            let Some((entry, revision)) = listed.remove(&known.entry.name) else { continue };
            if revision > known.revision || (revision < known.revision && known.revision <= before) {
                known.update(entry, revision, now);
            }
        }
        for (entry, revision) in listed.into_values() {
            self.apply(entry, revision, now);
        }
        // Where the registry was lost and made anew, its revisions began anew as well.
        self.highest = self.nodes.values().map(|known| known.revision).max().unwrap_or_default();
    }

    pub(super) fn heard(&mut self, beat: &Beat, now: Instant) -> Heard {
        let Some(known) = self.nodes.get_mut(&beat.name) else { return Heard::Stranger };
        match beat.incarnation.cmp(&known.entry.incarnation) {
            std::cmp::Ordering::Greater => Heard::Stranger,
            std::cmp::Ordering::Less => Heard::Over,
            // It does not know yet that it was declared dead, or it said goodbye and this is late.
            std::cmp::Ordering::Equal if !known.entry.is_live() => Heard::Over,
            std::cmp::Ordering::Equal => {
                let silence = known.silent_for(now);
                known.sign = known.sign.max(now);
                known.seen = Some(now);
                known.load = Some(beat.load.clone());
                let turned = std::mem::replace(&mut known.ready, beat.ready) != beat.ready;
                Heard::Known { silence, agrees: beat.state == known.entry.state, turned }
            }
        }
    }

    /// Gives everybody time anew: this node could not hear them for a while.
    pub(super) fn forgive(&mut self, timing: &Timing, now: Instant) {
        let until = now + timing.grace.saturating_sub(timing.timeout);
        for known in self.nodes.values_mut() {
            known.sign = known.sign.max(until);
        }
    }

    /// Live peers that have been silent for too long. All of several at once is rather this node's own trouble: then each
    /// has twice the time.
    pub(super) fn overdue(&self, me: &str, timing: &Timing, now: Instant) -> Vec<String> {
        let peers: Vec<_> = self.all().filter(|known| known.entry.is_live() && known.entry.name != me).collect();
        let silent = |limit| peers.iter().filter(move |known| known.silent_for(now) >= limit);
        let all_together = peers.len() > 1 && silent(timing.patience()).count() == peers.len();
        let limit = if all_together { timing.patience() + timing.timeout } else { timing.patience() };
        silent(limit).map(|known| known.entry.name.clone()).collect()
    }

    /// Whether anybody answers for a life: it goes on, or it is known that its traces are to be removed.
    pub(super) fn answers_for(&self, life: &str) -> bool {
        self.all().any(|known| {
            let goes_on = known.entry.is_live() && *known.entry.id() == *life;
            let is_owed = |debt: &Debt| *incarnation_id(&known.entry.name, debt.incarnation) == *life;
            goes_on || known.entry.debts.iter().any(is_owed)
        })
    }

    /// The first of all that are there, by name: what one node does for all.
    pub(super) fn first(&self) -> Option<&str> {
        self.all().find(|known| known.entry.is_live()).map(|known| known.entry.name.as_str())
    }

    /// Debts that `id` has taken on.
    pub(super) fn debts_of(&self, id: &str) -> Vec<(String, u64)> {
        let mine = |debt: &&Debt| debt.reaper.as_deref() == Some(id);
        let debts = self.all().flat_map(|known| {
            known.entry.debts.iter().filter(mine).map(|debt| (known.entry.name.clone(), debt.incarnation))
        });
        debts.collect()
    }

    /// Debts that nobody will pay any more: nobody took them on, or who did is no more, or has been at it for too long.
    pub(super) fn open_debts(&self, id: &str, patience: Duration, now: Instant) -> Vec<(String, u64)> {
        let alive = |reaper: &str| self.all().any(|known| known.entry.is_live() && *known.entry.id() == *reaper);
        let mut open = Vec::new();
        for known in self.all() {
            let hangs = now.saturating_duration_since(known.debts_since) >= patience;
            for debt in &known.entry.debts {
                let is_open = match debt.reaper.as_deref() {
                    None => true,
                    Some(reaper) => reaper != id && (hangs || !alive(reaper)),
                };
                if is_open {
                    open.push((known.entry.name.clone(), debt.incarnation));
                }
            }
        }
        open
    }
}

impl Known {
    fn update(&mut self, entry: Entry, revision: Revision, now: Instant) {
        if entry.incarnation != self.entry.incarnation {
            self.load = None;
            self.ready = false;
        }
        if entry.debts != self.entry.debts {
            self.debts_since = now;
        }
        // Others change an entry too, but then its debts, or it is not alive any more.
        if entry.incarnation != self.entry.incarnation || entry.debts == self.entry.debts {
            self.sign = self.sign.max(now);
            self.seen = Some(now);
        }
        self.entry = entry;
        self.revision = revision;
    }
}
