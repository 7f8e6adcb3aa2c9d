//! Who is dead. A node judges only while it is itself well, and its verdict is a write under the revision that it read:
//! one judge wins, and none wins over a node that wrote meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::Shared;
use super::entry::{Entry, State};
use crate::backplane::{Guard, RegistryError};
use crate::telemetry::{Judgement, Reaping};

/// What a node knows of itself.
pub(super) struct Vitals {
    /// When its own heartbeat came back.
    pub(super) echo: Instant,
    /// When it wrote to the registry.
    pub(super) mirrored: Instant,
    /// The last write failed.
    pub(super) failing: bool,
}

impl Vitals {
    /// Notes that a write succeeded or failed.
    pub(super) fn wrote(&mut self, succeeded: bool) {
        self.failing = !succeeded;
        if succeeded {
            self.mirrored = Instant::now();
        }
    }
}

impl Shared {
    /// Whether this node may judge others: it hears, and it writes. A node that was paused does neither, until it has heard
    /// itself again, and then everybody has time anew.
    pub(super) fn is_well(&self, now: Instant) -> bool {
        let vitals = self.vitals.lock();
        let hears = now.saturating_duration_since(vitals.echo) <= self.timing.echo();
        let writes = now.saturating_duration_since(vitals.mirrored) <= self.timing.mirror * 2;
        hears && writes && !vitals.failing && !self.fenced.is_cancelled()
    }

    pub(super) async fn judge(self: Arc<Self>) {
        let mut ticks = interval(self.timing.tick());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for name in self.overdue() {
                if let Err(error) = self.declare_dead(&name).await {
                    debug!(node = name, %error, "no verdict");
                }
            }
            let now = Instant::now();
            if !self.is_well(now) {
                continue;
            }
            let id = Arc::clone(&*self.incarnation.borrow());
            let open = self.view.lock().open_debts(&id, self.timing.reaping, now);
            for (name, incarnation) in open {
                if let Err(error) = self.take_on(&name, incarnation, &id).await {
                    debug!(node = name, %error, "debt not taken on");
                }
            }
        }
    }

    /// Peers that are dead as far as this node can tell.
    fn overdue(&self) -> Vec<String> {
        let now = Instant::now();
        let overdue = self.view.lock().overdue(&self.name, &self.timing, now);
        if !overdue.is_empty() && !self.is_well(now) {
            self.telemetry.cluster.verdicts.of(Judgement::Withheld).increment(1);
            return Vec::new();
        }
        overdue
    }

    async fn declare_dead(&self, name: &str) -> Result<(), RegistryError> {
        let Some(found) = self.registry().get(name).await? else {
            self.wake.list.notify_one();
            return Ok(());
        };
        let Some(mut entry) = Entry::from_bytes(&found.value) else { return Ok(()) };
        let known = self.view.lock().get(name).map(|known| known.revision);
        if known != Some(found.revision) {
            // It wrote, or somebody wrote about it, and that did not come through.
            self.telemetry.cluster.verdicts.of(Judgement::Spared).increment(1);
            self.changed(|view| view.apply(entry, found.revision, Instant::now()));
            return Ok(());
        }
        // Reading took its time, in which this node may have been paused.
        if !entry.is_live() || !self.overdue().iter().any(|overdue| overdue == name) {
            return Ok(());
        }
        let id = Arc::clone(&*self.incarnation.borrow());
        let dead = entry.id();
        let now = Instant::now();
        let silence = self.view.lock().get(name).map_or(Duration::ZERO, |known| known.silent_for(now));
        entry.state = State::Failed;
        entry.owe(entry.incarnation, Some(&id));
        match self.write(&entry, Guard::Revision(found.revision)).await {
            Ok(_) => {
                warn!(node = %dead, ?silence, "node failed: no sign of life");
                self.telemetry.cluster.verdicts.of(Judgement::Failed).increment(1);
                Ok(())
            }
            Err(RegistryError::Conflict(_)) => {
                self.telemetry.cluster.verdicts.of(Judgement::Overtaken).increment(1);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes on a debt that nobody pays.
    async fn take_on(&self, name: &str, incarnation: u64, id: &str) -> Result<(), RegistryError> {
        let Some(found) = self.registry().get(name).await? else { return Ok(()) };
        let Some(mut entry) = Entry::from_bytes(&found.value) else { return Ok(()) };
        let known = self.view.lock().get(name).map(|known| known.revision);
        if known != Some(found.revision) {
            self.changed(|view| view.apply(entry, found.revision, Instant::now()));
            return Ok(());
        }
        let Some(debt) = entry.debts.iter_mut().find(|debt| debt.incarnation == incarnation) else { return Ok(()) };
        debt.reaper = Some(id.to_owned());
        match self.write(&entry, Guard::Revision(found.revision)).await {
            Ok(_) => {
                self.telemetry.cluster.reaps.of(Reaping::TakenOver).increment(1);
                Ok(())
            }
            Err(RegistryError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
