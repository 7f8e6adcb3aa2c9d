//! Clients of Socket.IO that may come back: to the same socket, which has missed nothing, or to a new one.
//!
//! They know nothing of positions but what stands behind each event: how far they are in all of their rooms at a time.
//! Whoever is said to be somewhere without a doubt has everything that lies before, whichever of its rooms it is in.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::aftermath::Aftermath;
use super::publications::{Outcome, Publication, Publications};
use super::troubles::{AFTER, Troubles};
use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, Manifest, Position};
use crate::plan::{Fault, Target, data};

/// For how long nobody forgets a session (`world/sockets.toml`), with some time to say so.
const KEPT_FOR: u64 = 110_000_000;
/// Bytes of publications that surely fit into half a queue (`world/node.toml`).
const FITS: usize = 200 * 1024;

/// How far a client is, as it would say itself.
struct Stand {
    position: Position,
    doubtful: bool,
}

impl Stand {
    fn of(text: &str) -> Option<Self> {
        let (rest, doubtful) = text.strip_suffix('?').map_or((text, false), |rest| (rest, true));
        let (epoch, offset) = rest.strip_prefix("~mp")?.rsplit_once('.')?;
        let position = Position { offset: offset.parse().ok()?, epoch: epoch.to_owned() };
        Some(Self { position, doubtful })
    }
}

/// A client in one of its rooms, without having been told of a loss.
struct Stay {
    begun: u64,
    /// The lines that say that it is there: the first one, and one for each time that it came back.
    said: Vec<(usize, Option<u64>)>,
    /// The offset of the first that came.
    first: Option<u64>,
    /// What is healed comes without one; it is the same in all rooms.
    epoch: Option<String>,
}

/// The same lines, and where clients of Socket.IO were in their rooms when they said that they are there: before the first
/// that came, and before anything that was only then published.
pub fn placed(manifest: &Manifest, lines: &[Line], publications: &Publications) -> Vec<Line> {
    let aftermath = Aftermath::of(manifest, lines);
    let sockets: HashSet<&str> = manifest.scene.sockets.iter().map(|socket| socket.name.as_str()).collect();
    let mut stays: Vec<(&str, Stay)> = Vec::new();
    let mut open: HashMap<(&str, &str), usize> = HashMap::new();
    let mut stood: HashMap<&str, u64> = HashMap::new();
    for (number, line) in lines.iter().enumerate() {
        match &line.entry {
            Entry::Subscribed { client, channel, recovered, .. } if sockets.contains(client.as_str()) => {
                let key = (client.as_str(), channel.as_str());
                match open.get(&key).filter(|_| *recovered) {
                    Some(index) => stays[*index].1.said.push((number, stood.get(client.as_str()).copied())),
                    None => {
                        open.insert(key, stays.len());
                        let stay = Stay { begun: line.at, said: vec![(number, None)], first: None, epoch: None };
                        stays.push((channel, stay));
                    }
                }
            }
            Entry::Received { client, channel, stand: Some(stand), .. } => {
                let Some(Stand { position, .. }) = Stand::of(stand) else { continue };
                stood.insert(client, position.offset);
                for (_, index) in open.iter().filter(|((who, _), _)| who == client && !position.epoch.is_empty()) {
                    stays[*index].1.epoch.get_or_insert_with(|| position.epoch.clone());
                }
                if let Some(index) = open.get(&(client.as_str(), channel.as_str())) {
                    stays[*index].1.first.get_or_insert(position.offset);
                }
            }
            _ => {}
        }
    }
    let mut by_channel: HashMap<&str, Vec<&Publication>> = HashMap::new();
    for publication in publications.0.values() {
        by_channel.entry(&publication.channel).or_default().push(publication);
    }
    let mut lines = lines.to_vec();
    for (channel, Stay { begun, said, first, epoch }) in stays {
        let Some((first, here)) = first.zip(epoch) else { continue };
        let after =
            by_channel.get(channel).into_iter().flatten().filter_map(|publication| match &publication.outcome {
                Outcome::Acked { offset, epoch: Some(epoch), at } => {
                    let placed = *epoch == here && publication.began > begun && !aftermath.covers(*at);
                    offset.filter(|_| placed)
                }
                _ => None,
            });
        let before = after.chain([first]).min().map_or(0, |offset| offset.saturating_sub(1));
        for (number, stood) in said {
            let Entry::Subscribed { since, recovered, position, .. } = &mut lines[number].entry else { continue };
            let stands = Position { offset: stood.unwrap_or(before).max(before), epoch: here.clone() };
            *since = recovered.then(|| stands.clone());
            *position = Some(stands);
        }
    }
    lines
}

/// What one client said and heard.
#[derive(Default)]
struct Known<'a> {
    node: &'a str,
    left: u64,
    /// Up to where it was said to have everything, since it is this socket.
    whole: Option<Position>,
    /// The same of the socket that it was before.
    before: Option<Position>,
}

pub fn judge(
    manifest: &Manifest,
    lines: &[Line],
    publications: &Publications,
    troubles: &Troubles,
    report: &mut Report,
) {
    let aftermath = Aftermath::of(manifest, lines);
    let rooms: HashMap<&str, &[String]> =
        manifest.scene.sockets.iter().map(|socket| (socket.name.as_str(), socket.channels.as_slice())).collect();
    if rooms.is_empty() {
        return;
    }
    let excuses = Troubles::where_is(manifest, lines, keeps_sessions_away);
    let stored = Stored::of(publications);
    let mut all: HashMap<&str, Known<'_>> = HashMap::new();
    let (mut back, mut anew, mut doubtful) = (0, 0, 0);
    for line in lines {
        match &line.entry {
            Entry::Connected { client, node, .. } if rooms.contains_key(client.as_str()) => {
                let known = all.entry(client).or_default();
                known.node = node;
                known.before = known.whole.take();
            }
            Entry::Disconnected { client, .. } if rooms.contains_key(client.as_str()) => {
                all.entry(client).or_default().left = line.at;
            }
            Entry::CameBack { client, recovered: true, .. } => {
                let known = all.entry(client).or_default();
                known.whole = known.before.take();
                back += 1;
            }
            Entry::CameBack { client, stand, recovered: false } => {
                let Known { node, left, .. } = all.entry(client).or_default();
                anew += 1;
                let said = stand.as_deref().map(Stand::of);
                let is_doubtful = matches!(said, Some(None | Some(Stand { doubtful: true, .. })));
                doubtful += u64::from(is_doubtful);
                let too_much = stored.behind(said.flatten().map(|stand| stand.position).as_ref(), *left) > FITS;
                let in_time = line.at < *left + KEPT_FOR;
                let nothing_else = troubles.is_calm(*left, line.at) || excuses.is_calm(*left, line.at);
                if !is_doubtful && !too_much && in_time && nothing_else && line.at < aftermath.begins() {
                    let what = format!(
                        "{client} came to {node} at {}, gone since {}, with {stand:?}, and is another socket",
                        at(line.at),
                        at(*left)
                    );
                    report.find(Verdict::Needless, what);
                }
            }
            Entry::Received { client, channel, id, stand, .. } => {
                let Some(rooms) = rooms.get(client.as_str()) else { continue };
                if !rooms.contains(channel) {
                    report.find(Verdict::Phantom, format!("{client} got {id}, and is not in {channel}"));
                }
                let Some(stand) = stand.as_deref().and_then(Stand::of) else { continue };
                let known = all.entry(client).or_default();
                known.follow(client, id, stand, line.at, aftermath, report);
            }
            _ => {}
        }
    }
    report.count("sockets back", back);
    report.count("sockets anew", anew);
    report.count("sockets in doubt", doubtful);
}

impl Known<'_> {
    /// One more has come, in whichever room.
    fn follow(&mut self, client: &str, id: &str, stand: Stand, when: u64, aftermath: Aftermath, report: &mut Report) {
        let Stand { position, doubtful } = stand;
        let excused = aftermath.covers(when);
        if let Some(whole) = self.whole.as_ref().filter(|_| !excused) {
            let (when, Position { offset, epoch }) = (at(when), &position);
            if *epoch != whole.epoch && !doubtful {
                let what = format!("{client} at {when}: from epoch {} into {epoch}", whole.epoch);
                report.find(Verdict::Diverged, what);
            } else if *epoch == whole.epoch && *offset <= whole.offset {
                let whole = whole.offset;
                let what =
                    format!("{client} got {id} (offset {offset}) at {when}, and had all up to {whole}, it was told");
                report.find(Verdict::Reordered, what);
            }
        }
        if !doubtful {
            self.whole = Some(position);
        }
    }
}

/// Whether a session may be refused because of it: it is written in NATS, and what was missed is read there. A node that is
/// dead has nothing to do with it, and nothing is done to the links of these clients.
fn keeps_sessions_away(fault: &Fault) -> bool {
    match fault {
        Fault::Kill(Target::Node(_)) | Fault::Stop(Target::Node(_)) | Fault::Slow(_) => false,
        fault => fault.is_trouble(),
    }
}

/// What is stored in channels that may be rooms, of one epoch: its bytes by its offset, and when it was.
struct Stored(BTreeMap<u64, (u64, usize)>);

impl Stored {
    fn of(publications: &Publications) -> Self {
        let rooms = publications.0.iter().filter(|(_, publication)| publication.channel.starts_with("kept:"));
        let placed = rooms.filter_map(|(id, publication)| match &publication.outcome {
            Outcome::Acked { offset: Some(offset), at, .. } => {
                Some((*offset, (*at, data(&publication.channel, id).to_string().len())))
            }
            _ => None,
        });
        Self(placed.collect())
    }

    /// How many bytes may lie behind a position, or, where it is not known, behind what was stored then.
    fn behind(&self, position: Option<&Position>, left: u64) -> usize {
        let missed = self.0.iter().filter(|(offset, (at, _))| match position {
            Some(position) => **offset > position.offset,
            None => *at + AFTER > left,
        });
        missed.map(|(_, (_, bytes))| bytes).sum()
    }
}
