//! Compares the views with the records: what was lost on its way to this node shows only there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::Presence;
use super::views::Told;
use crate::backplane::presences::DEPARTED_FOR;
use crate::backplane::{PresenceError, Record, Roll, Whose};
use crate::protocol::Channel;

/// How often it is done although nothing happened.
const PERIOD: Duration = Duration::from_secs(60);
/// After a view was opened: its records may have come from a replica that lagged.
const SOON: Duration = Duration::from_secs(1);
/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long nodes get to record their clients anew where the records were lost.
const REWRITTEN_WITHIN: Duration = Duration::from_secs(15);

/// Up to where the records were compared.
struct Compared {
    roll: Roll,
    at: Instant,
    /// The records were lost: when whoever is not in them by then is gone.
    sweep_at: Option<Instant>,
}

/// Compares now and then, and whenever there is reason to.
pub(super) async fn run(presence: Arc<Presence>) {
    let Ok(mut doubts) = presence.records().map(|records| records.doubts()) else { return };
    let mut compared = None;
    loop {
        while let Err(error) = presence.audit(&mut compared).await {
            debug!(%error, "presence not compared yet");
            sleep(PAUSE).await;
        }
        let sweep = compared.as_ref().and_then(|compared| compared.sweep_at);
        let wait = sweep.map_or(PERIOD, |at| at.saturating_duration_since(Instant::now()).min(PERIOD));
        tokio::select! {
            () = sleep(wait) => {}
            changed = doubts.changed() => if changed.is_err() { return },
            () = presence.views.opened.notified() => sleep(SOON).await,
        }
        doubts.borrow_and_update();
    }
}

impl Presence {
    async fn audit(&self, compared: &mut Option<Compared>) -> Result<(), PresenceError> {
        let unopened = self.views.all().into_iter().filter(|view| !view.state.lock().open);
        for view in unopened {
            // A hung backplane must not keep the others from being compared.
            let _ = timeout(PAUSE, self.open(&view)).await;
        }
        let roll = self.records()?.roll().await?;
        let now = Instant::now();
        let Some(before) = compared else {
            self.compare(1, roll.last, false).await?;
            *compared = Some(Compared { roll, at: now, sweep_at: None });
            return Ok(());
        };
        let lost = before.roll.identity != roll.identity || roll.last < before.roll.last;
        if lost {
            warn!("the records of presence were lost; all nodes record their clients anew");
            self.views.all().iter().for_each(|view| view.forget_revisions());
            before.sweep_at = Some(now + REWRITTEN_WITHIN);
        }
        // Departures from longer ago can no longer be read.
        let late = now - before.at > DEPARTED_FOR / 2;
        let sweeps = late || before.sweep_at.is_some_and(|at| now >= at);
        let from = if lost || sweeps { 1 } else { before.roll.last + 1 };
        self.compare(from, roll.last, sweeps).await?;
        let sweep_at = before.sweep_at.filter(|_| !sweeps);
        *compared = Some(Compared { roll, at: now, sweep_at });
        Ok(())
    }

    /// Has the views take what they do not know of the records from `from` on, which reach to `last` at least. With
    /// `sweeps`, whoever has no record is gone.
    async fn compare(&self, from: u64, last: u64, sweeps: bool) -> Result<(), PresenceError> {
        if from > last && !sweeps {
            return Ok(());
        }
        if self.views.is_empty() {
            return Ok(());
        }
        let _reading = self.views.read();
        let (mut told, mut healed) = (Told::default(), 0_u64);
        let mut seen: HashSet<(Channel, Uuid)> = HashSet::new();
        let take = |record: Record| {
            if sweeps && record.info.is_some() {
                seen.insert((record.occupant.channel.clone(), record.occupant.client));
            }
            healed += u64::from(self.views.found(record, &mut told));
        };
        let to = self.each_between(Whose::Everybody, from, last, take).await?;
        if sweeps {
            healed += self.sweep(&seen, to, &mut told);
        }
        told.write(&self.telemetry);
        if healed > 0 {
            info!(changes = healed, "joins and leaves that had not arrived were told");
            self.telemetry.presence.healed.increment(healed);
        }
        Ok(())
    }

    fn sweep(&self, seen: &HashSet<(Channel, Uuid)>, to: u64, told: &mut Told) -> u64 {
        let mut swept = 0;
        for view in self.views.all() {
            let recorded = |client| {
                let key = (view.channel.clone(), client);
                seen.contains(&key) || self.roster.contains(&key)
            };
            for client in view.missing_from(recorded, to) {
                let effect = view.remove(client);
                self.views.cause(&view, effect, told);
                swept += 1;
            }
        }
        swept
    }
}
