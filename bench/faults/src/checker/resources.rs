//! What stays behind when everybody has gone. Gross leaks only: a run is short.

use std::collections::HashMap;

use super::{Report, Verdict};
use crate::journal::{Entry, Line, Phase};

/// Allocators keep what they had once.
const RESIDENT_GROWTH: u64 = 192 << 20;
/// Connections to NATS, being replaced at the moment.
const DESCRIPTOR_GROWTH: u64 = 8;

pub fn judge(lines: &[Line], report: &mut Report) {
    let mut before: HashMap<&str, (u64, u64)> = HashMap::new();
    let mut peak = 0;
    for line in lines {
        let Entry::Scraped { phase, node, life, resident, descriptors, values } = &line.entry else { continue };
        peak = peak.max(*resident);
        match phase {
            Phase::Before => drop(before.insert(node, (*resident, *descriptors))),
            Phase::Faults | Phase::Healed => {}
            Phase::Gone => {
                for gauge in [
                    "midplane_connections{",
                    "midplane_subscriptions",
                    "midplane_outbox_bytes",
                    "midplane_presence_members",
                ] {
                    let left: f64 =
                        values.iter().filter(|(name, _)| name.starts_with(gauge)).map(|(_, value)| value).sum();
                    if left > 0.0 {
                        report.find(
                            Verdict::Leaked,
                            format!("{node}, life {life}: {gauge} is {left}, and nobody is there"),
                        );
                    }
                }
                // A later life is measured by the first of its name: the same work, the same memory.
                let Some((resident_before, descriptors_before)) = before.get(node.as_str()) else { continue };
                if *resident > resident_before + RESIDENT_GROWTH {
                    let (from, to) = (resident_before >> 20, resident >> 20);
                    report.find(Verdict::Leaked, format!("{node}, life {life}: {from} MiB before, {to} MiB after"));
                }
                if *descriptors > descriptors_before + DESCRIPTOR_GROWTH {
                    let what =
                        format!("{node}, life {life}: {descriptors_before} descriptors before, {descriptors} after");
                    report.find(Verdict::Leaked, what);
                }
            }
        }
    }
    report.count("peak MiB of a node", peak >> 20);
}
