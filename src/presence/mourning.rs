//! What a node that died leaves behind.

use futures_util::{StreamExt, TryStreamExt, stream};
use tracing::info;

use super::Presence;
use crate::backplane::{PresenceError, Whose};

/// Records that await their acknowledgement at one time.
const IN_FLIGHT: usize = 256;

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
        let mut left = Vec::new();
        self.each_record(Whose::Node(life), |record| {
            if record.info.is_some() {
                left.push(record.occupant);
            }
        })
        .await?;
        let gone = left.len();
        let records = self.records()?;
        stream::iter(left)
            .map(Ok)
            .try_for_each_concurrent(IN_FLIGHT, async |occupant| records.record(&occupant, None).await.map(|_| ()))
            .await?;
        if gone > 0 {
            info!(life, clients = gone, "clients of a node that is gone have left");
        }
        Ok(gone)
    }
}
