//! Memory and CPU of connections that do nothing: each with a token and one subscription.

use std::time::{Duration, Instant};

use crate::node::{self, Programs};
use crate::publisher::Publisher;
use crate::report;
use crate::swarm::{Hello, Swarm};

/// The process has grown what it grows at start by then.
const FIRST: usize = 1_000;

/// How long allocations of the handshakes may take to go back.
const SETTLE: Duration = Duration::from_millis(1_500);

/// Longer than one ping interval (25 s), so that every connection was pinged once.
const WATCH: Duration = Duration::from_secs(50);

pub fn run(programs: &Programs, clients: usize) -> anyhow::Result<()> {
    anyhow::ensure!(clients > FIRST, "more than {FIRST} clients, please");
    let server = node::midplane(programs, "idle", "25s", None)?;
    let base = server.process.resident()?;
    let mut swarm = Swarm::new(Instant::now())?;
    let group = swarm.group(server.address, Hello::to("bench"))?;

    swarm.connect(group, FIRST)?;
    swarm.idle(SETTLE)?;
    let first = server.process.resident()?;
    swarm.connect(group, clients - FIRST)?;
    swarm.idle(SETTLE)?;
    let all = server.process.resident()?;

    let before = server.process.cpu()?;
    swarm.idle(WATCH)?;
    let idle_cpu = (server.process.cpu()? - before).as_secs_f64() * 1e6 / WATCH.as_secs_f64() / clients as f64;

    let mut publisher = Publisher::connect(server.address, "bench")?;
    for burst in 1..=3 {
        publisher.publish(16, 1024, 0)?;
        swarm.await_deliveries(group, burst * 16 * clients as u64)?;
    }
    swarm.idle(SETTLE)?;
    let after = server.process.resident()?;

    let slope = |resident: u64| (resident as f64 - first as f64) / (clients - FIRST) as f64;
    let kilobytes = slope(all) / 1000.0;
    report::table(
        &format!("idle: {clients} clients with a token and one subscription"),
        &["what", "measured", "budget", ""],
    );
    report::row(&[
        format!("RSS per connection (slope {FIRST} to {clients})"),
        format!("{kilobytes:.2} KB"),
        "3.0 KB".to_owned(),
        report::verdict(kilobytes, 3.0),
    ]);
    // The first thousand had its burst buffers in neither number.
    let grown = after.saturating_sub(base) as f64 / all.saturating_sub(base) as f64;
    report::row(&[
        "RSS after 3 bursts of 16 x 1 KB to all, against idle".to_owned(),
        format!("{grown:.2} x"),
        "1.6 x".to_owned(),
        report::verdict(grown, 1.6),
    ]);
    report::row(&[
        "CPU per connection, pinged every 25 s".to_owned(),
        format!("{idle_cpu:.2} us/s"),
        "0.7 us/s".to_owned(),
        report::verdict(idle_cpu, 0.7),
    ]);
    println!("\nprocess: {:.1} MB before any client, {:.1} MB with all\n", base as f64 / 1e6, all as f64 / 1e6);
    Ok(())
}
