//! A node of three dies under publishing, and all its clients recover at the two that are left, in no more time than
//! handshakes take; meanwhile those two go on delivering.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::node::{self, Programs, Server};
use crate::publisher::Publisher;
use crate::report::{self, Spread};
use crate::swarm::{Hello, Swarm};

/// Channels that the dead node's clients are in.
const CHANNELS: usize = 100;
/// Publications that each of them misses.
const MISSED: usize = 10;
/// What is published meanwhile at the survivors, each second.
const PER_SECOND: u64 = 200;
const SIZE: usize = 128;

/// What one death led to.
struct Outcome {
    per_second: f64,
    reads: f64,
    quiet: Histogram<u64>,
    storm: Histogram<u64>,
}

pub fn run(programs: &Programs, clients: usize, rounds: usize) -> anyhow::Result<()> {
    let mut outcomes = Vec::new();
    // A death takes a cluster of its own, and as long as all of a round elsewhere.
    for _ in 0..rounds.clamp(1, 3) {
        outcomes.push(one(programs, clients)?);
    }
    let title = format!("survivors: {clients} clients of a killed node, in {CHANNELS} channels, recover at two others");
    report::table(&title, &["what", "least / median / greatest"]);
    let of = |value: fn(&Outcome) -> f64| Spread::of(&outcomes.iter().map(value).collect::<Vec<_>>()).to_string();
    let row = |what: &str, spread: String| report::row(&[what.to_owned(), spread]);
    row("recovered clients per second, handshakes with a token included", of(|it| it.per_second));
    row("reads of the stream for each channel and node", of(|it| it.reads));
    row("p99 of deliveries from one survivor to the other before, ms", of(|it| at(&it.quiet, 0.99)));
    row("p99 of them while all recover, ms", of(|it| at(&it.storm, 0.99)));
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
    let (quiet, (storm, per_second, reads)) = std::thread::scope(|scope| -> anyhow::Result<_> {
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
    })?;
    Ok(Outcome { per_second, reads, quiet, storm })
}

type Measured = (Histogram<u64>, (Histogram<u64>, f64, f64));

/// The latency of deliveries while nothing happens, then the storm: the latency meanwhile, clients per second, reads.
fn measured(
    swarm: &mut Swarm,
    ear: crate::swarm::GroupId,
    left: &[Server; 2],
    kill: impl FnOnce() -> anyhow::Result<Vec<serde_json::Value>>,
    clients: usize,
) -> anyhow::Result<Measured> {
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
    let begun = Instant::now();
    for _ in 0..10 {
        for group in groups {
            swarm.connect(group, clients / 20)?;
        }
    }
    let took = begun.elapsed();
    let recovered: usize = groups.iter().map(|group| swarm.of(*group).recovered).sum();
    ensure!(recovered == clients / 20 * 20, "{recovered} of {clients} clients recovered");
    let storm = swarm.of(ear).latency.clone();
    let reads = (reads()? - before) / (2 * CHANNELS) as f64;
    Ok((quiet, (storm, recovered as f64 / took.as_secs_f64(), reads)))
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
