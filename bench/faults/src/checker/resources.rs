//! What stays behind: while everybody is there more than they need, and anything when they have gone.

use std::collections::{BTreeMap, HashMap};

use super::{Report, Verdict};
use crate::journal::{Entry, Line, Manifest, Phase};

/// What is of clients, and zero where no client is.
pub const OF_CLIENTS: [&str; 7] = [
    "midplane_connections{",
    "midplane_subscriptions",
    "midplane_channels",
    "midplane_handshakes_inflight",
    "midplane_outbox_bytes",
    "midplane_presence_members",
    "midplane_presence_unrecorded",
];
/// What an allocator keeps of what a node had in its worst moments.
const RESIDENT_GROWTH: u64 = 16 << 20;
/// Connections to NATS, being replaced at the moment.
const DESCRIPTOR_GROWTH: u64 = 8;
/// The same, with the tasks that a library has for each, and requests of whoever looks.
const TASK_GROWTH: f64 = 12.0;

/// What a node used while its clients were there and nothing was broken yet.
struct Before {
    resident: u64,
    descriptors: u64,
    /// Those that are not of a connection.
    tasks: Option<f64>,
}

pub fn judge(manifest: &Manifest, lines: &[Line], report: &mut Report) {
    let mut before: HashMap<&str, Before> = HashMap::new();
    let mut healed: BTreeMap<&str, &BTreeMap<String, f64>> = BTreeMap::new();
    let mut peak = 0;
    let mut slow: HashMap<(&str, u32), f64> = HashMap::new();
    for line in lines {
        let Entry::Scraped { phase, node, life, resident, descriptors, values } = &line.entry else { continue };
        peak = peak.max(*resident);
        slow.insert((node, *life), sum(values, "midplane_slow_consumers_total"));
        match phase {
            Phase::Before => {
                let tasks = values.get("midplane_runtime_tasks").map(|all| all - sum(values, OF_CLIENTS[0]));
                before.insert(node, Before { resident: *resident, descriptors: *descriptors, tasks });
            }
            Phase::Faults => {}
            Phase::Healed => drop(healed.insert(node, values)),
            Phase::Gone => {
                let who = format!("{node}, life {life}");
                for gauge in OF_CLIENTS {
                    let left = sum(values, gauge);
                    if left > 0.0 {
                        report.find(Verdict::Leaked, format!("{who}: {gauge} is {left}, and nobody is there"));
                    }
                }
                // A later life is measured by the first of its name: the same work, the same memory.
                if let Some(before) = before.get(node.as_str()) {
                    before.compare(&who, *resident, *descriptors, values, report);
                }
            }
        }
    }
    judge_healed(manifest, &healed, report);
    report.count("peak MiB of a node", peak >> 20);
    report.count("slow readers met", slow.values().sum::<f64>() as u64);
}

impl Before {
    fn compare(&self, who: &str, resident: u64, descriptors: u64, values: &BTreeMap<String, f64>, report: &mut Report) {
        let mut grown = |what: &str, from: f64, to: f64, by: f64| {
            if to > from + by {
                report.find(Verdict::Leaked, format!("{who}: {from} {what} before, {to} after"));
            }
        };
        let mib = |bytes: u64| (bytes >> 20) as f64;
        grown("MiB", mib(self.resident), mib(resident), mib(RESIDENT_GROWTH));
        grown("descriptors", self.descriptors as f64, descriptors as f64, DESCRIPTOR_GROWTH as f64);
        if let (Some(from), Some(to)) = (self.tasks, values.get("midplane_runtime_tasks")) {
            grown("tasks", from, *to, TASK_GROWTH);
        }
    }
}

/// What nodes hold while everybody is there: no more than they need. Whoever is missing is found to be stuck elsewhere.
fn judge_healed(manifest: &Manifest, healed: &BTreeMap<&str, &BTreeMap<String, f64>>, report: &mut Report) {
    let scene = &manifest.scene;
    let connections = scene.everybody().count() as f64;
    let subscriptions = scene.everybody().map(|client| client.channels.len()).sum::<usize>() as f64;
    for (gauge, needed) in [(OF_CLIENTS[0], connections), (OF_CLIENTS[1], subscriptions)] {
        let held: f64 = healed.values().map(|values| sum(values, gauge)).sum();
        if held > needed {
            report.find(Verdict::Leaked, format!("{gauge} is {held} on all nodes, and {needed} are needed"));
        }
    }
    for (node, values) in healed {
        let channels = sum(values, "midplane_channels");
        if channels > scene.channels.len() as f64 {
            report.find(
                Verdict::Leaked,
                format!("{node} has {channels} channels, and there are {}", scene.channels.len()),
            );
        }
    }
}

fn sum(values: &BTreeMap<String, f64>, gauge: &str) -> f64 {
    values.iter().filter(|(name, _)| name.starts_with(gauge)).map(|(_, value)| value).sum()
}
