//! Compares the views with the records: what was lost on its way to this node shows only there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};
use uuid::Uuid;

use super::Presence;
use super::doubts::Doubting;
use super::reading::Reading;
use super::views::Finding;
use crate::backplane::presences::DEPARTED_FOR;
use crate::backplane::{PresenceError, Roll, Whose};
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
    /// Records were lost, or may have been: when whoever is not in them by then is gone.
    sweep_at: Option<Instant>,
    /// How often they had been in doubt.
    in_doubt: u64,
}

impl Compared {
    /// Servers that came back may have stepped back, and have taken newer writes since: no revision shows that.
    fn doubt(&mut self, in_doubt: u64, now: Instant) {
        if self.in_doubt != in_doubt {
            self.sweep_at.get_or_insert(now + REWRITTEN_WITHIN);
        }
    }

    /// Whether everything is to be compared.
    fn sweeps(&self, now: Instant) -> bool {
        match self.sweep_at {
            Some(at) => now >= at,
            // Departures from longer ago can no longer be read.
            None => now - self.at > DEPARTED_FOR / 2 || now - self.whole_at > WHOLE_PERIOD,
        }
    }
}

/// Compares now and then, and whenever there is reason to.
pub(super) async fn run(presence: Arc<Presence>) {
    let Ok(mut doubting) = presence.records().map(|records| Doubting::begin(records, |doubts| doubts.changes)) else {
        return;
    };
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
            doubted = doubting.again() => {
                if doubted.is_none() {
                    return;
                }
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

impl Presence {
    async fn audit(&self, compared: &mut Option<Compared>) -> Result<(), PresenceError> {
        let records = self.records()?;
        let in_doubt = records.doubts().borrow().records;
        let roll = records.roll().await?;
        let now = Instant::now();
        let Some(before) = compared else {
            let to = self.compare(1, roll.last, false).await?;
            let roll = Roll { last: to, ..roll };
            *compared = Some(Compared { roll, at: now, whole_at: now, sweep_at: None, in_doubt });
            return Ok(());
        };
        before.doubt(in_doubt, now);
        let lost = before.roll.identity != roll.identity || roll.last < before.roll.last;
        if lost {
            warn!("the records of presence were lost; all nodes record their clients anew");
            self.views.forget_revisions();
            self.roster.rewrite_all();
            before.sweep_at = Some(now + REWRITTEN_WITHIN);
            before.roll = Roll { last: 0, ..roll.clone() };
        }
        let sweeps = before.sweeps(now);
        let from = if sweeps { 1 } else { before.roll.last + 1 };
        let to = self.compare(from, roll.last, sweeps).await?;
        *compared = Some(Compared {
            roll: Roll { last: to, ..roll },
            at: now,
            whole_at: if sweeps { now } else { before.whole_at },
            sweep_at: before.sweep_at.filter(|_| !sweeps),
            in_doubt,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(now: Instant) -> Compared {
        let roll = Roll { identity: "one".into(), last: 9 };
        Compared { roll, at: now, whole_at: now, sweep_at: None, in_doubt: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_compared_once_nodes_had_time_after_a_doubt() {
        let now = Instant::now();
        let mut compared = compared(now);
        compared.doubt(0, now);
        assert_eq!(compared.sweep_at, None);
        compared.doubt(1, now);
        compared.doubt(2, now + PERIOD);
        assert!(!compared.sweeps(now + PERIOD));
        assert!(compared.sweeps(now + REWRITTEN_WITHIN), "a second doubt puts nothing off");
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_compared_now_and_then() {
        let now = Instant::now();
        let quiet = Compared { at: now + WHOLE_PERIOD, ..compared(now) };
        assert!(!compared(now).sweeps(now + PERIOD));
        assert!(quiet.sweeps(now + WHOLE_PERIOD + PERIOD));
    }
}
