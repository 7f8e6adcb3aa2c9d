//! Nodes that were taken for dead although nothing was done to them that may look like a death.

use std::collections::HashMap;

use super::troubles::Troubles;
use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, Manifest};
use crate::plan::{Fault, NODES, Party, Target};

const REJOINS: &str = "midplane_cluster_rejoins_total";
/// Two looks at a node, between which it was not taken for dead.
pub const JUDGED: &str = "deaths judged in calm";
/// So long after a fault its node may still learn that it was taken for dead: a patience, a verdict, and a busy machine.
const LEARNS_WITHIN: u64 = 20_000_000;

pub fn judge(manifest: &Manifest, lines: &[Line], troubles: &Troubles, report: &mut Report) {
    let excuses: Vec<(String, Troubles)> = (0..NODES)
        .map(|node| (format!("node-{node}"), Troubles::where_is(manifest, lines, |fault| may_look_dead(fault, node))))
        .collect();
    let mut before: HashMap<(&str, u32), (u64, f64)> = HashMap::new();
    for line in lines {
        let Entry::Scraped { node, life, values, .. } = &line.entry else {
            if let Entry::NodeStarted { node, life } = &line.entry {
                before.insert((node, *life), (line.at, 0.0));
            }
            continue;
        };
        let rejoins = values.get(REJOINS).copied().unwrap_or_default();
        let Some((since, had)) = before.insert((node, *life), (line.at, rejoins)) else { continue };
        report.count(JUDGED, u64::from(troubles.is_calm(since, line.at)));
        let excused = excuses.iter().any(|(name, faults)| name == node && faults.reach(since, line.at, LEARNS_WITHIN));
        if rejoins > had && excused {
            report.count("deaths excused", 1);
        } else if rejoins > had {
            report.find(Verdict::FalseDeath, format!("{node} was taken for dead before {}", at(line.at)));
        }
    }
}

/// Whether others may take this node for dead because of it. Elections, single servers that die or hang, backends and
/// clients are no reason; servers that do not hear each other are: whoever hangs on one of them is cut off with it.
fn may_look_dead(fault: &Fault, node: usize) -> bool {
    let is_server = |party: &Party| matches!(party, Party::Server(_));
    match fault {
        Fault::Kill(target) | Fault::Stop(target) | Fault::Pause(target) => *target == Target::Node(node),
        Fault::Isolate(target, _) => *target == Target::Node(node) || matches!(target, Target::Server(_)),
        Fault::Harm(a, b, _) => {
            let own = Party::Node(node);
            (*a == own || is_server(a)) && (*b == own || is_server(b))
        }
        Fault::RollBack => true,
        Fault::StepDown(_) | Fault::Slow(_) | Fault::Swallow { .. } | Fault::Clock { .. } => false,
    }
}
