//! Ends a process whose runtime stands still: its port would go on taking connections that nobody answers, and a proxy that
//! sends by the fewest connections would send it all the next ones.
//!
//! A thread of its own looks every second whether a task of the runtime has run since. It counts how often it looked, and
//! asks no clock: where the process was stopped, or the machine frozen, both were, and nothing was missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

/// How often the runtime shows that it lives, and the thread looks.
const BEAT: Duration = Duration::from_secs(1);
/// How long the last line of the log may take: that nobody reads the log may be why everything stands still.
const SAY_WITHIN: Duration = Duration::from_secs(1);

/// Looks after the runtime that this is called on, and calls `end` once it has run no task for `patience`, in whole seconds.
///
/// # Panics
/// When the system has no thread for it.
pub fn watch(patience: Duration, end: impl FnOnce() + Send + 'static) {
    let beats = Arc::new(AtomicU64::new(0));
    tokio::spawn(beat(Arc::clone(&beats)));
    let looking = move || {
        let mut stall = Stall::default();
        while stall.look(beats.load(Ordering::Relaxed)) < patience.as_secs() {
            thread::sleep(BEAT);
        }
        say(patience);
        end();
    };
    thread::Builder::new().name("watchdog".to_owned()).spawn(looking).expect("a thread can be started");
}

async fn beat(beats: Arc<AtomicU64>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        beats.fetch_add(1, Ordering::Relaxed);
    }
}

/// How long nothing has moved.
#[derive(Default)]
struct Stall {
    beats: u64,
    looks: u64,
}

impl Stall {
    /// How often in a row, this look included, there was no new beat.
    const fn look(&mut self, beats: u64) -> u64 {
        self.looks = if beats == self.beats { self.looks + 1 } else { 0 };
        self.beats = beats;
        self.looks
    }
}

fn say(patience: Duration) {
    let (said, heard) = mpsc::sync_channel(1);
    thread::spawn(move || {
        error!(seconds = patience.as_secs(), "the runtime stands still: ending, so that clients go elsewhere");
        // Whoever waits for it may have given up.
        let _ = said.send(());
    });
    let _ = heard.recv_timeout(SAY_WITHIN);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_looks_in_a_row_without_a_beat_count() {
        let mut stall = Stall::default();
        assert_eq!([0, 0, 1, 1, 1, 2, 9, 9].map(|beats| stall.look(beats)), [1, 2, 0, 1, 2, 0, 0, 1]);
    }

    #[test]
    fn a_pause_of_the_whole_process_is_one_look() {
        // However long it lasted, the thread wakes up once, and the runtime beats.
        let mut stall = Stall::default();
        stall.look(7);
        assert_eq!(stall.look(7), 1, "the first look after it came before the beat");
        assert_eq!(stall.look(8), 0);
    }
}
