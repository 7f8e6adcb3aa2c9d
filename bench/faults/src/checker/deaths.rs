//! Nodes that were taken for dead although nothing was broken that may look like a death.

use std::collections::HashMap;

use super::troubles::Troubles;
use super::{Report, Verdict, at};
use crate::journal::{Entry, Line};

const REJOINS: &str = "midplane_cluster_rejoins_total";

pub fn judge(lines: &[Line], troubles: &Troubles, report: &mut Report) {
    let mut before: HashMap<(&str, u32), (u64, f64)> = HashMap::new();
    for line in lines {
        let Entry::Scraped { node, life, values, .. } = &line.entry else { continue };
        let rejoins = values.get(REJOINS).copied().unwrap_or_default();
        let Some((since, had)) = before.insert((node, *life), (line.at, rejoins)) else { continue };
        if rejoins > had && troubles.is_calm(since, line.at) {
            report.find(Verdict::FalseDeath, format!("{node} was taken for dead before {}", at(line.at)));
        }
    }
}
