//! Channels with recovery: lost, doubled, reordered, diverged, phantom.
//!
//! What a client saw of a channel falls into **stretches**: each begins where it subscribed afresh or was told
//! `recovered: false`, and lasts over all reconnects until that happens again. In a stretch from offset `from` to `to`
//! everything that is stored between must have come, once and in order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use super::aftermath::Aftermath;
use super::epochs::{self, Epochs};
use super::hole::Hole;
use super::publications::{Outcome, Publications};
use super::{Report, Verdict, at};
use crate::journal::{Entry, How, Line, Manifest, Position};
use crate::plan::{Promise, data};

/// Bytes of publications that surely fit into one reply, which is half of a queue (`world/node.toml`).
const FITS: usize = 200 * 1024;

/// What one client saw of one channel without being told of a loss.
struct Stretch {
    client: String,
    channel: String,
    epoch: String,
    from: u64,
    /// Up to here nothing may be missing: by what came, or by what a reply said.
    to: u64,
    /// Of what came last.
    last: u64,
    received: BTreeMap<u64, Received>,
    begun: u64,
    ended: u64,
    /// What was wrong with the order of what came, and when.
    disorder: Vec<(u64, Verdict, String)>,
    /// The client was told that it goes on in another epoch.
    outlived: bool,
}

impl Stretch {
    /// What was seen before this time, as if it had ended with the last one that came.
    fn until(mut self, time: u64) -> Self {
        self.received.retain(|_, one| one.at < time);
        self.disorder.retain(|(at, ..)| *at < time);
        self.last = self.received.last_key_value().map_or(self.from, |(offset, _)| *offset);
        self.to = self.last;
        self.ended = self.received.values().map(|one| one.at).max().unwrap_or(self.begun);
        self
    }
}

/// One that came.
pub(super) struct Received {
    pub(super) id: String,
    pub(super) at: u64,
    pub(super) how: How,
}

pub fn judge(manifest: &Manifest, lines: &[Line], publications: &Publications, report: &mut Report) {
    let aftermath = Aftermath::of(manifest, lines);
    let all = gather(lines, report);
    let received = all.iter().map(|stretch| stretch.received.len() as u64).sum();
    let (excused, mut stretches): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|stretch| stretch.outlived && aftermath.covers(stretch.ended));
    let told = excused.len() as u64;
    stretches.extend(excused.into_iter().map(|stretch| stretch.until(aftermath.begins())));
    for (_, verdict, what) in stretches.iter_mut().flat_map(|stretch| stretch.disorder.drain(..)) {
        report.find(verdict, what);
    }
    let epochs = epochs::told(lines, publications, u64::MAX);
    let epochs_before = epochs::told(lines, publications, aftermath.begins());
    let (stored, unjudged) = stored((&epochs, &epochs_before), publications, &stretches, aftermath, report);
    let halves = halves(manifest);
    for stretch in &stretches {
        let Some(stored) = stored.get(&(stretch.channel.as_str(), stretch.epoch.as_str())) else { continue };
        let half = halves.get(stretch.client.as_str()).filter(|_| holds_all(&stretch.channel));
        let asked = |id: &str| half.is_none_or(|half| publications.is_of(id, half));
        let promised = stored.range((Bound::Excluded(stretch.from), Bound::Included(stretch.to)));
        let missing: Vec<(u64, &str)> = promised
            .filter(|(offset, id)| !stretch.received.contains_key(offset) && asked(id))
            .map(|(offset, id)| (*offset, *id))
            .collect();
        for hole in Hole::all(&missing, &stretch.received) {
            let Stretch { client, channel, from, to, begun, ended, .. } = stretch;
            let (begun, ended) = (at(*begun), at(*ended));
            report.count("lost", hole.size() as u64);
            report.find(
                Verdict::Lost,
                format!("{client} in {channel} never got {hole}; of {from}..{to}, between {begun} and {ended}"),
            );
        }
    }
    for stretch in stretches.iter().filter(|stretch| holds_all(&stretch.channel)) {
        let Some(half) = halves.get(stretch.client.as_str()) else { continue };
        for Received { id, .. } in stretch.received.values().filter(|one| !publications.is_of(&one.id, half)) {
            report.find(Verdict::Phantom, format!("{} got {id}, and asked for {half} ones", stretch.client));
        }
    }
    report.count("published", publications.0.len() as u64);
    report.count("stored", stored.values().map(|stored| stored.len() as u64).sum());
    report.count("unjudged", unjudged);
    report.count("received", received);
    report.count("told of a rollback", told);
    needless(lines, &epochs_before, &stored, aftermath, report);
}

/// Who asked only for a half of what is published, and for which.
fn halves(manifest: &Manifest) -> HashMap<&str, &str> {
    let filtered =
        manifest.scene.everybody().filter_map(|client| Some((client.name.as_str(), client.half.as_deref()?)));
    filtered.collect()
}

fn holds_all(channel: &str) -> bool {
    Promise::of(channel).is_some_and(Promise::holds_all)
}

/// The stretches; on the way what is wrong with the order of what came.
fn gather(lines: &[Line], report: &mut Report) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut open: HashMap<(&str, &str), usize> = HashMap::new();
    // Over all stretches of one epoch: who is told to go on from now never gets what lies before. A client of Socket.IO is
    // told of no position: another socket begins where its node is.
    let mut seen: HashSet<(&str, &str, String, &str, Option<usize>)> = HashSet::new();
    for line in lines {
        match &line.entry {
            Entry::Subscribed { client, channel, since, recovered, position: Some(position) } => {
                let key = (client.as_str(), channel.as_str());
                let goes_on = since.is_some() && *recovered;
                if let (true, Some(index)) = (goes_on, open.get(&key)) {
                    let stretch = &mut stretches[*index];
                    if stretch.epoch != position.epoch {
                        let (old, new) = (&stretch.epoch, &position.epoch);
                        let what =
                            format!("{client} in {channel} at {}: recovered from epoch {old} into {new}", at(line.at));
                        report.find(Verdict::Diverged, what);
                    }
                    stretch.ended = line.at;
                    if position.offset < stretch.last {
                        let (from, to) = (stretch.last, position.offset);
                        let asked = since.as_ref().map_or(0, |since| since.offset);
                        let what = format!(
                            "{client} in {channel} at {}: asked from {asked}, recovered from {from} to {to}",
                            at(line.at)
                        );
                        stretch.disorder.push((line.at, Verdict::Reordered, what));
                    }
                    // What is recovered follows; whether that is everything shows in the end.
                    stretch.to = stretch.to.max(position.offset);
                    continue;
                }
                let before = open.insert(key, stretches.len()).map(|index| &mut stretches[index]);
                let Position { offset, epoch } = position.clone();
                if let Some(before) = before {
                    before.outlived = before.epoch != epoch;
                    before.ended = line.at;
                }
                stretches.push(Stretch {
                    client: client.clone(),
                    channel: channel.clone(),
                    epoch,
                    from: offset,
                    to: offset,
                    last: offset,
                    received: BTreeMap::new(),
                    begun: line.at,
                    ended: line.at,
                    disorder: Vec::new(),
                    outlived: false,
                });
            }
            // Of a client of Socket.IO that heard nothing there from then on: what comes before is over.
            Entry::Subscribed { client, channel, position: None, .. } => {
                open.remove(&(client.as_str(), channel.as_str()));
            }
            Entry::Received { client, channel, id, offset: Some(offset), how, stand } => {
                let Some(index) = open.get(&(client.as_str(), channel.as_str())) else { continue };
                let stretch = &mut stretches[*index];
                let when = at(line.at);
                // A reply may name the top before what leads there.
                let behind = if *how == How::Recovered { stretch.last } else { stretch.to };
                let alone = stand.is_some().then_some(*index);
                let again = !seen.insert((client, channel, stretch.epoch.clone(), id, alone));
                if again && *offset > behind && Promise::of(channel) == Some(Promise::Short) {
                    // A server that starts again knows only the ids of what it still stores: a late repeat is another
                    // message then.
                    report.count("stored twice", 1);
                } else if again {
                    let what = format!("{client} got {id} twice, again at {when}");
                    stretch.disorder.push((line.at, Verdict::Doubled, what));
                } else if *offset <= behind {
                    let to = behind;
                    let what = format!("{client} got {id} (offset {offset}) behind {to}, at {when}");
                    stretch.disorder.push((line.at, Verdict::Reordered, what));
                }
                stretch.received.insert(*offset, Received { id: id.clone(), at: line.at, how: *how });
                stretch.last = stretch.last.max(*offset);
                stretch.to = stretch.to.max(*offset);
                stretch.ended = line.at;
            }
            _ => {}
        }
    }
    stretches
}

type Stored<'a> = HashMap<(&'a str, &'a str), BTreeMap<u64, &'a str>>;

/// Everything that is known to be stored, by channel and epoch, and how much cannot be placed: acknowledged by a stream,
/// which knows no epoch, in a run with several. The epochs are those of the whole run, and those before a rollback.
fn stored<'a>(
    (epochs, before): (&'a Epochs, &'a Epochs),
    publications: &'a Publications,
    stretches: &'a [Stretch],
    aftermath: Aftermath,
    report: &mut Report,
) -> (Stored<'a>, u64) {
    let mut stored: Stored<'a> = HashMap::new();
    let mut found = Vec::new();
    for stretch in stretches {
        for (offset, Received { id, .. }) in &stretch.received {
            let Some((id, publication)) = publications.0.get_key_value(id) else {
                report.find(Verdict::Phantom, format!("{} got {id}, which nobody published", stretch.client));
                continue;
            };
            if publication.channel != stretch.channel {
                let (client, channel) = (&stretch.client, &stretch.channel);
                report.find(Verdict::Phantom, format!("{client} got {id} of {} in {channel}", publication.channel));
            } else if publication.outcome == Outcome::Refused {
                report.find(Verdict::Phantom, format!("{} got {id}, which was refused", stretch.client));
            }
            found.push((stretch.channel.as_str(), stretch.epoch.as_str(), *offset, id.as_str()));
        }
    }
    let placed: HashSet<(&str, u64, &str)> =
        found.iter().map(|(channel, _, offset, id)| (*channel, *offset, *id)).collect();
    let mut unjudged = 0;
    for (id, publication) in &publications.0 {
        let Outcome::Acked { offset: Some(offset), epoch, at } = &publication.outcome else { continue };
        let channel = publication.channel.as_str();
        let only = || {
            let epochs = if *at < aftermath.begins() { before } else { epochs };
            let known = epochs.get(&Promise::of(channel)?)?;
            known.first().filter(|_| known.len() == 1).map(String::as_str)
        };
        match epoch.as_deref().or_else(only) {
            // Which life of the stream it belongs to shows only in what clients got.
            _ if aftermath.covers(*at) => unjudged += 1,
            Some(epoch) => found.push((channel, epoch, *offset, id)),
            None if placed.contains(&(channel, *offset, id.as_str())) => {}
            None => unjudged += 1,
        }
    }
    for (channel, epoch, offset, id) in found {
        let known = stored.entry((channel, epoch)).or_default().entry(offset).or_insert(id);
        if *known != id {
            report.find(Verdict::Diverged, format!("{channel} at {offset} of {epoch} is {known}, and {id}"));
        }
    }
    (stored, unjudged)
}

/// How many bytes of publications followed a position in all, whether the client had asked for them or not.
fn missed(stored: &Stored<'_>, channel: &str, since: &Position, stands: Option<&Position>) -> usize {
    let Some(all) = stored.get(&(channel, since.epoch.as_str())) else { return 0 };
    let up_to = stands.map_or(u64::MAX, |stands| stands.offset.max(since.offset));
    let behind = all.range((Bound::Excluded(since.offset), Bound::Included(up_to)));
    behind.map(|(_, id)| data(channel, id).to_string().len()).sum()
}

/// Recoveries that were refused, or epochs that changed, although the history holds the whole run: before any rollback.
fn needless(lines: &[Line], epochs: &Epochs, stored: &Stored<'_>, aftermath: Aftermath, report: &mut Report) {
    for (promise, epochs) in epochs {
        if epochs.len() > 1 {
            report.find(
                Verdict::Needless,
                format!("{promise:?} had the epochs {epochs:?}, and no store was rolled back"),
            );
        }
    }
    for line in lines.iter().take_while(|line| line.at < aftermath.begins()) {
        if let Entry::Subscribed { client, channel, since: Some(since), recovered: false, position } = &line.entry
            && Promise::of(channel).is_some_and(Promise::refuses_nobody)
            && missed(stored, channel, since, position.as_ref()) <= FITS
        {
            let when = at(line.at);
            report
                .find(Verdict::Needless, format!("{client} in {channel} at {when} was refused from {}", since.offset));
        }
    }
}
