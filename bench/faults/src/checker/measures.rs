//! What a run says of itself besides: how much went on, and how soon all was well again.

use std::collections::{BTreeSet, HashMap};

use super::Report;
use crate::journal::{Entry, Line, Manifest, Phase};

const SECOND: u64 = 1_000_000;

pub fn take(manifest: &Manifest, lines: &[Line], report: &mut Report) {
    let mut stored: BTreeSet<u64> = BTreeSet::new();
    let (mut phase, mut begun, mut healed) = (Phase::Before, 0, 0);
    let mut late = 0;
    // Of each life of a node, by what it counted last.
    let mut deaths: HashMap<(&str, u32), f64> = HashMap::new();
    let mut reaped = deaths.clone();
    for line in lines {
        match &line.entry {
            Entry::PhaseBegan { phase: next } => {
                phase = *next;
                match phase {
                    Phase::Faults => begun = line.at,
                    Phase::Healed => healed = line.at,
                    Phase::Before | Phase::Gone => {}
                }
            }
            // Faults that come late together are no longer those that the seed keeps apart.
            Entry::FaultBegan { index, .. } if phase == Phase::Faults => {
                let due = manifest.steps.get(*index).map_or(line.at, |step| begun + step.at_ms * 1_000);
                late = late.max(line.at.saturating_sub(due));
            }
            Entry::PublishAcked { offset: Some(_), .. } if phase == Phase::Faults => {
                stored.insert(line.at / SECOND);
            }
            Entry::AllReady => report.count("ready again after (s)", (line.at - healed) / SECOND),
            Entry::AllSubscribed => report.count("all subscribed after (s)", (line.at - healed) / SECOND),
            Entry::Scraped { node, life, values, .. } => {
                let counted = |name: &str, result: &str| {
                    let of = |counter: &String| counter.starts_with(name) && counter.contains(result);
                    values.iter().filter(|(counter, _)| of(counter)).map(|(_, value)| value).sum()
                };
                deaths.insert((node, *life), counted("midplane_cluster_verdicts_total", "\"failed\""));
                reaped.insert((node, *life), counted("midplane_cluster_reaps_total", "\"done\""));
            }
            _ => {}
        }
    }
    report.count("seconds in which something was stored", stored.len() as u64);
    report.count("schedule late (ms)", late / 1_000);
    report.count("deaths declared", deaths.into_values().sum::<f64>() as u64);
    report.count("reaped", reaped.into_values().sum::<f64>() as u64);
}
