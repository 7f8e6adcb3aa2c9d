//! How late the run itself is: on a busy machine it learns late of what came in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::journal::{Entry, Journal};

const PACE: Duration = Duration::from_millis(50);
/// Less is what timers are late anyway.
const NOTED: Duration = Duration::from_millis(50);

/// Notes every time that it wakes late.
pub async fn note(journal: Arc<Journal>) {
    loop {
        let begun = Instant::now();
        sleep(PACE).await;
        let late = begun.elapsed().saturating_sub(PACE);
        if late > NOTED {
            journal.write(Entry::Late { micros: late.as_micros() as u64 });
        }
    }
}
