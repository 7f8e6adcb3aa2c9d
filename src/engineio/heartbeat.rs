//! Pings of the server, pongs of the client.

use std::time::Duration;

use tokio::time::Instant;

/// How late the clock may remind of a ping. It counts from when it was due, unless it is later still.
const COARSE: Duration = Duration::from_millis(250);

/// One session's heartbeat: the next ping comes an interval after the last pong.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Resting { ping_at: Instant },
    Pinged { at: Instant, pong_by: Instant },
}

impl Heartbeat {
    pub(super) fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self { interval, timeout, state: State::Resting { ping_at: now + interval } }
    }

    /// One whose first ping comes earlier: others came before, from another node.
    pub(super) fn resumed(self, ping_at: Instant) -> Self {
        Self { state: State::Resting { ping_at }, ..self }
    }

    /// When another node would ping next: at once where a pong is due, which it could not tell from any other.
    pub(super) const fn ping_at(&self) -> Instant {
        match self.state {
            State::Resting { ping_at } => ping_at,
            State::Pinged { at, .. } => at,
        }
    }

    /// When something is due next, for a session that is `quiet` or not.
    pub(super) fn next(&self, quiet: bool) -> Instant {
        match self.state {
            State::Resting { ping_at } => ping_at,
            State::Pinged { pong_by, .. } if quiet => pong_by,
            State::Pinged { at, .. } => at + self.interval + self.timeout,
        }
    }

    /// Whether the pong did not come in time. Only where it is `quiet`, with nothing to read, is it really missing: it may
    /// stand behind other messages. But a client that lives hears no other ping meanwhile, and gives up by itself.
    pub(super) fn is_over(&self, now: Instant, quiet: bool) -> bool {
        matches!(self.state, State::Pinged { .. }) && now >= self.next(quiet)
    }

    /// Whether to ping now.
    pub(super) fn ping_due(&mut self, now: Instant) -> bool {
        let State::Resting { ping_at } = self.state else { return false };
        if now < ping_at {
            return false;
        }
        let counts_from = if now - ping_at > COARSE { now } else { ping_at };
        self.state = State::Pinged { at: now, pong_by: counts_from + self.timeout };
        true
    }

    /// The client could say nothing until now: its pong gets its time anew, as long as a client that lives would wait.
    pub(super) fn hold_up(&mut self, now: Instant) {
        let latest = self.next(false);
        if let State::Pinged { pong_by, .. } = &mut self.state {
            *pong_by = (now + self.timeout).min(latest);
        }
    }

    /// A pong came; returns how long it took. One that nobody asked for changes nothing.
    pub(super) fn pong(&mut self, now: Instant) -> Option<Duration> {
        let State::Pinged { at, .. } = self.state else { return None };
        self.state = State::Resting { ping_at: now + self.interval };
        Some(now - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pings_come_a_whole_interval_after_the_last_pong() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(25 * SECOND, 20 * SECOND, start);
        assert_eq!(heartbeat.pong(start + SECOND), None, "nobody asked for it");
        assert!(!heartbeat.ping_due(start + 24 * SECOND));
        assert!(heartbeat.ping_due(start + 25 * SECOND));
        assert!(!heartbeat.ping_due(start + 26 * SECOND));
        assert_eq!(heartbeat.pong(start + 27 * SECOND), Some(2 * SECOND));
        assert_eq!(heartbeat.next(true), start + 52 * SECOND);
    }

    #[test]
    fn no_pong_in_time_is_the_end_and_a_ping_that_was_late_gets_its_time() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(25 * SECOND, 20 * SECOND, start);
        assert!(heartbeat.ping_due(start + 25 * SECOND + COARSE));
        assert_eq!(heartbeat.next(true), start + 45 * SECOND);
        assert!(heartbeat.is_over(start + 45 * SECOND, true));
        let mut busy = Heartbeat::new(25 * SECOND, 20 * SECOND, start);
        assert!(busy.ping_due(start + 40 * SECOND));
        assert!(!busy.is_over(start + 59 * SECOND, true));
    }

    #[test]
    fn a_pong_that_may_stand_behind_other_messages_was_waited_for_without_end() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(25 * SECOND, 20 * SECOND, start);
        assert!(heartbeat.ping_due(start + 25 * SECOND));
        assert_eq!(heartbeat.next(false), start + 70 * SECOND, "its client has given up by then");
        assert!(!heartbeat.is_over(start + 69 * SECOND, false));
        assert!(heartbeat.is_over(start + 70 * SECOND, false));
    }

    #[test]
    fn who_is_held_up_gets_its_time_anew_but_not_without_end() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(25 * SECOND, 20 * SECOND, start);
        heartbeat.hold_up(start + 24 * SECOND);
        assert_eq!(heartbeat.next(true), start + 25 * SECOND, "no pong is due");
        assert!(heartbeat.ping_due(start + 25 * SECOND));
        heartbeat.hold_up(start + 40 * SECOND);
        assert_eq!(heartbeat.next(true), start + 60 * SECOND);
        heartbeat.hold_up(start + 59 * SECOND);
        assert_eq!(heartbeat.next(true), start + 70 * SECOND, "its client has given up by then");
    }
}
