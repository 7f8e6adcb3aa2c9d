//! This node's own entry: written at the start, again and again while it lives, and at the end.
//!
//! Everybody may write it under the revision that they read. So a write that conflicts is how a node learns what others
//! decided about it.

use std::sync::Arc;

use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use super::entry::{Entry, State, next_incarnation};
use super::{JoinError, Life, Shared};
use crate::backplane::{Guard, RegistryError, Revision};
use crate::clock::unix_seconds;

/// How long a starting node waits for a registry that takes no writes, or answers no reads: an election takes 4 to 9 seconds.
pub(super) const JOIN_PATIENCE: Duration = Duration::from_secs(30);
pub(super) const RETRY: Duration = Duration::from_millis(250);
/// How long a node that leaves may take for its own traces.
const LAST_REAP: Duration = Duration::from_secs(2);

/// The entry as this node last wrote or read it.
pub(super) struct Own {
    pub(super) entry: Entry,
    pub(super) revision: Revision,
}

/// What an entry under this node's name says, once it is not what this node wrote.
enum Finding {
    /// It is this node's, and alive.
    Mine,
    /// This life was declared dead, or forgotten.
    Over,
    /// A later life of the name belongs to another process.
    Another(u64),
}

impl Shared {
    /// Enters this node into the registry as a new life of its name.
    pub(super) async fn enter(&self, fresh: &Entry) -> Result<Own, JoinError> {
        let deadline = Instant::now() + JOIN_PATIENCE;
        loop {
            match self.try_enter(fresh).await {
                Ok(own) => return Ok(own),
                Err(RegistryError::Refused(why)) => return Err(JoinError::Refused(why)),
                Err(error) if Instant::now() >= deadline => return Err(JoinError::Registry(error)),
                Err(error) => debug!(%error, "not entered yet"),
            }
            sleep(RETRY).await;
        }
    }

    /// Knows everybody else, however often that has to be asked: an election may have begun since it entered.
    pub(super) async fn first_list(&self) -> Result<(), JoinError> {
        let deadline = Instant::now() + JOIN_PATIENCE;
        while let Err(error) = self.list().await {
            if Instant::now() >= deadline {
                return Err(JoinError::Registry(error));
            }
            debug!(%error, "nodes not listed yet");
            sleep(RETRY).await;
        }
        Ok(())
    }

    async fn try_enter(&self, fresh: &Entry) -> Result<Own, RegistryError> {
        let found = self.registry().get(&self.name).await?;
        let previous = found.as_ref().and_then(|found| Entry::from_bytes(&found.value));
        let guard = found.map_or(Guard::Absent, |found| Guard::Revision(found.revision));
        let entry = reborn(fresh, previous.as_ref());
        let revision = self.write(&entry, guard).await?;
        Ok(Own { entry, revision })
    }

    /// Writes this node's entry now and then, and whenever it is woken.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut ticks = interval(self.timing.mirror);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.wake.keep.notified() => {}
            }
            if self.fenced.is_cancelled() {
                return self.stop.cancelled().await;
            }
            let written = self.mirror().await;
            self.vitals.lock().wrote(written.is_ok());
            if let Err(error) = written {
                debug!(%error, "own entry not written");
                sleep(RETRY).await;
                self.wake.keep.notify_one();
            }
        }
    }

    /// Writes the own entry; where somebody else did meanwhile, what follows from that.
    pub(super) async fn mirror(&self) -> Result<(), RegistryError> {
        let mut own = self.own.lock().await;
        if !own.entry.is_live() {
            return Ok(());
        }
        own.entry.state = self.life.lock().state;
        match self.write(&own.entry, Guard::Revision(own.revision)).await {
            Ok(revision) => {
                own.revision = revision;
                Ok(())
            }
            Err(RegistryError::Conflict(_)) => self.reconcile(&mut own).await,
            Err(error) => Err(error),
        }
    }

    async fn reconcile(&self, own: &mut Own) -> Result<(), RegistryError> {
        let found = self.registry().get(&self.name).await?;
        let guard = found.as_ref().map_or(Guard::Absent, |found| Guard::Revision(found.revision));
        let entry = found.as_ref().and_then(|found| Entry::from_bytes(&found.value));
        match self.finding(&own.entry, entry.as_ref()) {
            Finding::Another(incarnation) => {
                self.fence(incarnation);
                Ok(())
            }
            Finding::Mine => {
                let entry = Entry { state: self.life.lock().state, ..entry.unwrap_or_else(|| own.entry.clone()) };
                let revision = self.write(&entry, guard).await?;
                self.became(own, entry, revision);
                Ok(())
            }
            Finding::Over => {
                let mut entry = reborn_again(&own.entry, entry.as_ref());
                entry.state = self.life.lock().state;
                let revision = self.write(&entry, guard).await?;
                warn!(node = %entry.id(), "this node was declared dead or forgotten, and joins anew");
                self.telemetry.cluster.rejoins.increment(1);
                self.became(own, entry, revision);
                Ok(())
            }
        }
    }

    fn finding(&self, own: &Entry, found: Option<&Entry>) -> Finding {
        match found {
            None => Finding::Over,
            Some(found) if found.process != self.process && found.incarnation > own.incarnation => {
                Finding::Another(found.incarnation)
            }
            // Also a write of this process whose acknowledgement was lost.
            Some(found) if found.process == self.process && found.incarnation >= own.incarnation && found.is_live() => {
                Finding::Mine
            }
            Some(_) => Finding::Over,
        }
    }

    fn became(&self, own: &mut Own, entry: Entry, revision: Revision) {
        let id = entry.id();
        {
            let mut life = self.life.lock();
            if life.incarnation != entry.incarnation {
                life.reborn_at = Some(Instant::now());
            }
            life.incarnation = entry.incarnation;
        }
        *own = Own { entry, revision };
        self.incarnation.send_if_modified(|current| {
            let news = *current != id;
            *current = id;
            news
        });
        self.wake.beat.notify_one();
    }

    /// Changes how this node is, and tells everybody.
    pub(super) fn become_state(&self, state: State) {
        self.life.lock().state = state;
        self.wake.beat.notify_one();
        self.wake.keep.notify_one();
    }

    /// Says goodbye. What this life leaves behind is removed by itself, or else by another.
    pub(super) async fn leave(&self, deadline: Instant) {
        let reaped = match self.reap.get() {
            Some(reap) => {
                let id = Arc::clone(&*self.incarnation.borrow());
                let until = deadline.min(Instant::now() + LAST_REAP);
                timeout_at(until, reap.reap(&id)).await.is_ok_and(|reaped| reaped.is_ok())
            }
            None => true,
        };
        self.life.lock().state = State::Left;
        let leaving = async {
            let mut own = self.own.lock().await;
            while let Err(error) = self.try_leave(&mut own, reaped).await {
                debug!(%error, "goodbye not said yet");
                sleep(RETRY).await;
            }
        };
        if timeout_at(deadline, leaving).await.is_err() {
            warn!("left without saying so: others will declare this node dead");
        }
        self.beat_once().await;
    }

    async fn try_leave(&self, own: &mut Own, reaped: bool) -> Result<(), RegistryError> {
        let found = self.registry().get(&self.name).await?;
        let Some(found) = found else { return Ok(()) };
        let Some(mut entry) = Entry::from_bytes(&found.value) else { return Ok(()) };
        if entry.process != self.process || !entry.is_live() {
            return Ok(());
        }
        entry.state = State::Left;
        if !reaped {
            entry.owe(entry.incarnation, None);
        }
        own.revision = self.write(&entry, Guard::Revision(found.revision)).await?;
        info!(node = %entry.id(), "left the cluster");
        own.entry = entry;
        Ok(())
    }

    /// Another process has a later life of this name: this one must not go on.
    pub(super) fn fence(&self, incarnation: u64) {
        if self.fenced.is_cancelled() {
            return;
        }
        error!(
            node = self.name,
            incarnation,
            "another process has joined under this node's name: two nodes have the same SERVER_ID (node.name), or this one \
             was replaced; it stops serving"
        );
        self.telemetry.cluster.fenced.increment(1);
        self.fenced.cancel();
    }

    /// Writes an entry, and takes it in at once: this node need not wait to be told what it wrote.
    pub(super) async fn write(&self, entry: &Entry, guard: Guard) -> Result<Revision, RegistryError> {
        let revision = self.registry().put(&entry.name, entry.to_bytes(), guard, entry.ttl()).await?;
        self.changed(|view| view.apply(entry.clone(), revision, Instant::now()));
        Ok(revision)
    }
}

/// The next life of a name. What its last one left behind is for it to remove, unless somebody is at it.
fn reborn(fresh: &Entry, previous: Option<&Entry>) -> Entry {
    let floor = previous.map_or(0, |previous| previous.incarnation).max(fresh.incarnation);
    let mut entry =
        Entry { incarnation: next_incarnation(floor), state: State::Up, debts: Vec::new(), ..fresh.clone() };
    entry.joined_at = unix_seconds();
    if let Some(previous) = previous {
        entry.debts.clone_from(&previous.debts);
        if previous.is_live() {
            let id = entry.id();
            entry.owe(previous.incarnation, Some(&id));
        }
    }
    entry
}

/// The next life of a process whose last one is over. What it wrote under that one may be applied only now, after somebody
/// else has cleaned up: so it does it itself, once more.
fn reborn_again(last: &Entry, previous: Option<&Entry>) -> Entry {
    let mut entry = reborn(last, previous);
    let (id, over) = (entry.id(), last.id());
    for debt in &mut entry.debts {
        if debt.reaper.as_deref() == Some(&*over) {
            debt.reaper = Some(id.to_string());
        }
    }
    entry.take_on(last.incarnation, &id);
    entry
}

impl Life {
    pub(super) const fn of(entry: &Entry) -> Self {
        Self { incarnation: entry.incarnation, state: entry.state, ready: false, reborn_at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Debt;
    use super::*;

    fn entry(incarnation: u64, debts: &[(u64, &str)]) -> Entry {
        let debt = |(incarnation, reaper): &(u64, &str)| Debt {
            incarnation: *incarnation,
            reaper: Some((*reaper).to_owned()),
        };
        Entry {
            name: "bob".to_owned(),
            incarnation,
            process: String::new(),
            address: String::new(),
            version: String::new(),
            capacity: None,
            joined_at: 0,
            state: State::Failed,
            debts: debts.iter().map(debt).collect(),
        }
    }

    fn debts(entry: &Entry) -> Vec<(u64, Option<&str>)> {
        entry.debts.iter().map(|debt| (debt.incarnation, debt.reaper.as_deref())).collect()
    }

    #[test]
    fn a_node_that_goes_on_as_another_life_cleans_up_after_its_last_one_itself() {
        let last = entry(2, &[]);
        for found in [Some(entry(2, &[])), Some(entry(2, &[(2, "ada~1")])), None] {
            let reborn = reborn_again(&last, found.as_ref());
            assert_eq!(debts(&reborn), [(2, Some(&*reborn.id()))]);
        }
    }

    #[test]
    fn what_its_last_life_had_taken_on_its_next_one_does() {
        let reborn = reborn_again(&entry(2, &[]), Some(&entry(2, &[(1, "bob~2"), (0, "ada~1")])));
        let id = reborn.id();
        assert_eq!(debts(&reborn), [(1, Some(&*id)), (0, Some("ada~1")), (2, Some(&*id))]);
    }
}
