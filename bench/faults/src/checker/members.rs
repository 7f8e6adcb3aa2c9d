//! Whether every node knows, once all is well, that every node is there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Report, Verdict};
use crate::journal::{Entry, Line, Phase};

/// Nodes as one of them knows them, by state.
pub const KNOWN: &str = "midplane_cluster_nodes{";
pub const UP: &str = "midplane_cluster_nodes{state=\"up\"}";

pub fn judge(lines: &[Line], report: &mut Report) {
    let mut nodes: BTreeSet<&str> = BTreeSet::new();
    let mut healed: BTreeMap<&str, &BTreeMap<String, f64>> = BTreeMap::new();
    for line in lines {
        match &line.entry {
            Entry::NodeStarted { node, .. } => drop(nodes.insert(node)),
            Entry::Scraped { phase: Phase::Healed, node, values, .. } => drop(healed.insert(node, values)),
            _ => {}
        }
    }
    for (node, values) in healed {
        let known: BTreeMap<&str, f64> = values
            .iter()
            .filter(|(name, _)| name.starts_with(KNOWN))
            .map(|(name, count)| (name.as_str(), *count))
            .collect();
        if known != BTreeMap::from([(UP, nodes.len() as f64)]) {
            report.find(Verdict::Disagree, format!("{node}, with everything healed, knows {known:?}, of {nodes:?}"));
        }
    }
}
