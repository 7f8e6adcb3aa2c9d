//! One subscription and where it stands.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::backoff;
use crate::journal::Position;

/// A channel that the client wants.
pub struct Subscription {
    pub channel: String,
    /// Where it stands, once it has been there and the channel can be recovered.
    pub position: Option<Position>,
    pub state: State,
    attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum State {
    /// To be asked for at this time.
    Due(Instant),
    Asked,
    Subscribed,
    /// Over for good.
    Ended,
}

impl Subscription {
    pub fn new(channel: &str) -> Self {
        Self { channel: channel.to_owned(), position: None, state: State::Due(Instant::now()), attempts: 0 }
    }

    /// With the connection every subscription goes, but not what it knows.
    pub fn connection_lost(&mut self) {
        if self.state != State::Ended {
            self.state = State::Due(Instant::now());
            self.attempts = 0;
        }
    }

    pub fn subscribed(&mut self, position: Option<Position>) {
        self.position = position;
        self.attempts = 0;
        self.state = State::Subscribed;
    }

    pub fn again(&mut self, rng: &mut ChaCha8Rng) {
        let pause = if self.attempts == 0 { Duration::ZERO } else { backoff(rng, self.attempts - 1) };
        self.attempts += 1;
        self.state = State::Due(Instant::now() + pause);
    }

    pub fn advance(&mut self, offset: u64) {
        if let Some(position) = &mut self.position {
            position.offset = offset;
        }
    }
}
