//! Compares this node's records with its clients: a write whose outcome is unknown, or records that were lost, show only
//! there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::Presence;
use super::roster::Key;
use crate::backplane::{PresenceError, Record, Whose};

/// How often it is done although nothing happened.
const PERIOD: Duration = Duration::from_secs(300);
/// Before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// Records in one page.
const PAGE: usize = 1000;
/// How often a replica that lags is asked again.
const ATTEMPTS: usize = 10;
const LAG: Duration = Duration::from_millis(50);

/// Compares now and then, and whenever there is reason to.
pub(super) async fn run(presence: Arc<Presence>) {
    let Ok(mut doubts) = presence.records().map(|records| records.doubts()) else { return };
    loop {
        // What was in doubt at the start is nobody's yet.
        let changed = timeout(PERIOD, doubts.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
        doubts.borrow_and_update();
        while let Err(error) = presence.reconcile().await {
            debug!(%error, "own records not compared yet");
            sleep(PAUSE).await;
        }
    }
}

impl Presence {
    /// Has everything written anew in which this node's records differ from its clients.
    async fn reconcile(&self) -> Result<(), PresenceError> {
        let life = self.life();
        let mut recorded: HashSet<Key> = HashSet::new();
        let mut wrong = 0;
        self.each_record(Whose::Node(&life), |record| {
            let key = (record.occupant.channel, record.occupant.client);
            let here = self.roster.info(&key);
            if record.info != here {
                wrong += 1;
                self.roster.rewrite(key.clone());
            }
            if here.is_some() {
                recorded.insert(key);
            }
        })
        .await?;
        let missing = self.roster.everybody().into_iter().filter(|key| !recorded.contains(key));
        for key in missing {
            wrong += 1;
            self.roster.rewrite(key);
        }
        if wrong > 0 {
            info!(records = wrong, "presence recorded anew");
        }
        Ok(())
    }

    /// Reads all records of `whose`, page after page: all that there were when this was called.
    pub(super) async fn each_record(
        &self,
        whose: Whose<'_>,
        mut each: impl FnMut(Record),
    ) -> Result<(), PresenceError> {
        let newest = self.records()?.newest(whose).await?;
        self.each_between(whose, 1, newest, &mut each).await.map(|_| ())
    }

    /// Reads the records of `whose` from a revision on, to `newest` at least; returns how far it came.
    pub(super) async fn each_between(
        &self,
        whose: Whose<'_>,
        from: u64,
        newest: u64,
        mut each: impl FnMut(Record),
    ) -> Result<u64, PresenceError> {
        let (mut next, mut attempts) = (from, 0);
        while next <= newest {
            let page = self.records()?.page(whose, next, PAGE).await?;
            next = page.records.last().map_or(next, |record| record.revision + 1);
            page.records.into_iter().for_each(&mut each);
            if !page.more && next <= newest {
                // The replica lags; or the newest has expired meanwhile, which never comes.
                attempts += 1;
                if attempts == ATTEMPTS {
                    break;
                }
                sleep(LAG).await;
            }
        }
        Ok(next - 1)
    }
}
