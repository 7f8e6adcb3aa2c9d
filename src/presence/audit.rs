//! Compares the views with the records: what was lost on its way to this node shows only there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};
use uuid::Uuid;

use super::Presence;
use super::reading::Reading;
use super::views::Finding;
use crate::backplane::presences::DEPARTED_FOR;
use crate::backplane::{Doubts, PresenceError, Roll, Whose};
use crate::protocol::Channel;

/// How often it is done although nothing happened.
const PERIOD: Duration = Duration::from_secs(60);
/// How often everything is compared, also what should be known: what no later record would show.
const WHOLE_PERIOD: Duration = Duration::from_secs(600);
/// Once more after there was reason to: what was asked for may not have reached the whole backplane at once.
const SOON: Duration = Duration::from_secs(1);
/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long nodes get to record their clients anew where the records were lost: they notice it within a period.
const REWRITTEN_WITHIN: Duration = Duration::from_secs(150);

/// Up to where the records were compared.
struct Compared {
    roll: Roll,
    at: Instant,
    whole_at: Instant,
    /// The records were lost: when whoever is not in them by then is gone.
    sweep_at: Option<Instant>,
}

/// Compares now and then, and whenever there is reason to.
pub(super) async fn run(presence: Arc<Presence>) {
    let Ok(mut doubts) = presence.records().map(|records| records.doubts()) else { return };
    let mut known = doubts.borrow_and_update().changes;
    let mut compared = None;
    let mut again = false;
    loop {
        while let Err(error) = presence.audit(&mut compared).await {
            debug!(%error, "presence not compared yet");
            sleep(PAUSE).await;
        }
        if again {
            again = false;
            sleep(SOON).await;
            continue;
        }
        tokio::select! {
            () = sleep(PERIOD) => {}
            doubted = other_than(known, &mut doubts) => {
                let Some(now) = doubted else { return };
                known = now;
                again = true;
                while let Err(error) = presence.watch_again().await {
                    debug!(%error, "not watched yet");
                    sleep(PAUSE).await;
                }
            }
            () = presence.views.opened.notified() => sleep(SOON).await,
        }
    }
}

/// Waits until changes are in doubt once more; `None` once they never will be.
async fn other_than(known: u64, doubts: &mut watch::Receiver<Doubts>) -> Option<u64> {
    doubts.wait_for(|doubts| doubts.changes != known).await.ok().map(|doubts| doubts.changes)
}

impl Presence {
    async fn audit(&self, compared: &mut Option<Compared>) -> Result<(), PresenceError> {
        let roll = self.records()?.roll().await?;
        let now = Instant::now();
        let Some(before) = compared else {
            let to = self.compare(1, roll.last, false).await?;
            *compared = Some(Compared { roll: Roll { last: to, ..roll }, at: now, whole_at: now, sweep_at: None });
            return Ok(());
        };
        let lost = before.roll.identity != roll.identity || roll.last < before.roll.last;
        if lost {
            warn!("the records of presence were lost; all nodes record their clients anew");
            self.views.all().iter().for_each(|view| view.forget_revisions());
            self.roster.rewrite_all();
            before.sweep_at = Some(now + REWRITTEN_WITHIN);
            before.roll = Roll { last: 0, ..roll.clone() };
        }
        let sweeps = match before.sweep_at {
            Some(at) => now >= at,
            // Departures from longer ago can no longer be read.
            None => now - before.at > DEPARTED_FOR / 2 || now - before.whole_at > WHOLE_PERIOD,
        };
        let from = if sweeps { 1 } else { before.roll.last + 1 };
        let to = self.compare(from, roll.last, sweeps).await?;
        *compared = Some(Compared {
            roll: Roll { last: to, ..roll },
            at: now,
            whole_at: if sweeps { now } else { before.whole_at },
            sweep_at: before.sweep_at.filter(|_| !sweeps),
        });
        Ok(())
    }

    /// Has the views take what they do not know of the records from `from` on, which reach to `last` at least; returns how
    /// far they were read. With `sweeps`, whoever has no record is gone.
    async fn compare(&self, from: u64, last: u64, sweeps: bool) -> Result<u64, PresenceError> {
        if self.views.is_empty() || (from > last && !sweeps) {
            return Ok(last.max(from.saturating_sub(1)));
        }
        let findings = self.views.begin_comparison();
        let read = self.find(&findings, from, last, sweeps).await;
        // Also after an error. Nobody takes it once the node stops.
        let _ = findings.send(Finding::End).await;
        read
    }

    async fn find(
        &self,
        findings: &mpsc::Sender<Finding>,
        from: u64,
        last: u64,
        sweeps: bool,
    ) -> Result<u64, PresenceError> {
        let mut reading = Reading::new(self.records()?, Whose::Everybody, from, last);
        let mut seen: HashSet<(Channel, Uuid)> = HashSet::new();
        while let Some(page) = reading.page().await? {
            for record in page.into_iter().filter(|record| self.views.get(&record.occupant.channel).is_some()) {
                if sweeps && record.info.is_some() {
                    seen.insert((record.occupant.channel.clone(), record.occupant.client));
                }
                let _ = findings.send(Finding::Record(record)).await;
            }
        }
        let views = if sweeps { self.views.all() } else { Vec::new() };
        for view in views {
            let recorded = |client| {
                let key = (view.channel.clone(), client);
                seen.contains(&key) || self.roster.contains(&key)
            };
            for (client, revision) in view.missing_from(recorded, reading.to()) {
                let _ = findings.send(Finding::Unseen(view.channel.clone(), client, revision)).await;
            }
        }
        Ok(reading.to().max(last))
    }
}
