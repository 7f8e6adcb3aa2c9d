//! Channels without history: in nobody's order but each publisher's, and nothing is lost or doubled while all is well.

use std::collections::{HashMap, HashSet};

use super::publications::{Outcome, Publications};
use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, Manifest};
use crate::plan::Promise;

/// Around a publication in calm: nothing may have been broken for so long before, nothing breaks so soon after.
const BEFORE: u64 = 15_000_000;
const AFTER: u64 = 2_000_000;

pub fn judge(manifest: &Manifest, lines: &[Line], publications: &Publications, report: &mut Report) {
    let troubles = troubles(manifest, lines);
    let mut received: HashMap<&str, HashSet<&str>> = HashMap::new();
    // Who is in which channel, since when and until when.
    let mut stays: Vec<(&str, &str, u64, u64)> = Vec::new();
    let mut open: HashMap<(&str, &str), u64> = HashMap::new();
    let mut doubled = HashSet::new();
    let mut doubled_in_trouble = 0;
    // What came late to another node may come twice to a client that moved there.
    let mut on_this_connection: HashMap<&str, HashSet<&str>> = HashMap::new();
    for line in lines {
        match &line.entry {
            Entry::Subscribed { client, channel, .. } if is_at_most_once(channel) => {
                open.insert((client, channel), line.at);
            }
            Entry::Unsubscribed { client, channel, .. } => {
                if let Some(since) = open.remove(&(client.as_str(), channel.as_str())) {
                    stays.push((client, channel, since, line.at));
                }
            }
            Entry::Disconnected { client, .. } => {
                on_this_connection.remove(client.as_str());
                let ended = open.extract_if(|(who, _), _| *who == client);
                stays.extend(ended.map(|((client, channel), since)| (client, channel, since, line.at)));
            }
            Entry::Received { client, channel, id, .. } if is_at_most_once(channel) => {
                received.entry(client).or_default().insert(id);
                if !on_this_connection.entry(client).or_default().insert(id) && doubled.insert((client, id)) {
                    // A node that changes its server meets there what is still on its way from the other.
                    if is_calm(&troubles, line.at, line.at) {
                        report.find(Verdict::Doubled, format!("{client} got {id} twice, again at {}", at(line.at)));
                    } else {
                        doubled_in_trouble += 1;
                    }
                }
                match publications.0.get(id) {
                    Some(publication) if publication.channel == *channel => {}
                    _ => report.find(Verdict::Phantom, format!("{client} got {id} in {channel}")),
                }
            }
            _ => {}
        }
    }
    stays.extend(open.into_iter().map(|((client, channel), since)| (client, channel, since, u64::MAX)));
    let plain = publications.0.iter().filter(|(_, publication)| is_at_most_once(&publication.channel));
    let (mut in_calm, mut in_trouble) = (0, 0);
    for (id, publication) in plain {
        let Outcome::Acked { at: acked, .. } = &publication.outcome else { continue };
        for (client, channel, since, until) in &stays {
            let listens = *channel == publication.channel
                && *since + AFTER < publication.began
                && until.saturating_sub(AFTER) > *acked;
            if !listens || received.get(client).is_some_and(|received| received.contains(id.as_str())) {
                continue;
            }
            let calm = is_calm(&troubles, publication.began, *acked);
            // Who reads slowly for a moment may get only the newest.
            if calm && Promise::of(channel) != Some(Promise::Latest) {
                in_calm += 1;
                let when = at(publication.began);
                report.find(Verdict::LostInCalm, format!("{client} never got {id}, published at {when}"));
            } else {
                in_trouble += 1;
            }
        }
    }
    report.count("plain lost in calm", in_calm);
    report.count("plain lost in trouble", in_trouble);
    report.count("plain doubled in trouble", doubled_in_trouble);
}

fn is_at_most_once(channel: &str) -> bool {
    Promise::of(channel).is_some_and(Promise::is_at_most_once)
}

/// Whether nothing was broken around what began and ended then.
fn is_calm(troubles: &[(u64, u64)], began: u64, ended: u64) -> bool {
    !troubles.iter().any(|(from, to)| *from < ended + AFTER && to + BEFORE > began)
}

/// When something was broken that may cost what is promised at most once.
fn troubles(manifest: &Manifest, lines: &[Line]) -> Vec<(u64, u64)> {
    let is_trouble = |index: &usize| manifest.steps.get(*index).is_none_or(|step| step.fault.is_trouble());
    let mut open: HashMap<usize, u64> = HashMap::new();
    let mut troubles = Vec::new();
    for line in lines {
        match &line.entry {
            Entry::FaultBegan { index, .. } if is_trouble(index) => drop(open.insert(*index, line.at)),
            Entry::FaultEnded { index } => {
                troubles.extend(open.remove(index).map(|from| (from, line.at)));
            }
            _ => {}
        }
    }
    troubles.extend(open.into_values().map(|from| (from, u64::MAX / 2)));
    troubles
}
