//! What a node has to do, as it tells the others.

use std::time::Duration;

use metrics_process::collector;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often the process is measured: it reads files, and a directory that is as long as there are connections.
const EVERY: Duration = Duration::from_secs(5);

/// The load of a node at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    #[serde(flatten)]
    pub work: Work,
    /// Deliveries to listeners per second, on average over some seconds, as `cpu`.
    pub messages_per_second: f64,
    /// Percent of one processor.
    pub cpu: f64,
    /// Processors that it may use.
    pub processors: usize,
    /// Bytes of resident memory.
    pub memory: u64,
    /// Seconds.
    pub uptime: u64,
}

/// What the node's rooms count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    pub clients: u64,
    pub users: u64,
    pub channels: u64,
    pub subscriptions: u64,
    /// Deliveries to listeners since the start.
    pub sent: u64,
    /// Bytes that wait for slow readers, and for the node's own pumps.
    pub queue_bytes: u64,
}

/// Measures this node.
pub(super) struct Meter {
    work: Box<dyn Fn() -> Work + Send + Sync>,
    started: Instant,
    processors: usize,
    measured: Mutex<Measured>,
}

/// What was measured last, and what it was measured from.
struct Measured {
    at: Instant,
    /// Seconds of a processor that the process had used.
    used: f64,
    sent: u64,
    cpu: f64,
    messages_per_second: f64,
    memory: u64,
}

impl Meter {
    pub(super) fn new(work: Box<dyn Fn() -> Work + Send + Sync>) -> Self {
        let at = Instant::now();
        let measured = Measured { at, used: 0.0, sent: 0, cpu: 0.0, messages_per_second: 0.0, memory: 0 };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let meter = Self { work, started: at, processors, measured: Mutex::new(measured) };
        meter.note(&collector::collect());
        meter
    }

    pub(super) fn load(&self) -> Load {
        let work = (self.work)();
        let measured = self.measured.lock();
        Load {
            work,
            messages_per_second: measured.messages_per_second,
            cpu: measured.cpu,
            processors: self.processors,
            memory: measured.memory,
            uptime: self.started.elapsed().as_secs(),
        }
    }

    /// Measures the process now and then, for ever.
    pub(super) async fn run(&self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if let Ok(measured) = tokio::task::spawn_blocking(collector::collect).await {
                self.note(&measured);
            }
        }
    }

    fn note(&self, process: &collector::Metrics) {
        let (now, sent, used) = (Instant::now(), (self.work)().sent, process.cpu_seconds_total.unwrap_or(0.0));
        let mut measured = self.measured.lock();
        let elapsed = (now - measured.at).as_secs_f64();
        // At the start there is nothing to compare with.
        if elapsed > 0.1 {
            measured.cpu = two_places((used - measured.used).max(0.0) / elapsed * 100.0);
            measured.messages_per_second = two_places(sent.saturating_sub(measured.sent) as f64 / elapsed);
        }
        measured.at = now;
        measured.used = used;
        measured.sent = sent;
        measured.memory = process.resident_memory_bytes.unwrap_or(0);
    }
}

fn two_places(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
