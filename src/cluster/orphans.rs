//! Orphans: lives that are over, were cleaned up after, and have left something all the same. A write that hung somewhere
//! was applied late, or the registry forgot a debt when it was lost.
//!
//! The first of the live nodes looks for them now and then. Two that both believe to be the first do no harm.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::{Duration, Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use super::Shared;
use super::reap::{Reap, ReapError};
use crate::telemetry::Reaping;

/// Lives that have left something and that nobody answers for, with when that was first seen.
#[derive(Debug, Default)]
pub(super) struct Orphans(HashMap<String, Instant>);

impl Orphans {
    /// Takes in which lives have left something now; returns those that nobody has answered for since `grace`.
    pub(super) fn look(
        &mut self,
        lives: BTreeSet<String>,
        answered: impl Fn(&str) -> bool,
        grace: Duration,
        now: Instant,
    ) -> Vec<String> {
        let mut before = std::mem::take(&mut self.0);
        let unanswered = lives.into_iter().filter(|life| !answered(life));
        self.0 = unanswered
            .map(|life| {
                let since = before.remove(&life).unwrap_or(now);
                (life, since)
            })
            .collect();
        let over = |since: &Instant| now.saturating_duration_since(*since) >= grace;
        let mut orphans: Vec<_> =
            self.0.iter().filter(|(_, since)| over(since)).map(|(life, _)| life.clone()).collect();
        orphans.sort();
        orphans
    }
}

impl Shared {
    /// Looks for orphans now and then while this is the node to do it, and removes what they left.
    pub(super) async fn adopt_orphans(self: Arc<Self>) {
        let mut ticks = interval(self.timing.orphans);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut orphans = Orphans::default();
        loop {
            ticks.tick().await;
            let Some(reap) = self.reap.get() else { continue };
            if self.view.lock().first() != Some(&self.name) {
                orphans = Orphans::default();
            } else if self.is_well(Instant::now())
                && let Err(error) = self.look_for_orphans(&mut orphans, &**reap).await
            {
                debug!(%error, "not known whether lives that are over have left something");
            }
        }
    }

    async fn look_for_orphans(&self, orphans: &mut Orphans, reap: &dyn Reap) -> Result<(), ReapError> {
        let lives = timeout(self.timing.reaping, reap.lives()).await.unwrap_or_else(|_| Err(ReapError::slow()))?;
        // Whoever wrote something by now had entered before.
        self.list().await.map_err(|error| ReapError(error.to_string()))?;
        let grace = self.timing.orphans;
        let found = {
            let view = self.view.lock();
            orphans.look(lives, |life| view.answers_for(life), grace, Instant::now())
        };
        for life in found {
            match timeout(self.timing.reaping, reap.reap(&life)).await.unwrap_or_else(|_| Err(ReapError::slow())) {
                // What was seen is gone by now.
                Ok(0) => {}
                Ok(traces) => {
                    warn!(node = life, traces, "a life that is over had left something behind; removed");
                    self.telemetry.cluster.orphans.increment(1);
                }
                Err(error) => {
                    warn!(node = life, %error, "traces of a node not removed yet");
                    self.telemetry.cluster.reaps.of(Reaping::Failed).increment(1);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn lives(lives: &[&str]) -> BTreeSet<String> {
        lives.iter().map(|life| (*life).to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_nobody_answers_for_all_the_time_is_an_orphan() {
        let mut orphans = Orphans::default();
        let answered = |life: &str| life == "ada~1";
        let mut look = |found: &[&str]| orphans.look(lives(found), answered, GRACE, Instant::now());
        assert!(look(&["ada~1", "bob~1"]).is_empty());
        advance(GRACE / 2).await;
        assert!(look(&["ada~1", "bob~1", "cy~1"]).is_empty());
        advance(GRACE / 2).await;
        assert_eq!(look(&["ada~1", "bob~1", "cy~1"]), ["bob~1"]);
        assert_eq!(look(&["ada~1", "bob~1", "cy~1"]), ["bob~1"], "again, until nothing of it is left");
        assert!(look(&["ada~1", "cy~1"]).is_empty());
        advance(GRACE / 2).await;
        assert_eq!(look(&["bob~1", "cy~1"]), ["cy~1"], "its time begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_somebody_answered_for_in_between_has_time_anew() {
        let mut orphans = Orphans::default();
        assert!(orphans.look(lives(&["ada~1"]), |_| false, GRACE, Instant::now()).is_empty());
        advance(GRACE).await;
        assert!(orphans.look(lives(&["ada~1"]), |_| true, GRACE, Instant::now()).is_empty());
        assert!(orphans.look(lives(&["ada~1"]), |_| false, GRACE, Instant::now()).is_empty());
    }
}
