//! The background tasks of a node. Each is there for as long as the node is: where one ends before it was asked to, the node
//! goes on half dead. So it is said which, and whoever made [`Tasks`] hears of it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{Either, select, select_all};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// Runs tasks until they are asked to stop. Cloning it is cheap.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    /// Any of these.
    stops: Vec<CancellationToken>,
    lost: Arc<dyn Fn(&'static str) + Send + Sync>,
}

/// How a task ended that was not asked to.
enum Ended {
    Returned,
    Panicked(String),
}

impl Tasks {
    /// `lost` hears the name of each task that ended although nobody had asked it to.
    pub fn new(lost: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self { tracker: TaskTracker::new(), stops: vec![CancellationToken::new()], lost: Arc::new(lost) }
    }

    /// The same, for tasks that end with `stop` already.
    #[must_use]
    pub fn until(&self, stop: &CancellationToken) -> Self {
        let mut tasks = self.clone();
        tasks.stops.push(stop.clone());
        tasks
    }

    /// Runs `task`, which goes on for ever; it is dropped at the stop.
    pub fn run(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let tasks = self.clone();
        self.run_to_end(name, async move {
            tasks.until_stopped(Box::pin(task)).await;
        })
    }

    /// Runs `task`, which ends by itself once it is asked to stop.
    pub fn run_to_end(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let tasks = self.clone();
        self.tracker.spawn(async move {
            let ended = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(()) if tasks.are_stopped() => return,
                Ok(()) => Ended::Returned,
                Err(panic) => Ended::Panicked(words(&*panic)),
            };
            tasks.lose(name, &ended);
        })
    }

    /// Runs `task`, which ends when it is done; it is dropped at the stop. Only a panic is not as planned.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        self.tracker.spawn(async move {
            let done = tasks.until_stopped(AssertUnwindSafe(Box::pin(task)).catch_unwind()).await;
            if let Some(Err(panic)) = done {
                tasks.lose(name, &Ended::Panicked(words(&*panic)));
            }
        });
    }

    /// Asks all tasks to stop.
    pub fn stop(&self) {
        self.stops[0].cancel();
    }

    /// Returns once all tasks have ended.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn are_stopped(&self) -> bool {
        self.stops.iter().any(CancellationToken::is_cancelled)
    }

    /// What `task` returns, unless it is stopped before.
    async fn until_stopped<T>(&self, task: impl Future<Output = T> + Unpin) -> Option<T> {
        let stopped = select_all(self.stops.iter().map(|stop| Box::pin(stop.cancelled())));
        match select(stopped, task).await {
            Either::Left(_) => None,
            Either::Right((done, _)) => Some(done),
        }
    }

    fn lose(&self, task: &'static str, ended: &Ended) {
        match ended {
            Ended::Returned => error!(task, "a background task has ended; the node has to be started again"),
            Ended::Panicked(words) => {
                error!(task, words, "a background task has panicked; the node has to be started again");
            }
        }
        (self.lost)(task);
    }
}

/// What somebody said who panicked.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::lifecycle::Readiness;

    /// Tasks whose loss stands in the way of being ready.
    fn supervised() -> (Tasks, Arc<Readiness>) {
        let readiness = Arc::new(Readiness::default());
        let lost = Arc::clone(&readiness);
        (Tasks::new(move |task| lost.hold(task, "it has ended")), readiness)
    }

    #[tokio::test]
    async fn a_task_that_panics_or_returns_makes_the_node_not_ready_and_is_named() {
        let (tasks, readiness) = supervised();
        tasks.run("heartbeats", async { panic!("on purpose") }).await.unwrap();
        assert_eq!(readiness.obstacles(), ["heartbeats: it has ended"]);
        tasks.run("audit", async {}).await.unwrap();
        assert_eq!(readiness.obstacles(), ["audit: it has ended", "heartbeats: it has ended"]);
        assert!(!readiness.is_ready());
    }

    #[tokio::test]
    async fn what_is_asked_to_end_ends_as_planned() {
        let (tasks, readiness) = supervised();
        tasks.run("one that never ends", pending());
        tasks.spawn("one that is done", async {});
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let earlier = tasks.until(&stop);
        let ended = earlier.run_to_end("one that ends earlier", async move { stopped.cancelled().await });
        stop.cancel();
        ended.await.unwrap();
        tasks.stop();
        tasks.ended().await;
        assert!(readiness.is_ready(), "{:?}", readiness.obstacles());
    }

    #[tokio::test]
    async fn a_panic_is_never_planned() {
        let (tasks, readiness) = supervised();
        tasks.spawn("one that would be done", async { panic!("on purpose") });
        let stop = CancellationToken::new();
        stop.cancel();
        tasks.until(&stop).run_to_end("one that stops", async { panic!("on purpose") }).await.unwrap();
        tasks.stop();
        tasks.ended().await;
        assert_eq!(readiness.obstacles().len(), 2);
    }
}
