//! Compares the views with the records: what was lost on its way to this node shows only there.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};
use uuid::Uuid;

use super::Presence;
use super::doubts::Doubting;
use super::life::Latest;
use super::reading::Reading;
use super::views::Finding;
use crate::backplane::presences::DEPARTED_FOR;
use crate::backplane::{Occupant, PresenceError, Roll, Whose, Word};
use crate::protocol::Channel;

/// How often it is done although nothing happened.
const PERIOD: Duration = Duration::from_secs(60);
/// How often everything is compared, also what should be known: what no later record would show.
const WHOLE_PERIOD: Duration = Duration::from_secs(600);
/// Once more after there was reason to: what was asked for may not have reached the whole backplane at once.
const SOON: Duration = Duration::from_secs(1);
/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long nodes get to record their clients anew where records may have been lost, if they do not say that they have: they
/// notice it within a period.
const REWRITTEN_WITHIN: Duration = Duration::from_secs(150);
/// Before those that have not said so are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Up to where the records were compared.
struct Compared {
    roll: Roll,
    at: Instant,
    whole_at: Instant,
    /// Records were lost, or may have been.
    sweep: Option<Sweep>,
    /// How often they had been in doubt.
    in_doubt: u64,
}

/// Whoever is not in the records is gone, once every life that anybody is of has vouched for them.
struct Sweep {
    /// When it is so, whether they have or not.
    by: Instant,
    /// When those are asked again that have not.
    ask_at: Instant,
    unsound: BTreeSet<String>,
}

impl Sweep {
    fn begin(now: Instant) -> Self {
        Self { by: now + REWRITTEN_WITHIN, ask_at: now, unsound: BTreeSet::new() }
    }
}

impl Compared {
    /// Servers that came back may have stepped back, and have taken newer writes since: no revision shows that. Whether there
    /// is another reason to think so.
    fn doubt(&mut self, in_doubt: u64, now: Instant) -> bool {
        let doubted = std::mem::replace(&mut self.in_doubt, in_doubt) != in_doubt;
        if doubted {
            let ask_at = now;
            self.sweep = Some(self.sweep.take().map_or_else(|| Sweep::begin(now), |sweep| Sweep { ask_at, ..sweep }));
        }
        doubted
    }

    /// Whether everything is to be compared; `sound` where all have vouched for their records.
    fn sweeps(&self, sound: bool, now: Instant) -> bool {
        match &self.sweep {
            Some(sweep) => sound || now >= sweep.by,
            // Departures from longer ago can no longer be read.
            None => now - self.at > DEPARTED_FOR / 2 || now - self.whole_at > WHOLE_PERIOD,
        }
    }

    /// When they are to be compared again without another reason.
    fn again_at(&self) -> Instant {
        let at = self.at + PERIOD;
        self.sweep.as_ref().map_or(at, |sweep| at.min(sweep.ask_at).min(sweep.by))
    }
}

/// Compares now and then, and whenever there is reason to.
pub(super) async fn run(presence: Arc<Presence>) {
    let Ok(mut doubting) = presence.records().map(|records| Doubting::begin(records, |doubts| doubts.changes)) else {
        return;
    };
    let mut compared: Option<Compared> = None;
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
        let at = compared.as_ref().map_or_else(Instant::now, Compared::again_at);
        let sweep = compared.as_ref().and_then(|compared| compared.sweep.as_ref());
        tokio::select! {
            () = sleep_until(at) => {}
            () = presence.vouched(sweep), if sweep.is_some() => {}
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
        let now = Instant::now();
        let Some(before) = compared else {
            let roll = records.roll().await?;
            let to = self.compare(1, roll.last, false).await?;
            let roll = Roll { last: to, ..roll };
            *compared = Some(Compared { roll, at: now, whole_at: now, sweep: None, in_doubt });
            return Ok(());
        };
        if before.doubt(in_doubt, now) {
            self.vouching.doubt();
        }
        // Before the roll is called: it must reach as far as what others wrote before they vouched, and as what was seen.
        let mut sound = before.sweep.is_some() && self.unsound().is_empty();
        let seen = before.roll.last.max(self.views.newest());
        let roll = records.roll().await?;
        if before.roll.identity != roll.identity || (roll.last < seen && self.stepped_back(seen).await?) {
            warn!("records of presence were lost; all nodes record their clients anew");
            self.views.forget_revisions();
            self.roster.rewrite_all();
            self.vouching.doubt();
            sound = false;
            before.sweep = Some(Sweep::begin(now));
            before.roll = Roll { last: 0, ..roll.clone() };
        }
        let sweeps = before.sweeps(sound, now);
        if let Some(sweep) = before.sweep.as_ref().filter(|_| sweeps && !sound) {
            warn!(lives = ?sweep.unsound, "some nodes have not confirmed their presence records; clients without a record now count as gone");
        }
        let from = if sweeps { 1 } else { before.roll.last + 1 };
        let to = self.compare(from, roll.last, sweeps).await?;
        before.roll = Roll { last: to, ..roll };
        before.at = now;
        if sweeps {
            before.whole_at = now;
            before.sweep = None;
        } else if let Some(sweep) = &mut before.sweep {
            self.ask_for(sweep, now).await;
        }
        Ok(())
    }

    /// The lives that somebody is of in a view, and that have not vouched for their records. This node knows of its own.
    fn unsound(&self) -> BTreeSet<String> {
        self.vouching.unsound(self.views.lives(&self.life()))
    }

    async fn ask_for(&self, sweep: &mut Sweep, now: Instant) {
        sweep.unsound = self.unsound();
        if now >= sweep.ask_at && !sweep.unsound.is_empty() {
            sweep.ask_at = now + ASK_AGAIN;
            self.ask(&sweep.unsound).await;
        }
    }

    async fn vouched(&self, sweep: Option<&Sweep>) {
        if let Some(sweep) = sweep {
            self.vouching.sound(&sweep.unsound).await;
        }
    }

    /// Whether the records do not reach as far as what was `seen` of them. It takes a write to know that: a leader that was
    /// deposed, and does not know it, describes less as well.
    async fn stepped_back(&self, seen: u64) -> Result<bool, PresenceError> {
        // Without a view nobody is told of anything.
        let Some(view) = self.views.all().pop() else { return Ok(true) };
        // One who never was there leaves.
        let nobody = Occupant { node: self.life(), channel: view.channel.clone(), client: Uuid::nil() };
        Ok(self.records()?.record(&nobody, Word::Left(None)).await? <= seen)
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
        let mut lives = Latest::default();
        while let Some(page) = reading.page().await? {
            page.iter().for_each(|record| lives.note(&record.occupant.node));
            for record in page.into_iter().filter(|record| self.views.get(&record.occupant.channel).is_some()) {
                if sweeps && record.info.is_some() {
                    seen.insert((record.occupant.channel.clone(), record.occupant.client));
                }
                let _ = findings.send(Finding::Record(record)).await;
            }
        }
        if from == 1 {
            self.views.keep_lives(&lives);
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
        Compared { roll, at: now, whole_at: now, sweep: None, in_doubt: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_compared_once_nodes_had_time_after_a_doubt() {
        let now = Instant::now();
        let mut compared = compared(now);
        assert!(!compared.doubt(0, now) && compared.sweep.is_none());
        assert!(compared.doubt(1, now) && compared.doubt(2, now + PERIOD) && !compared.doubt(2, now + PERIOD));
        assert!(!compared.sweeps(false, now + PERIOD));
        assert!(compared.sweeps(true, now + PERIOD), "all say that their records are right");
        assert!(compared.sweeps(false, now + REWRITTEN_WITHIN), "a second doubt puts nothing off");
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_compared_now_and_then() {
        let now = Instant::now();
        let quiet = Compared { at: now + WHOLE_PERIOD, ..compared(now) };
        assert!(!compared(now).sweeps(false, now + PERIOD));
        assert!(quiet.sweeps(false, now + WHOLE_PERIOD + PERIOD));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_fixed_minute_while_others_are_asked() {
        let now = Instant::now();
        let mut compared = compared(now);
        assert_eq!(compared.again_at(), now + PERIOD);
        compared.doubt(1, now);
        assert_eq!(compared.again_at(), now);
        compared.sweep = Some(Sweep { ask_at: now + REWRITTEN_WITHIN * 2, ..Sweep::begin(now) });
        compared.at = now + REWRITTEN_WITHIN - PERIOD / 2;
        assert_eq!(compared.again_at(), now + REWRITTEN_WITHIN);
    }
}
