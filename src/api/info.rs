//! `info`: this node as it is now.

use std::time::Instant;

use metrics_process::collector;
use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

use super::Api;

/// What is known of the node beside its load.
pub(super) struct Node {
    /// Another one after each start.
    uid: String,
    name: String,
    started: Instant,
    /// When the processor's time was last looked at, and how many seconds of it the process had used.
    cpu_seen: Mutex<(Instant, f64)>,
}

#[derive(Serialize)]
pub(super) struct InfoResult {
    nodes: [NodeResult; 1],
}

/// Without `num_users`: nobody on this node counts users, and 0 would be wrong.
#[derive(Serialize)]
struct NodeResult {
    uid: String,
    name: String,
    version: &'static str,
    num_clients: usize,
    num_channels: usize,
    /// Seconds.
    uptime: u64,
    process: Process,
    num_subs: usize,
}

#[derive(Serialize)]
struct Process {
    /// Percent of one processor, on average since the last call.
    cpu: f64,
    /// Bytes of resident memory.
    rss: u64,
}

impl Node {
    pub(super) fn new(name: &str) -> Self {
        let now = Instant::now();
        let uid = Uuid::new_v4().to_string();
        Self { uid, name: name.to_owned(), started: now, cpu_seen: Mutex::new((now, 0.0)) }
    }

    async fn process(&self) -> Process {
        // It reads files, and a directory that is as long as there are connections.
        let measured = tokio::task::spawn_blocking(collector::collect).await.unwrap_or_default();
        let used = measured.cpu_seconds_total.unwrap_or(0.0);
        let now = Instant::now();
        let (before, used_before) = std::mem::replace(&mut *self.cpu_seen.lock(), (now, used));
        let elapsed = (now - before).as_secs_f64();
        let cpu = if elapsed > 0.0 { (used - used_before).max(0.0) / elapsed * 100.0 } else { 0.0 };
        Process { cpu: (cpu * 100.0).round() / 100.0, rss: measured.resident_memory_bytes.unwrap_or(0) }
    }
}

impl Api {
    pub(super) async fn info(&self) -> InfoResult {
        let process = self.node.process().await;
        let channels = self.relay.channels();
        let node = NodeResult {
            uid: self.node.uid.clone(),
            name: self.node.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            num_clients: self.connections.len(),
            num_channels: channels.len(),
            uptime: self.node.started.elapsed().as_secs(),
            process,
            num_subs: channels.iter().map(|(_, listeners)| listeners).sum(),
        };
        InfoResult { nodes: [node] }
    }
}
