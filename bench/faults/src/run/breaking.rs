//! Injects the faults of a schedule, and mends them.

use std::ops::Range;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::cast::Cast;
use crate::journal::{Entry, Journal};
use crate::plan::{Fault, Step, Target};
use crate::world::World;

/// Everything that breaks in this part of the schedule, each at its time and for its time.
pub async fn all(world: &World, cast: &Cast, steps: &[Step], part_ms: Range<u64>, journal: &Journal) {
    let (begun, from) = (Instant::now(), part_ms.start);
    let now = steps.iter().enumerate().filter(|(_, step)| part_ms.contains(&step.at_ms));
    let each = now.map(|(index, step)| async move {
        sleep_until(begun + Duration::from_millis(step.at_ms - from)).await;
        journal.write(Entry::FaultBegan { index, fault: step.fault.to_string() });
        begin(world, cast, index, &step.fault, journal).await;
        sleep(Duration::from_millis(step.for_ms)).await;
        end(world, cast, index, &step.fault, journal).await;
        journal.write(Entry::FaultEnded { index });
    });
    join_all(each).await;
}

async fn begin(world: &World, cast: &Cast, index: usize, fault: &Fault, journal: &Journal) {
    match fault {
        Fault::Kill(Target::Node(node)) => world.nodes[*node].lock().await.kill(),
        Fault::Kill(Target::Server(server)) => world.servers[*server].lock().await.kill(),
        Fault::Stop(Target::Node(node)) => world.nodes[*node].lock().await.stop().await,
        Fault::Stop(Target::Server(server)) => world.servers[*server].lock().await.stop().await,
        Fault::Pause(Target::Node(node)) => world.nodes[*node].lock().await.pause(),
        Fault::Pause(Target::Server(server)) => world.servers[*server].lock().await.pause(),
        Fault::StepDown(stream) => {
            // Whether somebody hears it is up to what else is broken.
            let _ = timeout(Duration::from_secs(3), step_down(world, stream)).await;
        }
        Fault::Slow(client) => cast.slow(*client, true),
        Fault::Harm(..) | Fault::Isolate(..) | Fault::Swallow { .. } => world.links.harm(index, fault),
        Fault::Clock { node, seconds } => note(world.nodes[*node].lock().await.set_clock(*seconds), journal),
        Fault::RollBack => note(world.copy_stores().await, journal),
    }
}

async fn end(world: &World, cast: &Cast, index: usize, fault: &Fault, journal: &Journal) {
    match fault {
        Fault::Kill(Target::Node(node)) | Fault::Stop(Target::Node(node)) => {
            note(world.nodes[*node].lock().await.start(), journal);
        }
        Fault::Kill(Target::Server(server)) | Fault::Stop(Target::Server(server)) => {
            note(world.servers[*server].lock().await.start(), journal);
        }
        Fault::Pause(Target::Node(node)) => world.nodes[*node].lock().await.resume(),
        Fault::Pause(Target::Server(server)) => world.servers[*server].lock().await.resume(),
        Fault::StepDown(_) => {}
        Fault::Slow(client) => cast.slow(*client, false),
        Fault::Harm(..) | Fault::Isolate(..) | Fault::Swallow { .. } => world.links.heal(index, fault),
        Fault::Clock { node, .. } => note(world.nodes[*node].lock().await.set_clock(0), journal),
        Fault::RollBack => note(world.roll_back().await, journal),
    }
}

fn note(outcome: anyhow::Result<()>, journal: &Journal) {
    if let Err(error) = outcome {
        journal.write(Entry::Broken { client: "the runner".to_owned(), how: format!("{error:#}") });
    }
}

async fn step_down(world: &World, stream: &str) -> anyhow::Result<()> {
    let addresses: Vec<_> = world.server_addresses.iter().map(|address| format!("nats://{address}")).collect();
    let client = async_nats::connect(addresses).await?;
    client.request(format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}"), "".into()).await?;
    Ok(())
}

/// Whatever is still broken is mended.
pub async fn heal_all(world: &World, cast: &Cast, steps: &[Step]) {
    for (index, step) in steps.iter().enumerate() {
        world.links.heal(index, &step.fault);
    }
    cast.control_all(|control| control.slow = false);
    for server in &world.servers {
        let mut server = server.lock().await;
        server.resume();
        let _ = server.start();
    }
    for node in &world.nodes {
        let mut node = node.lock().await;
        node.resume();
        let _ = node.start();
    }
}
