//! Following the registry: changes as they are told, and the whole list now and then, since telling is at most once.

use std::sync::Arc;

use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, info};

use super::entry::Entry;
use super::view::View;
use super::{Shared, State};
use crate::backplane::{Change, Registry, RegistryError, Watch};

/// How often everything is read again without a reason.
const AGAIN: Duration = Duration::from_secs(10);
/// The shortest time between two readings.
const PAUSE: Duration = Duration::from_millis(100);

impl Shared {
    pub(super) fn registry(&self) -> &dyn Registry {
        self.backplane.registry(crate::backplane::Bucket::Nodes)
    }

    /// Changes what this node knows, and tells whoever wants to know if it did.
    pub(super) fn changed(&self, change: impl FnOnce(&mut View) -> bool) {
        if !change(&mut self.view.lock()) {
            return;
        }
        self.count_nodes();
        self.tell_change();
    }

    pub(super) fn tell_change(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    /// Takes in what the registry tells until it is closed.
    pub(super) async fn follow(self: Arc<Self>, mut watch: Watch) {
        while let Some(change) = watch.next().await {
            let now = Instant::now();
            match change {
                Change::Missed => self.wake.list.notify_one(),
                Change::Lost => {
                    self.wake.keep.notify_one();
                    self.wake.list.notify_one();
                }
                Change::Entry { key, value, revision } => match value.map(|value| Entry::from_bytes(&value)) {
                    None => self.changed(|view| view.forget(&key, revision)),
                    Some(Some(entry)) if entry.name == key => {
                        self.tell_of(&entry);
                        self.changed(|view| view.apply(entry, revision, now));
                    }
                    Some(_) => debug!(key, "an entry that this node does not understand"),
                },
            }
            self.look_at_myself();
        }
    }

    /// Reads the whole registry again when it is time or something may have been missed.
    pub(super) async fn list_again(self: Arc<Self>) {
        let mut ticks = interval(AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.wake.list.notified() => {}
            }
            if let Err(error) = self.list().await {
                debug!(%error, "nodes not listed");
                self.wake.list.notify_one();
            }
            self.look_at_myself();
            sleep(PAUSE).await;
        }
    }

    pub(super) async fn list(&self) -> Result<(), RegistryError> {
        let before = self.view.lock().highest();
        let listed = self.registry().list().await?;
        let entries = listed.iter().filter_map(|found| {
            let entry = Entry::from_bytes(&found.value).filter(|entry| entry.name == found.key)?;
            Some((entry, found.revision))
        });
        let entries = entries.collect();
        self.changed(|view| {
            view.replace(entries, before, Instant::now());
            true
        });
        Ok(())
    }

    /// Looks after the own entry at once where it is not what this node wrote.
    fn look_at_myself(&self) {
        let view = self.view.lock();
        let life = *self.life.lock();
        let mine = view.get(&self.name).is_some_and(|known| {
            known.entry.process == self.process && known.entry.incarnation == life.incarnation && known.entry.is_live()
        });
        if !mine && life.state.is_live() {
            self.wake.keep.notify_one();
        }
    }

    fn tell_of(&self, entry: &Entry) {
        let view = self.view.lock();
        let before = view.get(&entry.name).map(|known| (known.entry.incarnation, known.entry.state));
        if before != Some((entry.incarnation, entry.state)) && entry.name != self.name {
            let now = match entry.state {
                State::Up => "is up",
                State::Draining => "drains",
                State::Failed => "is taken for dead",
                State::Left => "has left",
            };
            info!(node = %entry.id(), state = ?entry.state, "a node {now}");
        }
    }

    fn count_nodes(&self) {
        let mut counts = [0_u32; 4];
        for known in self.view.lock().all() {
            counts[known.entry.state.label() as usize] += 1;
        }
        for state in [State::Up, State::Draining, State::Failed, State::Left] {
            self.telemetry.cluster.nodes.of(state.label()).set(counts[state.label() as usize]);
        }
    }
}
