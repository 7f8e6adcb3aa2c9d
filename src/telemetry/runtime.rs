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

    /// Looks until the ratio is as wanted, each time at what went by since the last look.
    async fn becomes(watch: &mut RuntimeWatch, wanted: impl Fn(f64) -> bool) {
        let begun = Instant::now();
        while !wanted(watch.busy_ratio()) {
            assert!(begun.elapsed() < Duration::from_secs(30), "the ratio never became what it should");
            tokio::task::yield_now().await;
        }
    }

    // The test itself runs beside the only worker.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_thread_that_works_is_busy_and_one_that_waits_is_not() {
        let mut watch = RuntimeWatch::begin();
        let work = tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        becomes(&mut watch, |ratio| ratio > 0.5).await;
        work.abort();
        assert!(work.await.is_err_and(|error| error.is_cancelled()));
        becomes(&mut watch, |ratio| ratio == 0.0).await;
    }
}
