//! How soon all nodes of a cluster agree on what became of one: that it came, drains, left, came back, or was killed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::node::{self, Programs, Server};
use crate::report::{self, Spread};

/// How often everybody is asked.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(30);

const WAYS: [&str; 3] = ["a node that came", "a node that was told to stop and left", "a node that was killed"];

pub fn run(programs: &Programs, rounds: usize) -> anyhow::Result<()> {
    let nats = node::nats_server(programs)?;
    let start = |name: &str| node::midplane(programs, name, node::NO_PINGS, Some(nats.address));
    let all = [start("one")?, start("two")?];
    agree(&all, 2)?;
    let mut times = [const { Vec::new() }; WAYS.len()];
    for _ in 0..rounds {
        let leaves = start("three")?;
        times[0].push(agree(&all, 3)?);
        leaves.process.stop()?;
        times[1].push(agree(&all, 2)?);
        let mut dies = start("four")?;
        times[0].push(agree(&all, 3)?);
        dies.process.child().kill().context("kill")?;
        times[2].push(agree(&all, 2)?);
    }
    let detection = node::DETECTION_SECONDS;
    report::table(
        &format!("members: how soon two nodes agree on the third, failure detection {detection} s"),
        &["what", "least / median / greatest, s"],
    );
    for (way, times) in WAYS.iter().zip(&times) {
        report::row(&[(*way).to_owned(), Spread::of(times).to_string()]);
    }
    println!();
    Ok(())
}

/// Seconds until every node counts so many that are up and none that drains; one that comes has just said that it is ready.
fn agree(nodes: &[Server], up: usize) -> anyhow::Result<f64> {
    let asked = Instant::now();
    let counted =
        |node: &Server, state| node::metric(node.address, &format!("midplane_cluster_nodes{{state=\"{state}\"}}"));
    loop {
        let mut agreed = true;
        for node in nodes {
            agreed &= counted(node, "up")? == up as f64 && counted(node, "draining")? == 0.0;
        }
        if agreed {
            return Ok(asked.elapsed().as_secs_f64());
        }
        ensure!(asked.elapsed() < PATIENCE, "nodes do not agree on {up} after {PATIENCE:?}");
        std::thread::sleep(LOOK);
    }
}
