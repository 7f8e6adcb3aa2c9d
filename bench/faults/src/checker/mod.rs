//! Judges a run by what it left behind, long after it is over. Knows only the journal.
//!
//! What is promised stands in `docs/guarantees.md`; each verdict here is a promise that was broken.

mod aftermath;
mod deaths;
mod deliveries;
mod epochs;
mod hole;
mod liveness;
mod measures;
mod members;
mod occupants;
mod orders;
mod plain;
mod proof;
mod publications;
mod resources;
mod revoked;
mod sockets;
mod told;
mod troubles;
mod untold;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::journal::{self, Line, Manifest};

pub use members::{KNOWN, UP};
use publications::Publications;
pub use resources::OF_CLIENTS;
pub use troubles::CALM_AFTER;
use troubles::Troubles;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Stored in a channel with recovery, and a client that was told of no loss never got it.
    Lost,
    /// A client got it twice.
    Doubled,
    /// A client got it after one that was stored later.
    Reordered,
    /// Two got, or were told, different things under one position.
    Diverged,
    /// Received, and never published, or refused.
    Phantom,
    /// Published while nothing was broken in a channel without history, and not received.
    LostInCalm,
    /// An order of a backend was not carried out while all was well.
    Unheard,
    /// A token that was taken back let somebody in, or kept somebody there.
    Unrevoked,
    /// Lost at a node that could know of it, and who watches was not told.
    Untold,
    /// Clients were told of a loss and no counter moved.
    Uncounted,
    /// A history that held everything was refused.
    Needless,
    /// What a node says of who is there is not so.
    WrongPresence,
    /// A join or a leave was told twice, or not at all.
    WrongLeave,
    /// A client did not come back, or gets nothing.
    Stuck,
    /// A client broke off for good, or met what the protocol does not allow.
    Broken,
    /// A node ended by itself.
    Crashed,
    /// A node was taken for dead, and nothing was done to it.
    FalseDeath,
    /// Nodes that have come to rest do not agree that all are there.
    Disagree,
    /// Memory, descriptors or connections stayed behind.
    Leaked,
    /// What should have been looked at was not there to be judged.
    Unproven,
}

/// How many of one verdict are shown.
const SHOWN: usize = 8;

/// What came out.
#[derive(Default)]
pub struct Report {
    verdicts: BTreeMap<Verdict, Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.verdicts.is_empty()
    }

    /// The numbers of the run in one line.
    pub fn summary(&self) -> String {
        let counts: Vec<_> = self.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        counts.join(", ")
    }

    fn find(&mut self, verdict: Verdict, what: String) {
        self.verdicts.entry(verdict).or_default().push(what);
    }

    fn count(&mut self, name: &'static str, by: u64) {
        *self.counts.entry(name).or_default() += by;
    }

    fn counted(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// The verdicts, each once.
    #[cfg(test)]
    fn kinds(&self) -> Vec<Verdict> {
        self.verdicts.keys().copied().collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.summary())?;
        for (verdict, found) in &self.verdicts {
            write!(f, "\n  {verdict:?}: {}", found.len())?;
            for what in found.iter().take(SHOWN) {
                write!(f, "\n    {what}")?;
            }
            if found.len() > SHOWN {
                write!(f, "\n    …")?;
            }
        }
        Ok(())
    }
}

/// Judges the run in this directory.
pub fn check(directory: &Path) -> anyhow::Result<Report> {
    let (manifest, lines) = journal::read(directory)?;
    Ok(judge_whole(&manifest, &lines))
}

/// What went wrong, and whether enough was looked at to tell.
fn judge_whole(manifest: &Manifest, lines: &[Line]) -> Report {
    let mut report = judge(manifest, lines);
    proof::judge(manifest, lines, &mut report);
    measures::take(manifest, lines, &mut report);
    report
}

fn judge(manifest: &Manifest, lines: &[Line]) -> Report {
    let mut report = Report::default();
    let publications = Publications::gather(lines);
    let troubles = Troubles::of(manifest, lines);
    deliveries::judge(manifest, &sockets::placed(manifest, lines, &publications), &publications, &mut report);
    sockets::judge(manifest, lines, &publications, &troubles, &mut report);
    plain::judge(lines, &publications, &troubles, &mut report);
    untold::judge(manifest, lines, &publications, &mut report);
    orders::judge(lines, &mut report);
    revoked::judge(lines, &mut report);
    deaths::judge(manifest, lines, &troubles, &mut report);
    members::judge(lines, &mut report);
    told::judge(lines, &mut report);
    occupants::judge(lines, &troubles, &mut report);
    liveness::judge(manifest, lines, &publications, &mut report);
    resources::judge(manifest, lines, &mut report);
    report
}

/// A time for people.
fn at(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
