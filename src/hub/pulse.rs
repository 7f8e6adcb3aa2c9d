//! One clock for the deadlines of all connections: a wheel of slots in place of a timer each.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;

/// How fine deadlines are: a connection is reminded up to this much late, never early.
pub const RESOLUTION: Duration = Duration::from_millis(100);
/// Slots of the wheel; a deadline further away than the wheel turns is reminded early and must ask again.
const SLOTS: usize = 600;

/// Reminds connections of their deadlines.
pub struct Pulse {
    started: Instant,
    wheel: Mutex<Wheel>,
}

struct Wheel {
    slots: Vec<Vec<Weak<Outbox>>>,
    /// The tick whose slot is handled next.
    next: u64,
}

impl Pulse {
    #[must_use]
    pub fn new() -> Arc<Self> {
        let wheel = Wheel { slots: vec![Vec::new(); SLOTS], next: 0 };
        Arc::new(Self { started: Instant::now(), wheel: Mutex::new(wheel) })
    }

    /// Reminds `outbox` at `at`, or after a whole turn of the wheel if that comes first.
    pub fn remind_at(&self, outbox: &Arc<Outbox>, at: Instant) {
        let mut wheel = self.wheel.lock();
        let since = at.saturating_duration_since(self.started).as_millis();
        let tick = (since / RESOLUTION.as_millis()) as u64 + 1;
        let tick = tick.clamp(wheel.next, wheel.next + SLOTS as u64 - 1);
        wheel.slots[(tick % SLOTS as u64) as usize].push(Arc::downgrade(outbox));
    }

    /// Turns the wheel until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut interval = tokio::time::interval(RESOLUTION);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = interval.tick() => self.turn(),
            }
        }
    }

    /// Handles every slot whose time has come.
    fn turn(&self) {
        let now = (self.started.elapsed().as_millis() / RESOLUTION.as_millis()) as u64;
        loop {
            let due = {
                let mut wheel = self.wheel.lock();
                if wheel.next > now {
                    return;
                }
                let slot = (wheel.next % SLOTS as u64) as usize;
                wheel.next += 1;
                std::mem::take(&mut wheel.slots[slot])
            };
            for outbox in due.iter().filter_map(Weak::upgrade) {
                outbox.remind();
            }
        }
    }
}
