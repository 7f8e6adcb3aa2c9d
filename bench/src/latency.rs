//! How late publications are: from the time they were due to their arrival, across two nodes on one nats-server.
//!
//! Times stand on a schedule and go with the message (open loop): a server that stalls is charged for all that waits.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::nats::{self, NatsPublisher};
use crate::node::{self, Programs, Server};
use crate::publisher::Publisher;
use crate::report;
use crate::swarm::{GroupId, Hello, Swarm};
use crate::wire;

const SIZE: usize = 128;

/// Subscribers that hear every message, in the paths with many.
const MANY: usize = 1_000;

/// Frames of the paths with many, as the floor writes them: the data, and what names its publisher.
const FRAME: usize = 260;

/// What puts publications in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The floor: a loop that writes to every socket.
    Loop,
    /// NATS itself.
    Nats,
    /// A client at the other node.
    Client,
}

/// How a publication travels, and how often.
struct Path {
    name: &'static str,
    channel: &'static str,
    source: Source,
    subscribers: usize,
    per_second: u64,
}

const fn path(name: &'static str, channel: &'static str, source: Source, subscribers: usize) -> Path {
    Path { name, channel, source, subscribers, per_second: if subscribers == 1 { 500 } else { 60 } }
}

const PATHS: [Path; 6] = [
    path("NATS, node, client", "plain", Source::Nats, 1),
    path("client, node, NATS, node, client", "through", Source::Client, 1),
    path("the same, with history (JetStream)", "kept:through", Source::Client, 1),
    path("bare write, 1,000 clients", "floor", Source::Loop, MANY),
    path("client, node, NATS, node, 1,000 clients", "many", Source::Client, MANY),
    path("the same, with history (JetStream)", "kept:many", Source::Client, MANY),
];

/// Milliseconds at p50 and p99 that a path with many subscribers may take.
const BUDGET: (f64, f64) = (5.0, 15.0);

/// One path with its clients.
struct Line {
    group: GroupId,
    publisher: Option<Publisher>,
    number: u64,
}

/// What everything goes through.
struct Bench {
    swarm: Swarm,
    origin: Instant,
    nats: Server,
    core: NatsPublisher,
    floor: Server,
    _nodes: [Server; 2],
    lines: Vec<Line>,
}

pub fn run(programs: &Programs, seconds: u64, rounds: usize) -> anyhow::Result<()> {
    let mut bench = Bench::start(programs)?;
    let mut core: Histogram<u64> = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
    for _ in 0..rounds {
        core.add(bench.core_nats(seconds)?)?;
        for (index, path) in PATHS.iter().enumerate() {
            bench.publish(index, path.per_second * seconds)?;
        }
    }
    let title = format!("latency: ms from the scheduled time to the arrival, {SIZE} B, {rounds} rounds of {seconds} s");
    report::table(&title, &["path", "messages/s", "p50", "p99", "max", "p50 to its floor", "budget p50 / p99", ""]);
    print(&path("core NATS alone", "floor", Source::Nats, 1), &core, &core);
    let latency = |index: usize| &bench.swarm.of(bench.lines[index].group).latency;
    let bare = PATHS.iter().position(|path| path.source == Source::Loop).map_or(&core, latency);
    for (index, path) in PATHS.iter().enumerate() {
        print(path, latency(index), if path.subscribers == 1 { &core } else { bare });
    }
    println!();
    Ok(())
}

impl Bench {
    fn start(programs: &Programs) -> anyhow::Result<Self> {
        let nats = node::nats_server(programs)?;
        let near = node::midplane(programs, "near", node::NO_PINGS, Some(nats.address))?;
        let far = node::midplane(programs, "far", node::NO_PINGS, Some(nats.address))?;
        let floor = node::floor()?;
        let origin = Instant::now();
        let mut swarm = Swarm::new(origin)?;
        let mut lines = Vec::new();
        for path in &PATHS {
            let server = if path.source == Source::Loop { floor.address } else { far.address };
            let group = swarm.group(server, Hello::to(path.channel))?;
            swarm.connect(group, path.subscribers)?;
            let publisher = match path.source {
                Source::Client => Some(Publisher::connect(near.address, path.channel)?),
                Source::Loop | Source::Nats => None,
            };
            lines.push(Line { group, publisher, number: 0 });
        }
        let core = NatsPublisher::connect(nats.address)?;
        let mut bench = Self { swarm, origin, nats, core, floor, _nodes: [near, far], lines };
        // Once without counting: streams are opened, buffers grow.
        for index in 0..PATHS.len() {
            bench.publish(index, 1)?;
            bench.swarm.of_mut(bench.lines[index].group).latency.reset();
        }
        Ok(bench)
    }

    fn core_nats(&mut self, seconds: u64) -> anyhow::Result<Histogram<u64>> {
        let count = 500 * seconds;
        let reader = nats::subscribe(self.nats.address, "floor", self.origin, count)?;
        on_schedule(self.origin, 500, count, |time| self.core.publish("floor", &wire::data(0, time, SIZE)))?;
        reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?
    }

    /// Publishes `count` messages on their schedule and waits for all of them.
    fn publish(&mut self, index: usize, count: u64) -> anyhow::Result<()> {
        let Self { swarm, origin, core, floor, lines, .. } = self;
        let (path, line) = (&PATHS[index], &mut lines[index]);
        let group = line.group;
        let total = swarm.of(group).deliveries + count * path.subscribers as u64;
        let subject = format!("midplane.pub._.{}", path.channel);
        std::thread::scope(|scope| {
            // Publishing has a thread of its own: epoll wakes by the millisecond only.
            let publishing = scope.spawn(move || {
                on_schedule(*origin, path.per_second, count, |time| {
                    line.number += 1;
                    match (&mut line.publisher, path.source) {
                        (Some(publisher), _) => publisher.publish(1, SIZE, time),
                        (None, Source::Loop) => node::write_through(&mut floor.process, 1, FRAME, time),
                        (None, _) => core.publish(&subject, &wire::data(line.number, time, SIZE)),
                    }
                })
            });
            let arrived = swarm.await_deliveries(group, total);
            publishing.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
            arrived
        })
    }
}

/// Calls `publish` with each time that is due, in nanoseconds since `origin`, when it has come.
fn on_schedule(
    origin: Instant,
    per_second: u64,
    count: u64,
    mut publish: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let period = Duration::from_secs(1) / u32::try_from(per_second)?;
    let begun = origin.elapsed();
    for index in 0..count {
        let due = begun + period * u32::try_from(index)?;
        std::thread::sleep(due.saturating_sub(origin.elapsed()));
        publish(due.as_nanos() as u64)?;
    }
    Ok(())
}

/// The quantile in milliseconds.
fn at(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1e6
}

fn print(path: &Path, latency: &Histogram<u64>, floor: &Histogram<u64>) {
    let (p50, p99) = (at(latency, 0.5), at(latency, 0.99));
    let held = path.subscribers == MANY && path.source == Source::Client;
    let (most50, most99) = BUDGET;
    let verdict = if p50 > most50 { report::verdict(p50, most50) } else { report::verdict(p99, most99) };
    report::row(&[
        path.name.to_owned(),
        path.per_second.to_string(),
        format!("{p50:.3}"),
        format!("{p99:.3}"),
        format!("{:.1}", at(latency, 1.0)),
        format!("{:.1} x", p50 / at(floor, 0.5)),
        if held { format!("{most50} / {most99}") } else { "-".to_owned() },
        if held { verdict } else { String::new() },
    ]);
}
