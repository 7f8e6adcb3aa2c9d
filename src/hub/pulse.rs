//! One clock for the deadlines of all connections: a wheel of slots in place of a timer each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::outbox::Outbox;

/// How fine deadlines are: a connection is reminded up to this much late, never early.
pub const RESOLUTION: Duration = Duration::from_millis(100);
/// Slots of the wheel. What is further away than the wheel turns is looked at once a turn.
const SLOTS: u64 = 600;

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

/// When one connection wants to be reminded, in ticks. Touched under the wheel's lock only.
pub(super) struct Appointment {
    wanted: AtomicU64,
    /// The tick of the slot that holds it. Entries in other slots are of no account.
    slotted: AtomicU64,
}

impl Default for Appointment {
    fn default() -> Self {
        Self { wanted: AtomicU64::new(0), slotted: AtomicU64::new(u64::MAX) }
    }
}

impl Pulse {
    #[must_use]
    pub fn new() -> Arc<Self> {
        let wheel = Wheel { slots: vec![Vec::new(); SLOTS as usize], next: 0 };
        Arc::new(Self { started: Instant::now(), wheel: Mutex::new(wheel) })
    }

    /// Reminds `outbox` at `at`, and no longer when it wanted before. Putting it off costs nothing: a deadline that is
    /// moved in time wakes nobody.
    pub fn remind_at(&self, outbox: &Arc<Outbox>, at: Instant) {
        let since = at.saturating_duration_since(self.started).as_millis();
        let tick = (since / RESOLUTION.as_millis()) as u64 + 1;
        let mut wheel = self.wheel.lock();
        let appointment = outbox.appointment();
        appointment.wanted.store(tick, Ordering::Relaxed);
        if tick < appointment.slotted.load(Ordering::Relaxed) {
            wheel.enter(outbox, tick);
        }
    }

    /// Turns the wheel, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(RESOLUTION);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            self.turn();
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
                wheel.take_due()
            };
            due.iter().for_each(|outbox| outbox.remind());
        }
    }
}

impl Wheel {
    fn enter(&mut self, outbox: &Arc<Outbox>, tick: u64) {
        let tick = tick.clamp(self.next, self.next + SLOTS - 1);
        outbox.appointment().slotted.store(tick, Ordering::Relaxed);
        self.slots[(tick % SLOTS) as usize].push(Arc::downgrade(outbox));
    }

    /// Empties the next slot: who is due is returned, who has put it off is entered again.
    fn take_due(&mut self) -> Vec<Arc<Outbox>> {
        let tick = self.next;
        self.next += 1;
        let entries = std::mem::take(&mut self.slots[(tick % SLOTS) as usize]);
        let mut due = Vec::new();
        for outbox in entries.iter().filter_map(Weak::upgrade) {
            let appointment = outbox.appointment();
            if appointment.slotted.load(Ordering::Relaxed) != tick {
                continue;
            }
            appointment.slotted.store(u64::MAX, Ordering::Relaxed);
            let wanted = appointment.wanted.load(Ordering::Relaxed);
            if wanted > tick {
                self.enter(&outbox, wanted);
            } else {
                due.push(outbox);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::centrifuge::Encoding;

    fn outbox() -> Arc<Outbox> {
        Outbox::new(Encoding::Json, 1 << 10, Arc::default())
    }

    /// Turns the wheel up to `tick`; returns whether the outbox was due on the way.
    fn due_by(pulse: &Pulse, outbox: &Arc<Outbox>, tick: u64) -> bool {
        let mut wheel = pulse.wheel.lock();
        let mut due = 0;
        while wheel.next <= tick {
            due += wheel.take_due().iter().filter(|it| Arc::ptr_eq(it, outbox)).count();
        }
        assert!(due <= 1, "reminded once");
        due == 1
    }

    #[test]
    fn who_puts_it_off_is_reminded_then_and_not_before() {
        let pulse = Pulse::new();
        let outbox = outbox();
        let at = |ticks| pulse.started + RESOLUTION * ticks;
        pulse.remind_at(&outbox, at(10));
        pulse.remind_at(&outbox, at(30));
        assert!(!due_by(&pulse, &outbox, 30));
        assert!(due_by(&pulse, &outbox, 31));
        pulse.remind_at(&outbox, at(60));
        pulse.remind_at(&outbox, at(40));
        assert!(due_by(&pulse, &outbox, 41), "brought forward");
        assert!(!due_by(&pulse, &outbox, 100), "the later entry is of no account");
    }

    #[test]
    fn a_deadline_beyond_a_turn_of_the_wheel_is_kept_and_one_in_the_past_comes_at_once() {
        let pulse = Pulse::new();
        let (late, overdue) = (outbox(), outbox());
        pulse.remind_at(&late, pulse.started + RESOLUTION * 1_500);
        assert!(!due_by(&pulse, &late, 1_500));
        assert!(due_by(&pulse, &late, 1_501));
        pulse.remind_at(&overdue, pulse.started);
        assert!(due_by(&pulse, &overdue, 1_502));
    }
}
