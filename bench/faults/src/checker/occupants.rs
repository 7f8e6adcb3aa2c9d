//! Presence, joins and leaves.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::troubles::{AFTER, Troubles};
use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, Phase};
use crate::plan::Promise;

/// A join or leave that was lost on its way is found when views are compared with the records, which is done every minute
/// at least. A run that ends sooner proves nothing by one that is missing.
const COMPARED_WITHIN: u64 = 75_000_000;
/// Where nothing is broken they are told at once; with `leave_delay`, and on a busy machine, that may take so long.
const TOLD_WITHIN: u64 = 20_000_000;
/// A user who was there so shortly before may be known still, and did not come anew.
const REMEMBERED: u64 = 60_000_000;

pub fn judge(lines: &[Line], troubles: &Troubles, report: &mut Report) {
    snapshots(lines, report);
    let phase = |wanted: Phase| {
        let begun = |line: &&Line| matches!(line.entry, Entry::PhaseBegan { phase } if phase == wanted);
        lines.iter().find(begun).map(|line| line.at)
    };
    // What is told while everybody goes nobody waits for.
    let gone = phase(Phase::Gone);
    let mut watches = Watches::default();
    for line in lines.iter().take_while(|line| gone.is_none_or(|gone| line.at < gone)) {
        watches.follow(line, report);
    }
    if let (Some(healed), Some(gone)) = (phase(Phase::Healed), gone) {
        watches.end(healed, gone, troubles, report);
    }
}

fn snapshots(lines: &[Line], report: &mut Report) {
    let mut expected: BTreeMap<(Phase, &str), BTreeSet<&String>> = BTreeMap::new();
    for line in lines {
        if let Entry::Expected { phase, channel, uuids } = &line.entry {
            expected.insert((*phase, channel), uuids.iter().collect());
        }
    }
    for line in lines {
        let Entry::Snapshot { phase, node, channel, uuids } = &line.entry else { continue };
        let there: BTreeSet<_> = uuids.iter().collect();
        let Some(right) = expected.get(&(*phase, channel.as_str())) else { continue };
        if *right != there {
            let missing: Vec<_> = right.difference(&there).collect();
            let ghosts: Vec<_> = there.difference(right).collect();
            let what = format!("{phase:?}, {node}: {channel} lacks {missing:?}, and has {ghosts:?}");
            report.find(Verdict::WrongPresence, what);
        }
    }
}

/// What clients were told since they subscribed.
#[derive(Default)]
struct Watches<'a> {
    /// Since when a client is in a room.
    open: HashMap<(&'a str, &'a str), u64>,
    /// Whether the last that it was told of another client, or user, was that it came.
    told: HashMap<(&'a str, &'a str, &'a str), bool>,
    /// When clients, or users, were in a room.
    stays: BTreeMap<(&'a str, &'a str), Vec<Stay>>,
    uuids: HashMap<&'a str, &'a str>,
    nodes: HashMap<&'a str, &'a str>,
    /// When somebody at a node was told of a room.
    heard: HashMap<(&'a str, &'a str), Vec<u64>>,
}

/// From when to when somebody was in a room.
#[derive(Clone, Copy)]
struct Stay {
    from: u64,
    until: Option<u64>,
}

impl Stay {
    fn lasts_beyond(self, at: u64) -> bool {
        self.until.is_none_or(|until| until > at)
    }
}

impl<'a> Watches<'a> {
    fn follow(&mut self, line: &'a Line, report: &mut Report) {
        match &line.entry {
            Entry::Connected { client, node, uuid } => {
                self.uuids.insert(client, uuid);
                self.nodes.insert(client, node);
            }
            Entry::Subscribed { client, channel, .. } if Promise::of(channel).is_some_and(Promise::has_presence) => {
                self.told.retain(|(who, room, _), _| (*who, *room) != (client, channel));
                self.open.insert((client, channel), line.at);
                if let Some(who) = self.known_as(client, channel) {
                    self.leave(client, Some(channel), line.at);
                    self.stays.entry((channel, who)).or_default().push(Stay { from: line.at, until: None });
                }
            }
            Entry::Unsubscribed { client, channel, .. } => {
                self.open.remove(&(client.as_str(), channel.as_str()));
                self.leave(client, Some(channel), line.at);
            }
            Entry::Disconnected { client, .. } => {
                self.open.retain(|(who, _), _| *who != client);
                self.leave(client, None, line.at);
                self.uuids.remove(client.as_str());
            }
            Entry::Joined { client, channel, uuid } => self.tell(client, channel, uuid, true, line.at, report),
            Entry::Left { client, channel, uuid } => self.tell(client, channel, uuid, false, line.at, report),
            _ => {}
        }
    }

    /// By what a client is told of in a room: its id, or its user.
    fn known_as(&self, client: &'a str, room: &str) -> Option<&'a str> {
        let is_of_users = Promise::of(room) == Some(Promise::Lounge);
        if is_of_users { Some(client) } else { self.uuids.get(client).copied() }
    }

    /// A client is in this room, or in any, no longer.
    fn leave(&mut self, client: &str, room: Option<&str>, at: u64) {
        let uuid = self.uuids.get(client).copied();
        let own = self
            .stays
            .iter_mut()
            .filter(|((of, who), _)| room.is_none_or(|room| room == *of) && (Some(*who) == uuid || *who == client));
        for last in own.filter_map(|(_, stays)| stays.last_mut()) {
            last.until = last.until.or(Some(at));
        }
    }

    fn tell(&mut self, client: &'a str, room: &'a str, uuid: &'a str, came: bool, when: u64, report: &mut Report) {
        if !self.open.contains_key(&(client, room)) {
            return;
        }
        report.count("joins and leaves told", 1);
        if let Some(node) = self.nodes.get(client) {
            self.heard.entry((node, room)).or_default().push(when);
        }
        if self.told.insert((client, room, uuid), came) == Some(came) {
            let what = if came { "came" } else { "left" };
            report.find(
                Verdict::WrongLeave,
                format!("{client} was told twice that {uuid} {what}, again at {}", at(when)),
            );
        }
    }

    /// Whether the node of one who watches a room since then surely knew at some time until `until` who was in it, and told
    /// from there on who came: it told somebody something, or nothing was broken for a moment.
    fn knew(&self, client: &str, room: &str, since: u64, until: u64, troubles: &Troubles) -> bool {
        let heard = self.nodes.get(client).and_then(|node| self.heard.get(&(*node, room)));
        heard.is_some_and(|heard| heard.iter().any(|at| (since..=until).contains(at)))
            || troubles.were_over(since, until)
    }

    /// Who was told last what is not so, or nothing of what it should know.
    fn end(&self, healed: u64, gone: u64, troubles: &Troubles, report: &mut Report) {
        let proves = |at: u64| {
            gone >= at.max(healed) + COMPARED_WITHIN || (gone >= at + TOLD_WITHIN && troubles.is_calm(at, at))
        };
        let (mut unproven, mut unknowable) = (0, 0);
        for ((client, room), since) in &self.open {
            let own = self.known_as(client, room);
            let others = self.stays.iter().filter(|((of, who), _)| of == room && Some(*who) != own);
            for ((_, who), stays) in others {
                let Some(last) = stays.last() else { continue };
                let told = self.told.get(&(*client, *room, *who)).copied();
                let wrong = match (told, last.until) {
                    (Some(false), None) => "is there, and it was told that it left",
                    (Some(true), Some(_)) => "is gone, and it was not told",
                    (None, None) => match came_after(stays, *since) {
                        Some(came) if self.knew(client, room, *since, came, troubles) => "came, and it was not told",
                        Some(_) => {
                            unknowable += 1;
                            continue;
                        }
                        None => continue,
                    },
                    (None, Some(_)) if was_known(stays, *since, troubles) => {
                        "was there before it, is gone, and it was not told"
                    }
                    _ => continue,
                };
                if proves(last.until.unwrap_or(last.from)) {
                    report.find(Verdict::WrongLeave, format!("{client} in {room}: {who} {wrong}"));
                } else {
                    unproven += 1;
                }
            }
        }
        report.count("joins and leaves not told yet", unproven);
        report.count("joins before it was known who was there", unknowable);
    }
}

/// When somebody came who was surely not there when another began to watch.
fn came_after(stays: &[Stay], since: u64) -> Option<u64> {
    let first = stays.iter().find(|stay| stay.lasts_beyond(since.saturating_sub(REMEMBERED)));
    first.map(|stay| stay.from).filter(|from| *from > since + AFTER)
}

/// Whether one who watches surely knew of somebody: nothing was broken when they met.
fn was_known(stays: &[Stay], since: u64, troubles: &Troubles) -> bool {
    stays.iter().any(|stay| {
        let met = stay.from.max(since);
        stay.lasts_beyond(met + AFTER) && troubles.is_calm(met, met)
    })
}
