//! Compares this node's records with its clients: a write whose outcome is unknown, or records that were lost, show only
//! there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::Presence;
use super::doubts::Doubting;
use super::roster::Key;
use crate::backplane::{PresenceError, Whose};

/// How often it is done although nothing happened.
const PERIOD: Duration = Duration::from_secs(300);
/// Before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Compares now and then, and whenever there is reason to.
pub(super) async fn run(presence: Arc<Presence>) {
    let Ok(mut doubting) = presence.records().map(|records| Doubting::begin(records, |doubts| doubts.records)) else {
        return;
    };
    loop {
        if matches!(timeout(PERIOD, doubting.again()).await, Ok(None)) {
            return;
        }
        while let Err(error) = presence.reconcile().await {
            debug!(%error, "own records not compared yet");
            sleep(PAUSE).await;
        }
        // However often there is reason to.
        sleep(PAUSE).await;
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
}
