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

/// How a publication travels, and how often.
struct Path {
    name: &'static str,
    channel: &'static str,
    /// Straight into NATS; else through the other node, by a client.
    plain: bool,
    subscribers: usize,
    per_second: u64,
    /// Milliseconds at p50 and p99.
    budget: Option<(f64, f64)>,
}

const PATHS: [Path; 5] = [
    Path { name: "NATS, node, client", channel: "plain", plain: true, subscribers: 1, per_second: 500, budget: None },
    Path {
        name: "client, node, NATS, node, client",
        channel: "through",
        plain: false,
        subscribers: 1,
        per_second: 500,
        budget: None,
    },
    Path {
        name: "the same, with history (JetStream)",
        channel: "kept:through",
        plain: false,
        subscribers: 1,
        per_second: 500,
        budget: None,
    },
    Path {
        name: "client, node, NATS, node, 1,000 clients",
        channel: "many",
        plain: false,
        subscribers: 1_000,
        per_second: 60,
        budget: Some((5.0, 15.0)),
    },
    Path {
        name: "the same, with history (JetStream)",
        channel: "kept:many",
        plain: false,
        subscribers: 1_000,
        per_second: 60,
        budget: Some((5.0, 15.0)),
    },
];

/// One path with its clients.
struct Line {
    group: GroupId,
    publisher: Option<Publisher>,
    number: u64,
}

pub fn run(programs: &Programs, seconds: u64, rounds: usize) -> anyhow::Result<()> {
    let nats = node::nats_server(programs)?;
    let near = node::midplane(programs, "near", Some(nats.address))?;
    let far = node::midplane(programs, "far", Some(nats.address))?;
    let origin = Instant::now();
    let mut swarm = Swarm::new(origin)?;
    let mut lines = Vec::new();
    for path in &PATHS {
        let group = swarm.group(far.address, Hello::Subscribe(path.channel.to_owned()))?;
        swarm.connect(group, path.subscribers)?;
        let publisher = if path.plain { None } else { Some(Publisher::connect(near.address, path.channel)?) };
        lines.push(Line { group, publisher, number: 0 });
    }
    let mut core = NatsPublisher::connect(nats.address)?;
    // Once without counting: streams are opened, buffers grow.
    for (path, line) in PATHS.iter().zip(&mut lines) {
        round(path, line, &mut swarm, &mut core, origin, 1)?;
        swarm.of_mut(line.group).latency.reset();
    }
    let mut floor: Histogram<u64> = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
    for _ in 0..rounds {
        floor.add(round_of_core_nats(&nats, &mut core, origin, seconds)?)?;
        for (path, line) in PATHS.iter().zip(&mut lines) {
            round(path, line, &mut swarm, &mut core, origin, seconds)?;
        }
    }
    let title = format!("latency: ms from the scheduled time to the arrival, {SIZE} B, {rounds} rounds of {seconds} s");
    report::table(&title, &["path", "messages/s", "p50", "p99", "max", "p50 to core NATS", "budget p50 / p99", ""]);
    let base = at(&floor, 0.5);
    print("core NATS alone", 500, &floor, base, None);
    for (path, line) in PATHS.iter().zip(&lines) {
        print(path.name, path.per_second, &swarm.of(line.group).latency, base, path.budget);
    }
    println!();
    Ok(())
}

fn round_of_core_nats(
    nats: &Server,
    core: &mut NatsPublisher,
    origin: Instant,
    seconds: u64,
) -> anyhow::Result<Histogram<u64>> {
    let count = 500 * seconds;
    let reader = nats::subscribe(nats.address, "floor", origin, count)?;
    let period = Duration::from_secs(1) / 500;
    let begun = origin.elapsed();
    for number in 0..count {
        let due = begun + period * u32::try_from(number)?;
        std::thread::sleep(due.saturating_sub(origin.elapsed()));
        core.publish("floor", &wire::data(number, due.as_nanos() as u64, SIZE))?;
    }
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?
}

fn round(
    path: &Path,
    line: &mut Line,
    swarm: &mut Swarm,
    core: &mut NatsPublisher,
    origin: Instant,
    seconds: u64,
) -> anyhow::Result<()> {
    let count = path.per_second * seconds;
    let period = Duration::from_secs(1) / u32::try_from(path.per_second)?;
    let total = swarm.of(line.group).deliveries + count * path.subscribers as u64;
    let begun = origin.elapsed();
    let subject = format!("midplane.pub._.{}", path.channel);
    std::thread::scope(|scope| {
        // Publishing has a thread of its own: epoll wakes by the millisecond only.
        let publishing = scope.spawn(|| -> anyhow::Result<()> {
            for index in 0..count {
                let due = begun + period * u32::try_from(index)?;
                std::thread::sleep(due.saturating_sub(origin.elapsed()));
                let time = due.as_nanos() as u64;
                match &mut line.publisher {
                    Some(publisher) => publisher.publish(1, SIZE, time)?,
                    None => core.publish(&subject, &wire::data(line.number, time, SIZE))?,
                }
                line.number += 1;
            }
            Ok(())
        });
        let arrived = swarm.await_deliveries(line.group, total);
        publishing.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
        arrived
    })
}

/// The quantile in milliseconds.
fn at(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1e6
}

fn print(name: &str, per_second: u64, latency: &Histogram<u64>, base: f64, budget: Option<(f64, f64)>) {
    let (p50, p99) = (at(latency, 0.5), at(latency, 0.99));
    let verdict = budget.map_or(String::new(), |(most50, most99)| {
        if p50 <= most50 { report::verdict(p99, most99) } else { report::verdict(p50, most50) }
    });
    report::row(&[
        name.to_owned(),
        per_second.to_string(),
        format!("{p50:.3}"),
        format!("{p99:.3}"),
        format!("{:.1}", at(latency, 1.0)),
        format!("{:.1} x", p50 / base),
        budget.map_or("-".to_owned(), |(most50, most99)| format!("{most50} / {most99}")),
        verdict,
    ]);
}
