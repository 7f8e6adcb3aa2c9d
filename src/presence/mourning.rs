//! What a node that died leaves behind.

use std::cmp::Ordering;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;
use tracing::info;

use super::{Presence, life};
use crate::backplane::{PresenceError, Whose, Word};

/// Records that await their acknowledgement at one time.
const IN_FLIGHT: usize = 256;

/// How long writes under a life that is over may take to end.
const SWITCH_WITHIN: Duration = Duration::from_secs(10);

impl Presence {
    /// Declares everybody gone who is recorded under a node's `life`, which has ended; returns how many there were.
    ///
    /// May be done again, and by several nodes at once: whoever is gone already is left alone, and those who listen
    /// are told of each leave once.
    ///
    /// # Errors
    /// When the backplane cannot say or take it; then some may be left.
    pub async fn reap(&self, life: &str) -> Result<usize, PresenceError> {
        if self.backplane.presences().is_none() {
            return Ok(0);
        }
        self.writes_nothing_under(life).await?;
        let mut left = Vec::new();
        self.each_record(Whose::Node(life), |record| {
            if let Some(info) = record.info {
                left.push((record.occupant, info));
            }
        })
        .await?;
        let gone = left.len();
        let records = self.records()?;
        stream::iter(left)
            .map(Ok)
            .try_for_each_concurrent(IN_FLIGHT, async |(occupant, info)| {
                match records.record(&occupant, Word::Left(Some(info))).await {
                    // It stays as it is; the others are removed all the same.
                    Err(PresenceError::Refused(why)) => {
                        self.note_refused(&occupant.channel, occupant.client, &why);
                        Ok(())
                    }
                    outcome => outcome.map(|_| ()),
                }
            })
            .await?;
        self.recorded.forget(life);
        if gone > 0 {
            info!(life, clients = gone, "clients of a node that is gone have left");
        }
        Ok(gone)
    }

    /// Returns once this node writes nothing more under a life of its own that is over.
    async fn writes_nothing_under(&self, life: &str) -> Result<(), PresenceError> {
        if life::compare(life, &self.life()).is_none_or(Ordering::is_eq) || self.writing.is_cancelled() {
            return Ok(());
        }
        let mut under = self.writes_under.subscribe();
        let switched = timeout(SWITCH_WITHIN, under.wait_for(|under| **under != *life)).await;
        switched
            .map(|_| ())
            .map_err(|_| PresenceError::Unavailable("writes of the last life are still under way".to_owned()))
    }
}
