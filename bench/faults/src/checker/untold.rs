//! Channels without history in which losses are told: whoever misses something because its node was cut off from NATS is
//! unsubscribed, so that it knows.

use std::collections::{HashMap, HashSet};

use super::publications::{Outcome, Publications};
use super::troubles::{AFTER, Troubles};
use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, Manifest};
use crate::plan::{Fault, NODES, Party, Prey, Promise, Target};

/// A node is cut off for up to 12 s, learns of it late, reconnects, and the machine is busy.
const TOLD_WITHIN: u64 = 40_000_000;
/// So long after a fault of servers their routes may still not carry everything.
const RECOVERS_WITHIN: u64 = 15_000_000;

/// A client in a channel, on one connection.
struct Stay<'a> {
    client: &'a str,
    channel: &'a str,
    node: &'a str,
    since: u64,
    until: u64,
}

pub fn judge(manifest: &Manifest, lines: &[Line], publications: &Publications, report: &mut Report) {
    let (stays, got) = gather(lines);
    let unknown: HashMap<String, Troubles> = (0..NODES)
        .map(|node| (format!("node-{node}"), Troubles::where_is(manifest, lines, |fault| nobody_knows(fault, node))))
        .collect();
    let ends = lines.last().map_or(0, |line| line.at);
    let (mut told, mut unknowable) = (0, 0);
    for (id, nodes) in &got.by_node {
        let Some(publication) = publications.0.get(*id) else { continue };
        let Outcome::Acked { at: acked, .. } = publication.outcome else { continue };
        // What is acknowledged has been handed to NATS, and may be on its way to other nodes for a moment.
        let arrived = acked + AFTER;
        let missed = stays.iter().filter(|stay| {
            let there = stay.since + AFTER < publication.began && stay.until > acked;
            there && stay.channel == publication.channel && !got.by_client.contains(&(stay.client, id))
        });
        // Who got it at another node shows that NATS had it.
        for Stay { client, node, until, .. } in missed.filter(|stay| nodes.iter().any(|other| *other != stay.node)) {
            if *until <= acked + TOLD_WITHIN {
                told += 1;
            } else if unknown.get(*node).is_some_and(|faults| faults.reach(publication.began, arrived, RECOVERS_WITHIN))
                || ends <= acked + TOLD_WITHIN
            {
                unknowable += 1;
            } else {
                let when = at(publication.began);
                let what = format!("{client} at {node} missed {id}, published at {when}, and was not told");
                report.find(Verdict::Untold, what);
            }
        }
    }
    report.count("watched lost and told", told);
    report.count("watched lost and nobody knew", unknowable);
}

/// Who got what, and at which nodes it came.
#[derive(Default)]
struct Got<'a> {
    by_client: HashSet<(&'a str, &'a str)>,
    by_node: HashMap<&'a str, HashSet<&'a str>>,
}

fn gather(lines: &[Line]) -> (Vec<Stay<'_>>, Got<'_>) {
    let (mut stays, mut got) = (Vec::new(), Got::default());
    let mut nodes: HashMap<&str, &str> = HashMap::new();
    let mut open: HashMap<(&str, &str), u64> = HashMap::new();
    let is_watched = |channel: &str| Promise::of(channel) == Some(Promise::Watched);
    for line in lines {
        let mut end = |client: &str, channel: Option<&str>, until: u64| {
            let ended = open.extract_if(|(who, of), _| *who == client && channel.is_none_or(|channel| channel == *of));
            let stay = |((client, channel), since)| Stay {
                client,
                channel,
                node: nodes.get(client).copied().unwrap_or(""),
                since,
                until,
            };
            stays.extend(ended.map(stay));
        };
        match &line.entry {
            Entry::Connected { client, node, .. } => drop(nodes.insert(client, node)),
            Entry::Subscribed { client, channel, .. } if is_watched(channel) => {
                open.insert((client, channel), line.at);
            }
            Entry::Unsubscribed { client, channel, .. } => end(client, Some(channel), line.at),
            Entry::Disconnected { client, .. } => end(client, None, line.at),
            Entry::Received { client, channel, id, .. } if is_watched(channel) => {
                got.by_client.insert((client, id));
                got.by_node.entry(id).or_default().extend(nodes.get(client.as_str()));
            }
            _ => {}
        }
    }
    let stay = |((client, channel), since)| Stay {
        client,
        channel,
        node: nodes.get(client).copied().unwrap_or(""),
        since,
        until: u64::MAX,
    };
    stays.extend(open.into_iter().map(stay));
    (stays, got)
}

/// Whether a delivery to this node can vanish because of it while its own connection to NATS stays.
fn nobody_knows(fault: &Fault, node: usize) -> bool {
    match fault {
        Fault::Kill(target) | Fault::Stop(target) | Fault::Pause(target) | Fault::Isolate(target, _) => {
            matches!(target, Target::Server(_))
        }
        Fault::Harm(a, b, _) => matches!((a, b), (Party::Server(_), Party::Server(_))),
        Fault::Swallow { node: of, prey, .. } => *of == node && *prey != Prey::Heartbeats,
        Fault::RollBack => true,
        Fault::StepDown(_) | Fault::Slow(_) | Fault::Clock { .. } => false,
    }
}
