//! Compares this node's records with its clients: a write whose outcome is unknown, or records that were lost, show only
//! there. It is done for who asks as well: another node may doubt records and this one have no reason to.

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
        tokio::select! {
            reason = timeout(PERIOD, doubting.again()) => if matches!(reason, Ok(None)) { return },
            () = presence.vouching.asked() => {}
        }
        // What is asked from here on may be about more than is read now.
        let questions = presence.vouching.take();
        let life = presence.life();
        let wrong = loop {
            match presence.reconcile(&life).await {
                Ok(wrong) => break wrong,
                Err(error) => debug!(%error, "own records not compared yet"),
            }
            sleep(PAUSE).await;
        };
        if !questions.is_empty() {
            presence.roster.recorded(wrong).await;
            // Of another life that began meanwhile everything is written anew: whoever needs to know asks again.
            if *presence.writes_under.borrow() == life && presence.life() == life {
                presence.vouch(&life, questions).await;
            }
        }
        // However often there is reason to.
        sleep(PAUSE).await;
    }
}

impl Presence {
    /// Has everything written anew in which the records of this node's `life` differ from its clients; returns what that is.
    async fn reconcile(&self, life: &str) -> Result<Vec<Key>, PresenceError> {
        let mut recorded: HashSet<Key> = HashSet::new();
        let mut wrong = Vec::new();
        self.each_record(Whose::Node(life), |record| {
            let key = (record.occupant.channel, record.occupant.client);
            let here = self.roster.info(&key);
            if record.info != here {
                wrong.push(key.clone());
                self.roster.rewrite(key.clone());
            }
            if here.is_some() {
                recorded.insert(key);
            }
        })
        .await?;
        let missing = self.roster.everybody().into_iter().filter(|key| !recorded.contains(key));
        for key in missing {
            wrong.push(key.clone());
            self.roster.rewrite(key);
        }
        if !wrong.is_empty() {
            info!(records = wrong.len(), "presence recorded anew");
        }
        Ok(wrong)
    }
}
