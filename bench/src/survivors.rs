//! A node of three dies under publishing, and all its clients come to the two that are left at once and recover; meanwhile
//! those two go on delivering.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::node::{self, Programs, Server};
use crate::publisher::Publisher;
use crate::report::{self, Spread};
use crate::swarm::{Comeback, Hello, SentAway, Swarm};

/// Channels that the dead node's clients are in.
const CHANNELS: usize = 100;
/// Publications that each of them misses.
const MISSED: usize = 10;
/// What is published meanwhile at the survivors, each second.
const PER_SECOND: u64 = 200;
const SIZE: usize = 128;

/// What one death led to.
struct Outcome {
    /// Readings of the stream for each channel and node.
    reads: f64,
    /// Of deliveries, before and meanwhile.
    quiet: Histogram<u64>,
    storm: Histogram<u64>,
    comeback: Comeback,
}

impl Outcome {
    fn per_second(&self) -> f64 {
        self.comeback.took.len() as f64 / (at(&self.comeback.took, 1.0) / 1e3)
    }

    fn in_vain(&self, why: SentAway) -> f64 {
        self.comeback.in_vain.iter().filter(|&&it| it == why).count() as f64
    }
}

pub fn run(programs: &Programs, clients: usize, rounds: usize) -> anyhow::Result<()> {
    let mut outcomes = Vec::new();
    // A death takes a cluster of its own, and as long as all of a round elsewhere.
    for _ in 0..rounds.clamp(1, 3) {
        outcomes.push(one(programs, clients)?);
    }
    let title = format!("survivors: {clients} clients of a killed node, in {CHANNELS} channels, recover at two others");
    report::table(&title, &["what", "least / median / greatest"]);
    let of = |value: &dyn Fn(&Outcome) -> f64| Spread::of(&outcomes.iter().map(value).collect::<Vec<_>>()).to_string();
    let row = |what: &str, spread: String| report::row(&[what.to_owned(), spread]);
    row("recovered clients per second, handshakes with a token included", of(&Outcome::per_second));
    row("half of them were back after, ms", of(&|it| at(&it.comeback.took, 0.5)));
    row("the last one, ms", of(&|it| at(&it.comeback.took, 1.0)));
    row("attempts answered 503", of(&|it| it.in_vain(SentAway::Refused)));
    row("attempts ended for the moment", of(&|it| it.in_vain(SentAway::ForTheMoment)));
    row("attempts cut, or without an answer in 5 s", of(&|it| it.in_vain(SentAway::Cut) + it.in_vain(SentAway::Late)));
    row("reads of the stream for each channel and node", of(&|it| it.reads));
    row("p99 of deliveries from one survivor to the other before, ms", of(&|it| at(&it.quiet, 0.99)));
    row("p99 of them while all recover, ms", of(&|it| at(&it.storm, 0.99)));
    println!("\nAll clients, nodes and nats-server share this machine's cores.\n");
    Ok(())
}

fn one(programs: &Programs, clients: usize) -> anyhow::Result<Outcome> {
    let nats = node::nats_server(programs)?;
    let start = |name| node::midplane(programs, name, node::NO_PINGS, Some(nats.address));
    let (mut dying, left) = (start("dying")?, [start("one")?, start("other")?]);
    let channels: Vec<_> = (0..CHANNELS).map(|number| format!("kept:c.{number}")).collect();
    let origin = Instant::now();
    let mut crowd = Swarm::new(origin)?;
    let wishes = channels.iter().map(|channel| json!({ "channel": channel })).collect();
    let group = crowd.group(dying.address, Hello::Subscribe(wishes))?;
    crowd.connect(group, clients)?;
    let wishes = positions(&left[0], &channels)?;

    let mut swarm = Swarm::new(origin)?;
    let ear = swarm.group(left[1].address, Hello::to("through"))?;
    swarm.connect(ear, 1)?;
    let mut publisher = Publisher::connect(left[0].address, "through")?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| publish(&mut publisher, origin, &over));
        let measured = measured(
            &mut swarm,
            ear,
            &left,
            || {
                // Its clients' sockets die with it; they are not asked any more, and their descriptors are wanted again.
                dying.process.child().kill().context("kill")?;
                drop(crowd);
                for channel in &channels {
                    for number in 0..MISSED {
                        node::api(
                            left[0].address,
                            "publish",
                            &json!({ "channel": channel, "data": { "n": number, "t": 0 } }),
                        )?;
                    }
                }
                Ok(wishes)
            },
            clients,
        );
        over.store(true, Ordering::Relaxed);
        publishing.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
        measured
    })
}

/// Measures deliveries while nothing happens, then the storm.
fn measured(
    swarm: &mut Swarm,
    ear: crate::swarm::GroupId,
    left: &[Server; 2],
    kill: impl FnOnce() -> anyhow::Result<Vec<serde_json::Value>>,
    clients: usize,
) -> anyhow::Result<Outcome> {
    swarm.idle(Duration::from_secs(1))?;
    swarm.of_mut(ear).latency.reset();
    swarm.idle(Duration::from_secs(3))?;
    let quiet = swarm.of(ear).latency.clone();
    let wishes = kill()?;
    swarm.idle(Duration::from_millis(200))?;
    let reads = || -> anyhow::Result<f64> {
        let name = "midplane_recovery_duration_seconds_count{source=\"stream\"";
        left.iter().map(|node| node::metric(node.address, name)).sum()
    };
    let before = reads()?;
    swarm.of_mut(ear).latency.reset();
    let groups = [
        swarm.group(left[0].address, Hello::Subscribe(wishes.clone()))?,
        swarm.group(left[1].address, Hello::Subscribe(wishes))?,
    ];
    let comeback = swarm.come_back(&groups, clients / 2)?;
    let storm = swarm.of(ear).latency.clone();
    let recovered: usize = groups.iter().map(|group| swarm.of(*group).recovered).sum();
    ensure!(recovered == clients / 2 * 2, "{recovered} of {clients} clients recovered");
    let reads = (reads()? - before) / (2 * CHANNELS) as f64;
    Ok(Outcome { quiet, storm, reads, comeback })
}

/// Where each channel stands, as its subscribers know it.
fn positions(node: &Server, channels: &[String]) -> anyhow::Result<Vec<serde_json::Value>> {
    let wish = |channel: &String| {
        let history = node::api(node.address, "history", &json!({ "channel": channel }))?;
        let (offset, epoch) = (&history["result"]["offset"], &history["result"]["epoch"]);
        Ok(json!({ "channel": channel, "recover": true, "offset": offset, "epoch": epoch }))
    };
    channels.iter().map(wish).collect()
}

fn publish(publisher: &mut Publisher, origin: Instant, over: &AtomicBool) -> anyhow::Result<()> {
    let (begun, period) = (origin.elapsed(), Duration::from_secs(1) / PER_SECOND as u32);
    for index in 0_u32.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let due = begun + period * index;
        std::thread::sleep(due.saturating_sub(origin.elapsed()));
        publisher.publish(1, SIZE, due.as_nanos() as u64)?;
    }
    Ok(())
}

/// The quantile in milliseconds.
fn at(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1e6
}
