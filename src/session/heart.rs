//! Pings and pongs.

use std::time::Duration;

use tokio::time::Instant;

/// One connection's heartbeat: at most one ping is unanswered at a time.
#[derive(Debug)]
pub(super) struct Heart {
    interval: Duration,
    /// How long a pong may take; `None` when pongs are not asked for.
    timeout: Option<Duration>,
    next_ping: Instant,
    /// When the unanswered ping went out.
    pinged: Option<Instant>,
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
        Self { interval, timeout, next_ping: now + first, pinged: None }
    }

    /// When the clock should be asked again.
    pub(super) fn next(&self) -> Instant {
        match self.pinged.zip(self.timeout) {
            Some((pinged, timeout)) => self.next_ping.min(pinged + timeout),
            None => self.next_ping,
        }
    }

    /// What is due at `now`.
    pub(super) fn beat(&mut self, now: Instant) -> Beat {
        if let Some((pinged, timeout)) = self.pinged.zip(self.timeout)
            && now >= pinged + timeout
        {
            return Beat::NoPong;
        }
        if now < self.next_ping {
            return Beat::Rest;
        }
        self.next_ping = now + self.interval;
        self.pinged = Some(now);
        Beat::Ping
    }

    /// A pong came; answers when its ping went out.
    pub(super) fn pong(&mut self) -> Result<Instant, UnaskedPong> {
        self.pinged.take().ok_or(UnaskedPong)
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
        assert_eq!(heart.pong(), Ok(start + 10 * SECOND));
        assert_eq!(heart.pong(), Err(UnaskedPong), "a second one");
        assert_eq!(heart.beat(start + 20 * SECOND), Beat::Ping);
        assert_eq!(heart.beat(start + 22 * SECOND), Beat::Rest);
        assert_eq!(heart.beat(start + 23 * SECOND), Beat::NoPong);
    }

    #[test]
    fn the_first_ping_comes_after_half_the_interval_at_the_earliest() {
        let start = Instant::now();
        assert_eq!(Heart::new(10 * SECOND, None, start, 0.0).next(), start + 5 * SECOND);
    }
}
