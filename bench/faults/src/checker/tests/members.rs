//! Who is taken for dead, and who knows of whom.

use super::others::wait;
use super::*;
use crate::plan::{Fault, Harm, Party, Prey, Target};

const REJOINS: &str = "midplane_cluster_rejoins_total";

/// A node learns that it was taken for dead so many seconds after this was done.
fn taken_for_dead(fault: Fault, seconds_later: usize) -> Report {
    let mut history = History::of("plain:c0");
    history.add(Entry::NodeStarted { node: "node-0".to_owned(), life: 1 });
    history.steps.push(Step { at_ms: 0, for_ms: 0, fault });
    history.add(Entry::FaultBegan { index: 0, fault: String::new() }).add(Entry::FaultEnded { index: 0 });
    wait(&mut history, seconds_later);
    history.scrape_of("node-0", Phase::Faults, 1, &[]);
    for _ in 0..2 {
        history.scrape_of("node-0", Phase::Faults, 1, &[(REJOINS, 1.0)]);
    }
    history.judged()
}

#[test]
fn what_is_done_to_a_node_excuses_its_death_for_a_while() {
    let (node, other) = (Target::Node(0), Party::Node(1));
    let (own, server) = (Party::Node(0), Party::Server(2));
    for fault in [
        Fault::Kill(node),
        Fault::Stop(node),
        Fault::Pause(node),
        Fault::Isolate(node, Harm::Stall),
        Fault::Harm(own, server, Harm::Deaf),
        Fault::Harm(Party::Server(0), server, Harm::Stall),
        Fault::Isolate(Target::Server(1), Harm::Cut),
        Fault::RollBack,
    ] {
        assert_eq!(taken_for_dead(fault.clone(), 10).kinds(), [], "{fault}");
        assert_eq!(taken_for_dead(fault.clone(), 30).kinds(), [Verdict::FalseDeath], "{fault}, long ago");
    }
    for fault in [
        Fault::StepDown("KV_midplane_nodes".to_owned()),
        Fault::Kill(Target::Server(0)),
        Fault::Pause(Target::Server(0)),
        Fault::Kill(Target::Node(1)),
        Fault::Harm(other, server, Harm::Stall),
        Fault::Harm(Party::Client(0), own, Harm::Cut),
        Fault::Harm(Party::Backend, server, Harm::Cut),
        Fault::Slow(0),
        Fault::Clock { node: 0, seconds: 9 },
        Fault::Swallow { node: 0, prey: Prey::Heartbeats, count: 40 },
        Fault::Swallow { node: 0, prey: Prey::Membership, count: 9 },
    ] {
        assert_eq!(taken_for_dead(fault.clone(), 1).kinds(), [Verdict::FalseDeath], "{fault}");
    }
}

#[test]
fn nodes_that_do_not_know_of_all_others_disagree() {
    for (known, kinds) in [
        (&[(UP, 2.0)][..], vec![]),
        (&[(UP, 1.0)], vec![Verdict::Disagree]),
        (&[(UP, 2.0), ("midplane_cluster_nodes{state=\"draining\"}", 1.0)], vec![Verdict::Disagree]),
        (&[(UP, 1.0), ("midplane_cluster_nodes{state=\"failed\"}", 1.0)], vec![Verdict::Disagree]),
        (&[], vec![Verdict::Disagree]),
    ] {
        let mut history = History::default();
        for node in ["one", "two"] {
            history.add(Entry::NodeStarted { node: node.to_owned(), life: 1 });
        }
        // While it comes to rest they may.
        history.scrape_of("one", Phase::Healed, 0, &[]).scrape_of("one", Phase::Healed, 0, known);
        history.scrape_of("two", Phase::Healed, 0, &[(UP, 2.0)]);
        assert_eq!(history.judged().kinds(), kinds, "{known:?}");
    }
}
