//! Whether a run proves anything: a promise about which nothing was written down is not kept, it was not looked at.

use std::collections::{BTreeSet, HashSet};

use super::troubles::Troubles;
use super::{Report, Verdict, deaths, plain};
use crate::journal::{Entry, Line, Manifest, Phase, REVOKED};
use crate::plan::{Fault, NODES, Prey, Promise};

/// Longer than all others together may be silent (`world/node.toml`, and twice).
const SILENT: u64 = 10_000_000;
const SILENCES: &str = "silences in calm";

pub fn judge(manifest: &Manifest, lines: &[Line], report: &mut Report) {
    let seen = seen(lines);
    for wanted in wanted(manifest).difference(&seen) {
        report.find(Verdict::Unproven, format!("nobody saw: {wanted}"));
    }
    if manifest.calm {
        report.count(SILENCES, silences(manifest, lines));
        for count in [plain::JUDGED, deaths::JUDGED, SILENCES] {
            if report.counted(count) == 0 {
                report.find(Verdict::Unproven, format!("{count}: none"));
            }
        }
    }
}

/// What must have been looked at, once everything is healed and when all have gone.
fn wanted(manifest: &Manifest) -> BTreeSet<String> {
    let mut wanted = BTreeSet::from(["all nodes ready again".to_owned(), "all clients back".to_owned()]);
    let rooms = || manifest.scene.channels.iter().filter(|room| Promise::of(room).is_some_and(Promise::has_presence));
    for node in (0..NODES).map(|node| format!("node-{node}")) {
        for phase in [Phase::Healed, Phase::Gone] {
            wanted.insert(scraped(phase, &node));
            wanted.extend(rooms().flat_map(|room| [expected(phase, room), snapshot(phase, &node, room)]));
        }
        wanted.insert(sent_away(&node));
    }
    wanted
}

fn scraped(phase: Phase, node: &str) -> String {
    format!("{phase:?}, what {node} counts")
}

fn snapshot(phase: Phase, node: &str, room: &str) -> String {
    format!("{phase:?}, who is in {room} by {node}")
}

fn expected(phase: Phase, room: &str) -> String {
    format!("{phase:?}, who is in {room}")
}

fn sent_away(node: &str) -> String {
    format!("whom {node} let in, sent away in the end")
}

/// What was looked at.
fn seen(lines: &[Line]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    // Scrapes of a healed cluster count once all has come to rest.
    let mut last = false;
    let mut let_in: HashSet<(u64, &str)> = HashSet::new();
    for line in lines {
        match &line.entry {
            Entry::AllReady => drop(seen.insert("all nodes ready again".to_owned())),
            Entry::AllSubscribed => drop(seen.insert("all clients back".to_owned())),
            Entry::LastVisits => last = true,
            Entry::LetIn { node, connection, .. } if last => drop(let_in.insert((*connection, node))),
            Entry::SentAway { connection, code: REVOKED } => {
                let nodes = let_in.iter().filter(|(of, _)| of == connection);
                seen.extend(nodes.map(|(_, node)| sent_away(node)));
            }
            Entry::Scraped { phase, node, .. } if last => drop(seen.insert(scraped(*phase, node))),
            Entry::Snapshot { phase, node, channel, .. } => drop(seen.insert(snapshot(*phase, node, channel))),
            Entry::Expected { phase, channel, .. } => drop(seen.insert(expected(*phase, channel))),
            _ => {}
        }
    }
    seen
}

/// How often a node did not hear the others in calm for so long that it might have taken them for dead.
fn silences(manifest: &Manifest, lines: &[Line]) -> u64 {
    let troubles = Troubles::of(manifest, lines);
    let silent = |index: usize| {
        let step = manifest.steps.get(index)?;
        matches!(step.fault, Fault::Swallow { prey: Prey::Heartbeats, .. }).then_some(())?;
        let began =
            lines.iter().find(|line| matches!(line.entry, Entry::FaultBegan { index: at, .. } if at == index))?;
        let ended = lines.iter().find(|line| matches!(line.entry, Entry::FaultEnded { index: at } if at == index))?;
        (ended.at >= began.at + SILENT && troubles.is_calm(began.at, ended.at)).then_some(())
    };
    (0..manifest.steps.len()).filter_map(silent).count() as u64
}
