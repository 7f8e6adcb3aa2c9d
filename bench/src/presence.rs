//! Many clients in one channel with presence: how soon another node sees them, what reading it costs, and how soon
//! they are gone when their node dies.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::node::{self, Programs};
use crate::report;
use crate::swarm::{Hello, Swarm};

const CHANNEL: &str = "room:hall";
/// Calls of each method that are timed.
const CALLS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(programs: &Programs, clients: usize) -> anyhow::Result<()> {
    let nats = node::nats_server(programs)?;
    let mut near = node::midplane(programs, "near", node::NO_PINGS, Some(nats.address))?;
    let far = node::midplane(programs, "far", node::NO_PINGS, Some(nats.address))?;
    let origin = Instant::now();
    let mut swarm = Swarm::new(origin)?;
    let crowd = swarm.group(near.address, Hello::to(CHANNEL))?;
    let (cpu, nats_cpu) = (near.process.cpu()?, nats.process.cpu()?);
    swarm.connect(crowd, clients)?;
    let lag = until(far.address, clients)?;
    let cost = |spent: Duration| format!("{:.0} us", spent.as_secs_f64() * 1e6 / clients as f64);
    let (cpu, nats_cpu) = (near.process.cpu()? - cpu, nats.process.cpu()? - nats_cpu);

    report::table(
        &format!("presence: {clients} clients in one channel, seen from another node"),
        &["what", "measured"],
    );
    let row = |what: &str, measured: String| report::row(&[what.to_owned(), measured]);
    row("CPU of their node for each client that comes, connecting included", cost(cpu));
    row("CPU of nats-server for each", cost(nats_cpu));
    row("all seen after the last one subscribed", format!("{:.0} ms", lag.as_secs_f64() * 1e3));
    row("`presence`, read from the records (p50 / p99)", times(far.address, "presence")?);
    row("`presence_stats`, the same", times(far.address, "presence_stats")?);

    // Somebody who is told of joins and leaves makes the other node keep a view.
    let before = far.process.resident()?;
    let ear = swarm.group(far.address, Hello::Subscribe(vec![json!({ "channel": CHANNEL, "join_leave": true })]))?;
    swarm.connect(ear, 1)?;
    row("`presence` from the view of a node where somebody listens", times(far.address, "presence")?);
    row("`presence_stats`, the same", times(far.address, "presence_stats")?);
    let grown = far.process.resident()?.saturating_sub(before);
    row("memory of that view, for each client", format!("{:.0} B", grown as f64 / clients as f64));

    // The swarm would take the closed connections of the dead node for failures.
    drop(swarm);
    near.process.child().kill().context("kill")?;
    let gone = until(far.address, 0)?;
    let detection = node::DETECTION_SECONDS;
    row(
        &format!("all gone after their node was killed (noticed after {detection} s)"),
        format!("{:.1} s", gone.as_secs_f64()),
    );
    println!();
    Ok(())
}

/// How long it takes until a node sees so many.
fn until(node: SocketAddr, clients: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    loop {
        let stats = node::api(node, "presence_stats", &json!({ "channel": CHANNEL }))?;
        let seen = stats["result"]["num_clients"].as_u64().unwrap_or_default();
        if seen == clients as u64 {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < PATIENCE, "{seen} of {clients} clients are seen after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn times(node: SocketAddr, method: &str) -> anyhow::Result<String> {
    let mut times: Histogram<u64> = Histogram::new(3)?;
    let mut size = 0;
    for _ in 0..CALLS {
        let begun = Instant::now();
        let answer: Value = node::api(node, method, &json!({ "channel": CHANNEL }))?;
        times.record(begun.elapsed().as_micros() as u64)?;
        size = answer.to_string().len();
    }
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    Ok(format!("{:.1} / {:.1} ms, {size} B", at(0.5), at(0.99)))
}
