//! What the promises are tested with: real servers on free ports, cleaned up on drop, and waiting without sleeping.

pub mod backend;
pub mod certificates;
pub mod liar;
pub mod listener;
pub mod live;
pub mod member;
pub mod namespaces;
pub mod nats_accounts;
pub mod nats_server;
pub mod nats_settings;
pub mod node;
pub mod process;
pub mod stream;
pub mod token;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a condition may take to come true before a test gives up: far more than it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `condition` again and again until it answers; panics with `what` when it never does.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = condition().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "never came true: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
