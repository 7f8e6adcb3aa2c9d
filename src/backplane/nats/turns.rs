//! Who may act on a channel: one at a time, in the order of asking. A channel that nobody asks for takes no memory.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::protocol::Channel;

/// How many may wait for one channel.
const WAITING: usize = 4096;

type Gate = Arc<tokio::sync::Mutex<()>>;

/// The turns of all channels.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<Channel, Gate>>>);

/// Too many wait for this channel already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// The right to act on a channel, until it is dropped.
pub struct Turn {
    turns: Turns,
    channel: Channel,
    gate: Gate,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for its turn on `channel`.
    pub async fn take(&self, channel: &Channel) -> Result<Turn, TooMany> {
        let gate = {
            let mut gates = self.0.lock();
            let gate = gates.entry(channel.clone()).or_default();
            // One count is the table's; each who waits or acts has two: its own, and that of the lock it wants.
            if Arc::strong_count(gate) > 2 * WAITING {
                return Err(TooMany);
            }
            Arc::clone(gate)
        };
        let mut turn = Turn { turns: self.clone(), channel: channel.clone(), gate, held: None };
        turn.held = Some(Arc::clone(&turn.gate).lock_owned().await);
        Ok(turn)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held = None;
        let mut gates = self.turns.0.lock();
        // Counts grow only under this lock: the table's and this one mean that nobody else is there.
        if Arc::strong_count(&self.gate) == 2 {
            gates.remove(&self.channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_stays() {
        let turns = Turns::default();
        let channel = Channel::parse("chat:room", 255).unwrap();
        let first = turns.take(&channel).await.unwrap();
        assert!(timeout(Duration::from_millis(20), turns.take(&channel)).await.is_err(), "the first still acts");
        let other = turns.take(&Channel::parse("chat:other", 255).unwrap()).await.unwrap();
        drop(first);
        let second = turns.take(&channel).await.unwrap();
        drop((second, other));
        assert_eq!(turns.len(), 0);
    }
}
