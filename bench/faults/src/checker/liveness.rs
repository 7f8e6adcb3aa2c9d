//! Who did not come back.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::orders::is_put_out;
use super::publications::Publications;
use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, Manifest, Phase, Via};
use crate::plan::Promise;

/// How long a node that starts waits for NATS at least.
const GIVES_UP: u64 = 28_000_000;

pub fn judge(manifest: &Manifest, lines: &[Line], publications: &Publications, report: &mut Report) {
    let mut barriers: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    let mut started: HashMap<&str, u64> = HashMap::new();
    let mut gone = false;
    for line in lines {
        match &line.entry {
            Entry::Received { client, channel, id, .. }
                if publications.0.get(id).is_some_and(|publication| publication.via == Via::Barrier) =>
            {
                barriers.entry(client).or_default().insert(channel);
            }
            Entry::PhaseBegan { phase: Phase::Gone } => gone = true,
            Entry::GaveUp { client, reason } => {
                report.find(Verdict::Broken, format!("{client} gave up at {}: {reason}", at(line.at)));
            }
            Entry::SubscribeFailed { client, channel, code, reason } if *code > 100 => {
                let what = format!("{client} in {channel} at {}: {code} {reason}", at(line.at));
                report.find(Verdict::Broken, what);
            }
            Entry::Unsubscribed { client, channel, code, reason } if *code < 2500 && !is_put_out(channel, *code) => {
                let what = format!("{client} in {channel} at {}: {code} {reason}", at(line.at));
                report.find(Verdict::Broken, what);
            }
            Entry::Broken { client, how } => {
                report.find(Verdict::Broken, format!("{client} at {}: {how}", at(line.at)));
            }
            Entry::NodeStarted { node, .. } => drop(started.insert(node, line.at)),
            Entry::NodeEnded { node, how, .. }
                if how == "exit status: 1" && started.get(node.as_str()).is_some_and(|at| line.at >= at + GIVES_UP) =>
            {
                report.count("nodes that waited for NATS in vain", 1);
            }
            Entry::NodeEnded { node, life, how } if !is_wanted(how) => {
                report.find(Verdict::Crashed, format!("{node}, life {life}, at {}: {how}", at(line.at)));
            }
            _ => {}
        }
    }
    if !gone {
        report.find(Verdict::Stuck, "the run did not come to its end".to_owned());
        return;
    }
    let none = BTreeSet::new();
    let asked: HashSet<&str> = publications
        .0
        .values()
        .filter(|publication| publication.via == Via::Barrier)
        .map(|publication| publication.channel.as_str())
        .collect();
    for listener in manifest.scene.everybody() {
        let got = barriers.get(listener.name.as_str()).unwrap_or(&none);
        for channel in &listener.channels {
            if !Promise::of(channel).is_some_and(Promise::has_presence) && !got.contains(channel.as_str()) {
                let why = if asked.contains(channel.as_str()) { "never came" } else { "was never published" };
                let patience = manifest.patience;
                let what = format!("{}: the last publication of {channel} {why} ({patience} s)", listener.name);
                report.find(Verdict::Stuck, what);
            }
        }
    }
}

/// Killed, or asked to go. Whoever is asked while it starts has no clients to let go of, and no handler yet.
fn is_wanted(how: &str) -> bool {
    how == "killed" || how == "exit status: 0" || how.contains("SIGTERM")
}
