//! Losses that are told where nothing is stored.

use super::others::wait;
use super::*;
use crate::plan::{Fault, Harm, Prey, Target};

const WATCHED: &str = "watched:c0";

/// Ada at node-0 and bob at `other` watch; the only step breaks this.
fn two_watch(other: &str, fault: Fault) -> History {
    let mut history = History::default();
    for (client, node) in [("ada", "node-0"), ("bob", other)] {
        let uuid = format!("id of {client}");
        history.add(Entry::Connected { client: client.to_owned(), node: node.to_owned(), uuid });
        history.subscribe(client, WATCHED, None, 0);
    }
    wait(&mut history, 5);
    history.steps.push(Step { at_ms: 0, for_ms: 0, fault });
    history
}

/// Ada misses what bob gets, while this is broken; `told` is what she hears of it.
fn missed(fault: Fault, other: &str, told: Option<u32>) -> Report {
    let mut history = two_watch(other, fault);
    history.add(Entry::FaultBegan { index: 0, fault: String::new() });
    history.publish(WATCHED, 1).receive("bob", WATCHED, 1).add(Entry::FaultEnded { index: 0 });
    if let Some(code) = told {
        let (client, channel) = ("ada".to_owned(), WATCHED.to_owned());
        history.add(Entry::Unsubscribed { client, channel, code, reason: String::new() });
    }
    wait(&mut history, 45);
    history.judged()
}

#[test]
fn who_misses_what_its_node_can_know_of_and_is_not_told_is_found() {
    let cut_off = || Fault::Isolate(Target::Node(0), Harm::Cut);
    assert_eq!(missed(cut_off(), "node-1", None).kinds(), [Verdict::Untold]);
    let report = missed(cut_off(), "node-1", Some(2500));
    assert_eq!((report.kinds(), report.counted("watched lost and told")), (vec![], 1));
    assert_eq!(missed(cut_off(), "node-0", None).kinds(), [], "nobody elsewhere has it: it may not have got that far");
}

#[test]
fn what_no_node_can_know_of_nobody_is_told() {
    for fault in [
        Fault::Swallow { node: 0, prey: Prey::Plain, count: 1 },
        Fault::Pause(Target::Server(1)),
        Fault::Isolate(Target::Server(1), Harm::Stall),
        Fault::RollBack,
    ] {
        let report = missed(fault.clone(), "node-1", None);
        assert_eq!((report.kinds(), report.counted("watched lost and nobody knew")), (vec![], 1), "{fault}");
    }
    let of_another = Fault::Swallow { node: 1, prey: Prey::Plain, count: 1 };
    assert_eq!(missed(of_another, "node-1", None).kinds(), [Verdict::Untold]);
}

#[test]
fn what_is_on_its_way_when_a_fault_begins_may_be_lost_by_it() {
    for (seconds, found) in [(0, false), (3, true)] {
        let mut history = two_watch("node-1", Fault::Swallow { node: 0, prey: Prey::Plain, count: 1 });
        history.publish(WATCHED, 1);
        wait(&mut history, seconds);
        history.add(Entry::FaultBegan { index: 0, fault: String::new() });
        history.receive("bob", WATCHED, 1).add(Entry::FaultEnded { index: 0 });
        wait(&mut history, 45);
        assert_eq!(history.judged().kinds().contains(&Verdict::Untold), found, "{seconds}");
    }
}
