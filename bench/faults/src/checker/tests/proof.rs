//! Whether what was looked at proves anything.

use super::others::wait;
use super::*;
use crate::journal::REVOKED;
use crate::plan::{Fault, NODES, Prey};

const PLAIN: &str = "plain:c0";

/// A run in which everything was looked at that must be, and whose calm is `calm`; nothing goes wrong in it.
fn run(calm: impl FnOnce(&mut History)) -> History {
    let mut history = History { calm: true, ..History::default() };
    for node in nodes() {
        history.add(Entry::NodeStarted { node, life: 1 });
    }
    history.connect("ada", ROOM).subscribe("ada", PLAIN, None, 0);
    let heartbeats = Fault::Swallow { node: 0, prey: Prey::Heartbeats, count: 200 };
    history.steps.push(Step { at_ms: 0, for_ms: 0, fault: heartbeats });
    history.phase(Phase::Healed).add(Entry::AllReady).add(Entry::AllSubscribed);
    wait(&mut history, 20);
    calm(&mut history);
    history.add(Entry::LastVisits);
    for (connection, node) in (0..).zip(nodes()) {
        let user = format!("guest-{connection}");
        history.add(Entry::LetIn { user: user.clone(), node, connection });
        history.add(Entry::Revoked { user }).add(Entry::SentAway { connection, code: REVOKED });
    }
    look(&mut history, Phase::Healed);
    history.phase(Phase::Gone);
    look(&mut history, Phase::Gone);
    history
}

fn nodes() -> impl Iterator<Item = String> {
    (0..NODES).map(|node| format!("node-{node}"))
}

fn look(history: &mut History, phase: Phase) {
    history.add(Entry::Expected { phase, channel: ROOM.to_owned(), uuids: Vec::new() });
    for node in nodes() {
        let channel = ROOM.to_owned();
        history.add(Entry::Snapshot { phase, node: node.clone(), channel, uuids: Vec::new() });
        history.scrape_of(&node, phase, 0, &[(UP, NODES as f64)]);
    }
}

fn judged(history: &History) -> Report {
    let ada = Listener { name: "ada".to_owned(), channels: vec![ROOM.to_owned()], ..Listener::default() };
    let (manifest, lines) = history.written(vec![ada]);
    judge_whole(&manifest, &lines)
}

fn publishes(history: &mut History) {
    for offset in 0..4 {
        history.publish(PLAIN, offset).receive("ada", PLAIN, offset);
    }
    wait(history, 5);
}

fn is_silent(history: &mut History, seconds: usize) {
    history.add(Entry::FaultBegan { index: 0, fault: String::new() });
    wait(history, seconds);
    history.add(Entry::FaultEnded { index: 0 });
}

fn all_of_it(history: &mut History) {
    publishes(history);
    is_silent(history, 11);
}

#[test]
fn a_run_in_which_everything_was_looked_at_is_good() {
    let report = judged(&run(all_of_it));
    assert!(report.is_good(), "{report}");
    assert_eq!((report.counted("plain judged in calm"), report.counted("silences in calm")), (4, 1));
}

#[test]
fn a_run_in_which_nothing_was_judged_in_calm_proves_nothing() {
    assert_eq!(judged(&run(|_| {})).kinds(), [Verdict::Unproven]);
    assert_eq!(judged(&run(|history| is_silent(history, 11))).kinds(), [Verdict::Unproven], "nobody publishes");
    let everybody_is_heard = run(|history| {
        publishes(history);
        is_silent(history, 6);
    });
    assert_eq!(judged(&everybody_is_heard).kinds(), [Verdict::Unproven]);
    let mut too_short = run(|_| {});
    too_short.calm = false;
    assert!(judged(&too_short).is_good(), "nobody says that anything was judged in calm");
}

#[test]
fn what_is_published_in_calm_and_never_comes_is_lost_although_nobody_hears_heartbeats() {
    let history = run(|history| {
        history.add(Entry::FaultBegan { index: 0, fault: String::new() });
        history.publish(PLAIN, 1);
        wait(history, 11);
        history.add(Entry::FaultEnded { index: 0 });
    });
    assert_eq!(judged(&history).kinds(), [Verdict::LostInCalm]);
}

#[test]
fn a_run_in_which_something_was_not_looked_at_proves_nothing() {
    let whole = run(all_of_it);
    let is_evidence = |entry: &Entry| {
        let of_last_node = |node: &str| node == "node-2";
        match entry {
            Entry::Scraped { node, .. } | Entry::Snapshot { node, .. } | Entry::LetIn { node, .. } => {
                of_last_node(node)
            }
            Entry::Expected { .. } | Entry::AllReady | Entry::AllSubscribed | Entry::LastVisits => true,
            _ => false,
        }
    };
    let evidence: Vec<usize> = (0..whole.entries.len()).filter(|index| is_evidence(&whole.entries[*index])).collect();
    assert_eq!(evidence.len(), 2 + 2 + 1 + 2 + 1 + 2, "scrapes, snapshots, a guest, expectations, visits, ready");
    for index in evidence {
        let mut history = run(all_of_it);
        let missing = history.entries.remove(index);
        let kinds = judged(&history).kinds();
        assert!(kinds.contains(&Verdict::Unproven), "without {missing:?}: {kinds:?}");
    }
}
