//! How busy the runtime's threads are.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// Compares what the threads have worked with the time that went by.
pub(super) struct RuntimeWatch {
    runtime: Handle,
    looked: Instant,
    worked: Duration,
}

impl RuntimeWatch {
    /// Begins to watch the runtime that this is called on.
    pub(super) fn begin() -> Self {
        let runtime = Handle::current();
        let worked = worked(&runtime);
        Self { runtime, looked: Instant::now(), worked }
    }

    /// The part of the time since the last look in which the threads were at work: 0 to 1.
    pub(super) fn busy_ratio(&mut self) -> f64 {
        let worked = worked(&self.runtime);
        let went_by = self.looked.elapsed().as_secs_f64() * self.runtime.metrics().num_workers() as f64;
        let ratio = worked.saturating_sub(self.worked).as_secs_f64() / went_by.max(f64::MIN_POSITIVE);
        (self.looked, self.worked) = (Instant::now(), worked);
        ratio.min(1.0)
    }
}

fn worked(runtime: &Handle) -> Duration {
    let metrics = runtime.metrics();
    (0..metrics.num_workers()).map(|worker| metrics.worker_total_busy_duration(worker)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_thread_that_works_is_busy_and_one_that_waits_is_not() {
        tokio::spawn(async {
            let mut watch = RuntimeWatch::begin();
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(watch.busy_ratio() < 0.5);
            std::thread::sleep(Duration::from_millis(50));
            // What a thread has worked is known once it has come to an end.
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(watch.busy_ratio() > 0.5);
        })
        .await
        .expect("no panic");
    }
}
