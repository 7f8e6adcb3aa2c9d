//! Keeps this node's revocations those of all.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use super::Revocations;
use super::record::Record;
use crate::backplane::{Change, Health, RegistryError, SubscribeError, Watch};

/// How often what is over is forgotten.
const SWEEP: Duration = Duration::from_secs(60);
/// Before a list is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// Before it is tried again to write what the registry lacks.
const AGAIN: Duration = Duration::from_secs(5);

/// What ends the heeding of changes.
enum Heard {
    /// How the backplane stands has changed.
    Health,
    /// Changes may be missing, or the registry lacks something.
    Missed,
    /// The backplane is closed.
    End,
}

impl Revocations {
    /// Asks for all changes from now on. Before [`load`](Self::load), so that none is missed in between.
    ///
    /// # Errors
    /// When the backplane does not accept it.
    pub async fn watch(&self) -> Result<Watch, SubscribeError> {
        self.registry().watch().await
    }

    /// Heeds everything that is recorded by now, and writes again what this node knows and the registry does not: it was lost,
    /// or rolled back.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn load(&self) -> Result<(), RegistryError> {
        let mut listed = HashMap::new();
        for entry in self.registry().list().await? {
            match Record::parse(&entry.value) {
                Some(record) => {
                    self.take(&entry.key, record.clone(), entry.revision);
                    listed.insert(entry.key, (record, entry.revision));
                }
                None => warn!(key = entry.key, "a revocation that this node does not understand"),
            }
        }
        self.write_again(&listed).await;
        Ok(())
    }

    /// Heeds changes as they come, for ever, and lists anew where some may be missing: once for whatever was missed while
    /// the backplane was away. `report` hears why nobody may come in, and `Ok` when everybody may, with everything known.
    ///
    /// What was [loaded](Self::load) before counts as long as `health` has not changed since.
    pub async fn follow(
        self: Arc<Self>,
        mut watch: Watch,
        mut health: watch::Receiver<Health>,
        mut report: impl FnMut(Result<(), String>),
    ) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = !health.has_changed().unwrap_or(true);
        let mut shut = false;
        loop {
            if let Some(why) = why_lost(&mut health) {
                (known, shut) = (false, true);
                report(Err(why));
            } else {
                if !known {
                    watch.begin_list();
                    let untold = |error| {
                        if shut {
                            report(Err(format!("revocations of tokens are not known: {error}")))
                        }
                    };
                    tokio::select! {
                        () = self.load_surely(untold) => known = true,
                        changed = health.changed() => if changed.is_ok() { continue } else { return },
                    }
                }
                shut = false;
                report(Ok(()));
            }
            match self.heed(&mut watch, &mut health, &mut sweep).await {
                Heard::Health => {}
                // While the backplane is away nothing can be listed; afterwards everything is.
                Heard::Missed => known = false,
                Heard::End => return,
            }
        }
    }

    /// Heeds changes until something else is heard.
    async fn heed(&self, watch: &mut Watch, health: &mut watch::Receiver<Health>, sweep: &mut Interval) -> Heard {
        let mut again = pin!(sleep(AGAIN));
        loop {
            tokio::select! {
                changed = health.changed() => return if changed.is_ok() { Heard::Health } else { Heard::End },
                change = watch.next() => match change {
                    None => return Heard::End,
                    Some(Change::Missed | Change::Lost) => return Heard::Missed,
                    Some(Change::Entry { key, value: None, revision }) => self.bans.write().lift(&key, revision),
                    Some(Change::Entry { key, value: Some(value), revision }) => {
                        if let Some(record) = Record::parse(&value) {
                            self.take(&key, record, revision);
                        }
                    }
                },
                _ = sweep.tick() => self.sweep(),
                () = &mut again, if self.unwritten.load(Ordering::Relaxed) => return Heard::Missed,
            }
        }
    }

    /// Loads until it succeeds; `report` hears why it did not.
    pub async fn load_surely(&self, mut report: impl FnMut(RegistryError)) {
        while let Err(error) = self.load().await {
            debug!(%error, "revocations not listed yet");
            report(error);
            sleep(PAUSE).await;
        }
    }

    fn sweep(&self) {
        let mut bans = self.bans.write();
        bans.sweep();
        self.telemetry.clients.revocations.set(bans.len() as f64);
    }
}

fn why_lost(health: &mut watch::Receiver<Health>) -> Option<String> {
    match &*health.borrow_and_update() {
        Health::Ready => None,
        Health::Lost { why } => Some(why.clone()),
    }
}
