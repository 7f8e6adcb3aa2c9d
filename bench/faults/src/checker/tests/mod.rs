//! Hand-made histories: the checker must be able to find each thing, and to stay silent where all is well.

mod deliveries;
mod kinds;
mod members;
mod orders;
mod others;
mod proof;
mod revoked;
mod sockets;
mod untold;

use super::{Report, UP, Verdict, judge, judge_whole};
use crate::journal::{Entry, How, Line, Manifest, Phase, Position, Via};
use crate::plan::{Listener, Promise, Scene, Step};

/// A history as it is made up: each entry half a second after the one before.
#[derive(Default)]
struct History {
    entries: Vec<Entry>,
    steps: Vec<Step>,
    calm: bool,
    sockets: Vec<Listener>,
}

const ROOM: &str = "room:c0";

impl History {
    /// One node, and ada in `channel`, standing at 0.
    fn of(channel: &str) -> Self {
        let mut history = Self::default();
        history.add(Entry::NodeStarted { node: "one".to_owned(), life: 1 });
        history.connect("ada", channel);
        history
    }

    fn add(&mut self, entry: Entry) -> &mut Self {
        self.entries.push(entry);
        self
    }

    fn connect(&mut self, client: &str, channel: &str) -> &mut Self {
        self.connected(client).subscribe(client, channel, None, 0)
    }

    fn connected(&mut self, client: &str) -> &mut Self {
        let uuid = format!("id of {client}");
        self.add(Entry::Connected { client: client.to_owned(), node: "one".to_owned(), uuid })
    }

    fn disconnect(&mut self, client: &str) -> &mut Self {
        self.add(Entry::Disconnected { client: client.to_owned(), code: 0, reason: String::new() })
    }

    /// `since` with whether it was recovered.
    fn subscribe(&mut self, client: &str, channel: &str, since: Option<(u64, bool)>, offset: u64) -> &mut Self {
        let keeps = Promise::of(channel).is_some_and(Promise::recovers);
        self.add(Entry::Subscribed {
            client: client.to_owned(),
            channel: channel.to_owned(),
            since: since.map(|(offset, _)| position(offset)),
            recovered: since.is_some_and(|(_, recovered)| recovered),
            position: keeps.then(|| position(offset)),
        })
    }

    /// Published and acknowledged; the id is the channel and the offset.
    fn publish(&mut self, channel: &str, offset: u64) -> &mut Self {
        let id = format!("{channel}-{offset}");
        self.begin(channel, &id, Via::Http);
        let keeps = Promise::of(channel).is_some_and(Promise::recovers);
        let epoch = keeps.then(|| "e".to_owned());
        self.add(Entry::PublishAcked { id, offset: keeps.then_some(offset), epoch })
    }

    fn begin(&mut self, channel: &str, id: &str, via: Via) -> &mut Self {
        self.add(Entry::PublishBegan { id: id.to_owned(), channel: channel.to_owned(), via })
    }

    fn receive(&mut self, client: &str, channel: &str, offset: u64) -> &mut Self {
        self.receive_id(client, channel, &format!("{channel}-{offset}"), offset)
    }

    fn receive_id(&mut self, client: &str, channel: &str, id: &str, offset: u64) -> &mut Self {
        self.get(client, channel, id, offset, How::Live)
    }

    fn recover(&mut self, client: &str, channel: &str, offset: u64) -> &mut Self {
        self.get(client, channel, &format!("{channel}-{offset}"), offset, How::Recovered)
    }

    fn get(&mut self, client: &str, channel: &str, id: &str, offset: u64, how: How) -> &mut Self {
        self.add(Entry::Received {
            client: client.to_owned(),
            channel: channel.to_owned(),
            id: id.to_owned(),
            offset: Promise::of(channel).is_some_and(Promise::recovers).then_some(offset),
            how,
            stand: None,
        })
    }

    /// The only node knows that all are there, unless the values say otherwise.
    fn scrape(&mut self, phase: Phase, resident: u64, values: &[(&str, f64)]) -> &mut Self {
        let values: Vec<_> = [(UP, 1.0)].iter().chain(values).copied().collect();
        self.scrape_of("one", phase, resident, &values)
    }

    fn scrape_of(&mut self, node: &str, phase: Phase, resident: u64, values: &[(&str, f64)]) -> &mut Self {
        self.add(Entry::Scraped {
            phase,
            node: node.to_owned(),
            life: 1,
            resident,
            descriptors: 20,
            values: values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        })
    }

    fn phase(&mut self, phase: Phase) -> &mut Self {
        self.add(Entry::PhaseBegan { phase })
    }

    /// Judged, once everybody has gone; nobody waits for a last publication unless the scene says so.
    fn judged(&mut self) -> Report {
        self.phase(Phase::Gone);
        self.judged_with(Vec::new())
    }

    fn judged_with(&self, clients: Vec<Listener>) -> Report {
        let (manifest, lines) = self.written(clients);
        judge(&manifest, &lines)
    }

    fn written(&self, clients: Vec<Listener>) -> (Manifest, Vec<Line>) {
        let channels = clients.iter().flat_map(|client| client.channels.clone()).collect();
        let scene =
            Scene { channels, clients, sdk: Vec::new(), sockets: self.sockets.clone(), pace_ms: 10, seconds: 1 };
        let manifest = Manifest { seed: 0, scene, steps: self.steps.clone(), patience: 1, calm: self.calm };
        let line = |(number, entry): (usize, &Entry)| Line { at: 500_000 * number as u64, entry: entry.clone() };
        (manifest, self.entries.iter().enumerate().map(line).collect())
    }
}

fn position(offset: u64) -> Position {
    Position { offset, epoch: "e".to_owned() }
}
