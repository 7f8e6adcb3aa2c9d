//! Every loss that clients are told of is counted by the node that tells them.

use std::collections::{BTreeMap, HashMap};

use super::{Report, Verdict};
use crate::journal::{Entry, Line};

/// One start of a node, told losses, and what it counted in the end.
#[derive(Default)]
struct Life {
    refused: u64,
    unsubscribed: u64,
    /// Clients of Socket.IO that came again and were another socket.
    anew: u64,
    /// Of the last scrape, if nothing was told after it.
    counted: Option<BTreeMap<String, f64>>,
}

pub fn judge(lines: &[Line], report: &mut Report) {
    let mut lives: BTreeMap<(&str, u32), Life> = BTreeMap::new();
    let mut now: HashMap<&str, u32> = HashMap::new();
    let mut at: HashMap<&str, (&str, u32)> = HashMap::new();
    let (mut recovered, mut refused, mut unsubscribed, mut reconnects) = (0, 0, 0, 0);
    for line in lines {
        match &line.entry {
            Entry::NodeStarted { node, life } => drop(now.insert(node, *life)),
            Entry::Connected { client, node, .. } => {
                reconnects += 1;
                at.insert(client, (node, now.get(node.as_str()).copied().unwrap_or(0)));
            }
            Entry::Subscribed { since: Some(_), recovered: true, .. } => recovered += 1,
            Entry::Subscribed { client, since: Some(_), recovered: false, .. } => {
                refused += 1;
                if let Some(life) = at.get(client.as_str()).map(|life| lives.entry(*life).or_default()) {
                    life.refused += 1;
                    life.counted = None;
                }
            }
            Entry::Unsubscribed { client, code: 2500, .. } => {
                unsubscribed += 1;
                if let Some(life) = at.get(client.as_str()).map(|life| lives.entry(*life).or_default()) {
                    life.unsubscribed += 1;
                    life.counted = None;
                }
            }
            Entry::CameBack { client, recovered: false, .. } => {
                if let Some(life) = at.get(client.as_str()).map(|life| lives.entry(*life).or_default()) {
                    life.anew += 1;
                    life.counted = None;
                }
            }
            Entry::Scraped { node, life, values, .. } => {
                lives.entry((node, *life)).or_default().counted = Some(values.clone());
            }
            _ => {}
        }
    }
    report.count("connects", reconnects);
    report.count("recovered", recovered);
    report.count("refused", refused);
    report.count("unsubscribed", unsubscribed);
    for ((node, life), told) in lives {
        // A life that ended before anybody looked is nobody's witness.
        let Some(counted) = told.counted else { continue };
        let sum = |prefix: &str, label: &str| -> f64 {
            let of = |name: &str| name.starts_with(prefix) && name.contains(label);
            counted.iter().filter(|(name, _)| of(name)).map(|(_, value)| value).sum()
        };
        let counted_refused = sum("midplane_recoveries_total", "refused") + sum("midplane_recoveries_total", "error");
        if counted_refused < told.refused as f64 {
            let what = format!("{node}, life {life}: {} recoveries refused, {counted_refused} counted", told.refused);
            report.find(Verdict::Uncounted, what);
        }
        let returns = "midplane_socketio_returns_total";
        let counted_anew = sum(returns, "") - sum(returns, "\"recovered\"");
        if counted_anew < told.anew as f64 {
            let what = format!("{node}, life {life}: {} sessions refused, {counted_anew} counted", told.anew);
            report.find(Verdict::Uncounted, what);
        }
        if told.unsubscribed > 0 && sum("midplane_gaps_unhealed_total", "") == 0.0 {
            let what =
                format!("{node}, life {life}: {} subscriptions ended for a loss, none counted", told.unsubscribed);
            report.find(Verdict::Uncounted, what);
        }
    }
}
