//! The task that owns the connection: it serves one after the other, for good.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::commands::Commands;
use super::connect::{Connector, Link};
use super::interest::Interest;
use super::session::{End, Session, Shared};
use super::{LiveEvent, LiveState};
use crate::backplane::nats::refusals::TakenBack;
use crate::causes::causes;

/// The longest pause between two rounds through the servers.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Owner {
    pub(super) connector: Connector,
    pub(super) interest: Interest,
    pub(super) commands: Arc<Commands>,
    pub(super) events: mpsc::Sender<LiveEvent>,
    pub(super) state: watch::Sender<LiveState>,
    pub(super) refused: watch::Sender<TakenBack>,
}

impl Owner {
    /// Serves until it is stopped or nobody takes events any more.
    pub(super) async fn run(mut self, first: Link, stop: CancellationToken) {
        stop.run_until_cancelled(Box::pin(self.serve(first))).await;
        self.commands.close();
        self.state.send_replace(LiveState::Closed);
    }

    async fn serve(&mut self, first: Link) {
        let mut link = first;
        let mut again = false;
        loop {
            let ping_interval = self.connector.options.ping_interval;
            let shared = Shared {
                interest: &mut self.interest,
                servers: &mut self.connector.servers,
                commands: &self.commands,
                events: &self.events,
                state: &self.state,
                refused: &self.refused,
            };
            let session = if again {
                Session::again(link, shared, ping_interval)
            } else {
                Session::first(link, shared, ping_interval)
            };
            let (end, undelivered) = session.run().await;
            let End::Lost(why) = end else { return };
            debug!(name = self.connector.options.name, why, "NATS connection lost");
            self.state.send_replace(LiveState::Disconnected { why: why.clone() });
            if self.report(undelivered, why).await.is_err() {
                return;
            }
            link = self.reconnect().await;
            again = true;
        }
    }

    /// What the connection still had to tell, then that it is gone.
    async fn report(
        &self,
        undelivered: VecDeque<LiveEvent>,
        why: String,
    ) -> Result<(), mpsc::error::SendError<LiveEvent>> {
        for event in undelivered {
            self.events.send(event).await?;
        }
        self.events.send(LiveEvent::Disconnected { why }).await
    }

    /// Goes round the servers until one takes the connection: the first round at once, then with pauses.
    async fn reconnect(&mut self) -> Link {
        for round in 0.. {
            match self.connector.connect_any().await {
                Ok(link) => {
                    debug!(name = self.connector.options.name, server = %link.server, "NATS connection is back");
                    return link;
                }
                Err(error) => debug!(
                    name = self.connector.options.name,
                    error = causes(&error),
                    round,
                    "no NATS server takes the connection"
                ),
            }
            sleep(pause(round)).await;
        }
        unreachable!("the rounds have no end")
    }
}

/// Doubles with each round up to the longest; then somewhere in its upper half, so that nodes do not come all at once.
fn pause(round: u32) -> Duration {
    let longest = LONGEST_PAUSE.min(Duration::from_millis(20) * 2_u32.pow(round.min(8)));
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_second_and_no_further() {
        assert!(pause(0) <= Duration::from_millis(20));
        for round in [5, 100, u32::MAX] {
            let pause = pause(round);
            assert!(pause <= LONGEST_PAUSE && pause >= LONGEST_PAUSE / 2, "{pause:?}");
        }
    }
}
