//! Pings and pongs.

use std::time::Duration;

use tokio::time::Instant;

/// One connection's heartbeat. At most one ping is unanswered at a time, unless the session is too busy to read pongs.
#[derive(Debug)]
pub(super) struct Heart {
    interval: Duration,
    /// How long a pong may take; `None` when pongs are not asked for.
    timeout: Option<Duration>,
    next_ping: Instant,
    /// Pings that were not answered yet, and when the last of them went out.
    unanswered: u32,
    pinged: Instant,
}

/// What the clock wants of the heart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Rest,
    Ping,
    /// The last ping was not answered in time.
    NoPong,
}

/// A pong that nobody asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnaskedPong;

impl Heart {
    /// A heart whose first ping comes at `first` of the interval (between a half and the whole of it): connections that
    /// came together must not be pinged together.
    pub(super) fn new(interval: Duration, timeout: Option<Duration>, now: Instant, first: f64) -> Self {
        let first = interval.mul_f64(0.5 + 0.5 * first.clamp(0.0, 1.0));
        Self { interval, timeout, next_ping: now + first, unanswered: 0, pinged: now }
    }

    /// When the clock should be asked again.
    pub(super) fn next(&self) -> Instant {
        self.pong_by().map_or(self.next_ping, |by| by.min(self.next_ping))
    }

    /// When the next ping is due.
    pub(super) const fn next_ping(&self) -> Instant {
        self.next_ping
    }

    /// What is due at `now`.
    pub(super) fn beat(&mut self, now: Instant) -> Beat {
        if self.pong_by().is_some_and(|by| now >= by) {
            return Beat::NoPong;
        }
        if self.ping_due(now) { Beat::Ping } else { Beat::Rest }
    }

    /// Whether to ping at `now`, whatever became of the pings before: for while pongs cannot be read.
    pub(super) fn ping_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next_ping;
        if due {
            self.next_ping = now + self.interval;
            self.unanswered += 1;
            self.pinged = now;
        }
        due
    }

    /// Whether the last two pings, a whole interval apart, were not answered in time.
    pub(super) fn missed_two(&self, now: Instant) -> bool {
        self.unanswered > 1 && self.pong_by().is_some_and(|by| now >= by)
    }

    /// A pong came; answers when its ping went out, where that can be told.
    pub(super) fn pong(&mut self) -> Result<Option<Instant>, UnaskedPong> {
        self.unanswered = self.unanswered.checked_sub(1).ok_or(UnaskedPong)?;
        Ok((self.unanswered == 0).then_some(self.pinged))
    }

    fn pong_by(&self) -> Option<Instant> {
        self.timeout.filter(|_| self.unanswered > 0).map(|timeout| self.pinged + timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_ping_is_answered_once_and_in_time() {
        let start = Instant::now();
        let mut heart = Heart::new(10 * SECOND, Some(3 * SECOND), start, 1.0);
        assert_eq!(heart.pong(), Err(UnaskedPong), "before the first ping");
        assert_eq!(heart.beat(start + 9 * SECOND), Beat::Rest);
        assert_eq!(heart.beat(start + 10 * SECOND), Beat::Ping);
        assert_eq!(heart.next(), start + 13 * SECOND);
        assert_eq!(heart.pong(), Ok(Some(start + 10 * SECOND)));
        assert_eq!(heart.pong(), Err(UnaskedPong), "a second one");
        assert_eq!(heart.beat(start + 20 * SECOND), Beat::Ping);
        assert_eq!(heart.beat(start + 22 * SECOND), Beat::Rest);
        assert_eq!(heart.beat(start + 23 * SECOND), Beat::NoPong);
    }

    #[test]
    fn a_busy_session_goes_on_pinging_and_takes_the_pongs_when_it_can() {
        let start = Instant::now();
        let mut heart = Heart::new(10 * SECOND, Some(3 * SECOND), start, 1.0);
        assert!(heart.ping_due(start + 10 * SECOND));
        assert!(heart.ping_due(start + 20 * SECOND));
        assert_eq!(heart.beat(start + 24 * SECOND), Beat::NoPong, "for a session that has nothing to read");
        assert_eq!(heart.pong(), Ok(None), "of which ping, nobody can say");
        assert_eq!(heart.pong(), Ok(Some(start + 20 * SECOND)));
        assert_eq!(heart.beat(start + 24 * SECOND), Beat::Rest);
    }

    #[test]
    fn the_first_ping_comes_after_half_the_interval_at_the_earliest() {
        let start = Instant::now();
        assert_eq!(Heart::new(10 * SECOND, None, start, 0.0).next(), start + 5 * SECOND);
    }
}
