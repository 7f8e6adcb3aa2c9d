//! Presence, joins and leaves.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, Phase};
use crate::plan::Promise;

/// A join or leave that was lost on its way is found when views are compared with the records, which is done every minute
/// at least. A run that ends sooner proves nothing by one that is missing.
const COMPARED_WITHIN: u64 = 75_000_000;

pub fn judge(lines: &[Line], report: &mut Report) {
    snapshots(lines, report);
    let mut watches = Watches::default();
    for line in lines {
        watches.follow(line, report);
    }
    watches.end(lines, report);
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
    /// Who was in a room, from when to when.
    stays: BTreeMap<(&'a str, &'a str), (u64, Option<u64>)>,
    uuids: HashMap<&'a str, &'a str>,
}

impl<'a> Watches<'a> {
    fn follow(&mut self, line: &'a Line, report: &mut Report) {
        match &line.entry {
            Entry::Connected { client, uuid, .. } => drop(self.uuids.insert(client, uuid)),
            Entry::Subscribed { client, channel, .. } if Promise::of(channel).is_some_and(Promise::has_presence) => {
                self.told.retain(|(who, room, _), _| (*who, *room) != (client, channel));
                self.open.insert((client, channel), line.at);
                let is_of_users = Promise::of(channel) == Some(Promise::Lounge);
                let known = if is_of_users { Some(client.as_str()) } else { self.uuids.get(client.as_str()).copied() };
                if let Some(who) = known {
                    self.stays.insert((channel, who), (line.at, None));
                }
            }
            Entry::Disconnected { client, .. } => {
                self.open.retain(|(who, _), _| *who != client);
                if let Some(uuid) = self.uuids.remove(client.as_str()) {
                    let own = self.stays.iter_mut().filter(|((_, who), _)| *who == uuid || who == client);
                    own.for_each(|(_, (_, until))| *until = until.or(Some(line.at)));
                }
            }
            Entry::Joined { client, channel, uuid } => self.tell(client, channel, uuid, true, line.at, report),
            Entry::Left { client, channel, uuid } => self.tell(client, channel, uuid, false, line.at, report),
            _ => {}
        }
    }

    fn tell(&mut self, client: &'a str, room: &'a str, uuid: &'a str, came: bool, when: u64, report: &mut Report) {
        if !self.open.contains_key(&(client, room)) {
            return;
        }
        report.count("joins and leaves told", 1);
        if self.told.insert((client, room, uuid), came) == Some(came) {
            let what = if came { "came" } else { "left" };
            report.find(
                Verdict::WrongLeave,
                format!("{client} was told twice that {uuid} {what}, again at {}", at(when)),
            );
        }
    }

    /// Who was told last what is not so.
    fn end(&self, lines: &[Line], report: &mut Report) {
        let phase = |wanted: Phase| {
            let begun = |line: &&Line| matches!(line.entry, Entry::PhaseBegan { phase } if phase == wanted);
            lines.iter().find(begun).map(|line| line.at)
        };
        let (Some(healed), Some(gone)) = (phase(Phase::Healed), phase(Phase::Gone)) else { return };
        let proves = gone.saturating_sub(healed) >= COMPARED_WITHIN;
        let mut unproven = 0;
        for ((client, room, uuid), came) in &self.told {
            let Some((_, until)) = self.stays.get(&(*room, *uuid)) else { continue };
            let is_there = until.is_none_or(|until| until >= gone);
            if *came == is_there || !self.open.contains_key(&(*client, *room)) {
                continue;
            }
            if proves {
                let what =
                    if is_there { "is there, and it was told that it left" } else { "is gone, and it was not told" };
                report.find(Verdict::WrongLeave, format!("{client} in {room}: {uuid} {what}"));
            } else {
                unproven += 1;
            }
        }
        report.count("leaves not told yet", unproven);
    }
}
