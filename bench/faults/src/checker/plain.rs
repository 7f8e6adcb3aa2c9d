//! Channels without history: in nobody's order but each publisher's, and nothing is lost or doubled while all is well.

use std::collections::{HashMap, HashSet};

use super::publications::{Outcome, Publication, Publications};
use super::troubles::{AFTER, Troubles};
use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, Via};
use crate::plan::Promise;

/// One publication for one client who was there.
pub const JUDGED: &str = "plain judged in calm";

pub fn judge(lines: &[Line], publications: &Publications, troubles: &Troubles, report: &mut Report) {
    let mut received: HashMap<&str, HashSet<&str>> = HashMap::new();
    // Who is in which channel, since when and until when.
    let mut stays: Vec<(&str, &str, u64, u64)> = Vec::new();
    let mut open: HashMap<(&str, &str), u64> = HashMap::new();
    let mut doubled = HashSet::new();
    let mut doubled_in_trouble = 0;
    // What came late to another node may come twice to a client that moved there.
    let mut on_this_connection: HashMap<&str, HashSet<&str>> = HashMap::new();
    let mut order = Sequence::default();
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
                order.newest.retain(|(who, _), _| who != client);
                let ended = open.extract_if(|(who, _), _| *who == client);
                stays.extend(ended.map(|((client, channel), since)| (client, channel, since, line.at)));
            }
            Entry::Received { client, channel, id, .. } if is_at_most_once(channel) => {
                received.entry(client).or_default().insert(id);
                if !on_this_connection.entry(client).or_default().insert(id) && doubled.insert((client, id)) {
                    // A node that changes its server meets there what is still on its way from the other.
                    if troubles.is_calm(line.at, line.at) {
                        report.find(Verdict::Doubled, format!("{client} got {id} twice, again at {}", at(line.at)));
                    } else {
                        doubled_in_trouble += 1;
                    }
                }
                match publications.0.get(id) {
                    Some(publication) if publication.channel == *channel => {
                        order.follow(line.at, client, id, publication, troubles, report);
                    }
                    _ => report.find(Verdict::Phantom, format!("{client} got {id} in {channel}")),
                }
            }
            _ => {}
        }
    }
    stays.extend(open.into_iter().map(|((client, channel), since)| (client, channel, since, u64::MAX)));
    let plain = publications.0.iter().filter(|(_, publication)| is_at_most_once(&publication.channel));
    let (mut judged, mut in_calm, mut in_trouble) = (0, 0, 0);
    for (id, publication) in plain {
        let Outcome::Acked { at: acked, .. } = &publication.outcome else { continue };
        // Who reads slowly for a moment may get only the newest.
        let promised =
            Promise::of(&publication.channel) != Some(Promise::Latest) && troubles.is_calm(publication.began, *acked);
        for (client, channel, since, until) in &stays {
            let listens = *channel == publication.channel
                && *since + AFTER < publication.began
                && until.saturating_sub(AFTER) > *acked;
            if !listens {
                continue;
            }
            judged += u64::from(promised);
            if received.get(client).is_some_and(|received| received.contains(id.as_str())) {
                continue;
            }
            if promised {
                in_calm += 1;
                let when = at(publication.began);
                report.find(Verdict::LostInCalm, format!("{client} never got {id}, published at {when}"));
            } else {
                in_trouble += 1;
            }
        }
    }
    report.count(JUDGED, judged);
    report.count("plain lost in calm", in_calm);
    report.count("plain lost in trouble", in_trouble);
    report.count("plain doubled in trouble", doubled_in_trouble);
    report.count("plain reordered in trouble", order.disturbed);
}

/// One publisher's are in its order: each was acknowledged before the next one began.
#[derive(Default)]
struct Sequence<'a> {
    /// The number that came last on a client's connection, of each publisher.
    newest: HashMap<(&'a str, &'a str), u64>,
    disturbed: u64,
}

impl<'a> Sequence<'a> {
    fn follow(
        &mut self,
        when: u64,
        client: &'a str,
        id: &'a str,
        publication: &Publication,
        troubles: &Troubles,
        report: &mut Report,
    ) {
        let numbered = id.rsplit_once('-').and_then(|(publisher, number)| Some((publisher, number.parse().ok()?)));
        let Some((publisher, number)) = numbered else { return };
        let newest = self.newest.entry((client, publisher)).or_insert(number);
        // One without an answer may still be under way when the next one begins.
        let is_late = number < *newest && matches!(publication.outcome, Outcome::Acked { .. });
        *newest = number.max(*newest);
        // What is asked over NATS any node may do.
        let is_at_one_node = publication.via != Via::NatsApi;
        if is_late && is_at_one_node && troubles.is_calm(publication.began, when) {
            let what = format!("{client} got {id} behind {publisher}-{newest}, at {}", at(when));
            report.find(Verdict::Reordered, what);
        } else if is_late {
            self.disturbed += 1;
        }
    }
}

fn is_at_most_once(channel: &str) -> bool {
    Promise::of(channel).is_some_and(Promise::is_at_most_once)
}
