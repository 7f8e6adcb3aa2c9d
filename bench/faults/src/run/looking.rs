//! Looks at nodes from outside: readiness, metrics, presence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::checker::{KNOWN, OF_CLIENTS, UP};
use crate::journal::{Entry, Journal, Phase};
use crate::plan::NODES;
use crate::world::{KEY, World, request};

const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take until a node says what it counts, with everything healed.
const ANSWERS: Duration = Duration::from_secs(20);

/// Takes down what every node counts and uses, while nothing is broken.
pub async fn scrape(world: &World, phase: Phase, journal: &Journal) {
    for node in &world.nodes {
        let node = node.lock().await;
        let begun = Instant::now();
        while let Err(error) = node.scrape(phase).await {
            if begun.elapsed() > ANSWERS {
                let how = format!("no scrape in phase {phase:?}: {error:#}");
                journal.write(Entry::Broken { client: "a node".to_owned(), how });
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The same again and again; and a node that ended by itself is started again, as any supervisor would.
pub async fn keep_looking(world: &World, phase: Phase) {
    loop {
        sleep(Duration::from_secs(2)).await;
        for node in &world.nodes {
            // Whoever breaks something holds it.
            let Ok(mut node) = node.try_lock() else { continue };
            if node.died() {
                let _ = node.start();
            }
            drop(node);
        }
        for node in &world.nodes {
            let Ok(node) = node.try_lock() else { continue };
            // Whoever is broken just now says nothing.
            let _ = tokio::time::timeout(Duration::from_millis(500), node.scrape(phase)).await;
        }
    }
}

pub async fn all_ready(world: &World) -> bool {
    for node in &world.nodes {
        let mut node = node.lock().await;
        if node.died() {
            let _ = node.start();
        }
        if !node.is_ready().await {
            return false;
        }
    }
    true
}

/// Whether nothing is left of any client, on any node.
pub async fn nobody_left(world: &World) -> bool {
    total(world, &OF_CLIENTS).await == Some(0.0)
}

/// Whether every node knows that all are there.
pub async fn all_agree(world: &World) -> bool {
    let wanted = (NODES * NODES) as f64;
    total(world, &[UP]).await == Some(wanted) && total(world, &[KNOWN]).await == Some(wanted)
}

/// Whether nodes have no connections but those of so many clients: what was cut off is noticed after a while.
pub async fn only_so_many(world: &World, clients: usize) -> bool {
    total(world, &OF_CLIENTS[..1]).await.is_some_and(|connections| connections <= clients as f64)
}

/// The sum of these gauges over all nodes, if all answer.
async fn total(world: &World, gauges: &[&str]) -> Option<f64> {
    let mut sum = 0.0;
    for address in &world.node_addresses {
        let answer = request(*address, "GET /metrics", "", "", PATIENCE).await;
        let Ok((200, body)) = answer else { return None };
        let wanted = body.lines().filter(|line| gauges.iter().any(|gauge| line.starts_with(gauge)));
        let values = wanted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        sum += values.sum::<f64>();
    }
    Some(sum)
}

/// Waits until every node says of every room what is so, and takes down what they say in the end.
pub async fn presence(
    world: &World,
    phase: Phase,
    patience: Duration,
    journal: &Journal,
    expected: impl Fn() -> BTreeMap<String, BTreeSet<String>>,
) {
    let begun = Instant::now();
    loop {
        let right = expected();
        let mut seen = Vec::new();
        for (node, address) in world.node_addresses.iter().enumerate() {
            for room in right.keys() {
                seen.push((format!("node-{node}"), room.clone(), who_is_in(*address, room).await));
            }
        }
        let agreed = seen.iter().all(|(_, room, there)| there.as_ref() == right.get(room));
        if agreed || begun.elapsed() > patience {
            for (channel, there) in right {
                journal.write(Entry::Expected { phase, channel, uuids: there.into_iter().collect() });
            }
            // Who did not answer said nothing, not that nobody is there.
            for (node, channel, there) in seen.into_iter().filter_map(|(node, room, there)| Some((node, room, there?)))
            {
                let uuids = there.into_iter().collect();
                journal.write(Entry::Snapshot { phase, node, channel, uuids });
            }
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn who_is_in(node: SocketAddr, room: &str) -> Option<BTreeSet<String>> {
    let headers = format!("X-API-Key: {KEY}\r\n");
    let body = json!({"channel": room}).to_string();
    let (_, body) = request(node, "POST /api/presence", &headers, &body, PATIENCE).await.ok()?;
    let body: Value = serde_json::from_str(&body).ok()?;
    let there = body["result"]["presence"].as_object()?;
    Some(there.keys().cloned().collect())
}
