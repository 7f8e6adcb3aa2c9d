//! Finds holes that no later message would show: on channels that fell quiet, and where a subscription took effect
//! late.
//!
//! Every channel is compared with its stream from time to time, a freshly opened one after a second, and a whole
//! namespace whenever the backplane says that something may be missing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::Relay;
use super::tail::make_room;
use super::topic::Topic;
use crate::backplane::{GapCause, Health, HistoryError};
use crate::protocol::{Channel, Offset};
use crate::settings::Namespaces;

const TICK: Duration = Duration::from_secs(1);
/// How often every channel is compared with its stream.
const PERIOD: Duration = Duration::from_secs(30);
/// How old a sighting must be before everything below it counts as delivered: nothing is on its way for longer.
pub(super) const SETTLED: Duration = Duration::from_secs(10);
/// When a freshly opened channel is compared: by then its subscription has reached every server.
const FRESH: Duration = Duration::from_secs(1);
/// What is on its way gets so long to arrive, where nothing but the clock had channels compared.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// How long a channel may be quiet before it makes room for others.
const QUIET: Duration = Duration::from_secs(60);
/// Channels compared in one call.
const CHUNK: usize = 1000;

/// What the audit keeps.
pub(super) struct Audits {
    spaces: HashMap<Arc<str>, Space>,
    fresh: Mutex<VecDeque<Look>>,
    late: Mutex<VecDeque<Look>>,
    demanded: Notify,
}

/// What is known of one namespace with history, or of one without (which only passes gaps on).
struct Space {
    has_history: bool,
    /// A channel was opened before.
    listened: AtomicBool,
    /// The highest offset seen on any channel.
    highest: AtomicU64,
    /// That offset over the last seconds, one entry a tick.
    sightings: Mutex<VecDeque<(Instant, u64)>>,
    /// Everything at or below was delivered, or found missing, before.
    floor: AtomicU64,
    demanded: Mutex<Option<GapCause>>,
    /// When it was compared last by itself.
    compared: Mutex<Instant>,
}

/// A channel that is to be compared once more.
struct Look {
    since: Instant,
    topic: Arc<Topic>,
    /// Up to here it was known then.
    through: Offset,
}

impl Look {
    fn again(topic: &Arc<Topic>, through: Offset) -> Self {
        Self { since: Instant::now(), topic: Arc::clone(topic), through }
    }
}

impl Audits {
    pub(super) fn new(namespaces: &Namespaces) -> Self {
        let space = |has_history| Space {
            has_history,
            listened: AtomicBool::new(false),
            highest: AtomicU64::new(0),
            sightings: Mutex::default(),
            floor: AtomicU64::new(0),
            demanded: Mutex::default(),
            compared: Mutex::new(Instant::now()),
        };
        let spaces =
            namespaces.iter().map(|namespace| (Arc::clone(&namespace.name), space(namespace.history.is_some())));
        Self { spaces: spaces.collect(), fresh: Mutex::default(), late: Mutex::default(), demanded: Notify::new() }
    }

    /// Notes an offset that passed.
    pub(super) fn saw(&self, namespace: &str, offset: Offset) {
        if let Some(space) = self.spaces.get(namespace) {
            space.highest.fetch_max(offset.0, Ordering::Relaxed);
        }
    }

    /// Notes a freshly opened channel, for a second look.
    pub(super) fn opened(&self, topic: &Arc<Topic>, through: Offset) {
        if let Some(space) = self.spaces.get(&topic.namespace.name) {
            // Nothing was listened to before the first channel: what lies below its beginning is nobody's loss.
            if !space.listened.swap(true, Ordering::Relaxed) {
                space.floor.store(through.0, Ordering::Relaxed);
            }
            space.highest.fetch_max(through.0, Ordering::Relaxed);
        }
        self.fresh.lock().push_back(Look::again(topic, through));
    }

    /// Notes a channel that is known `through` here, and whose next publications may still be on their way.
    pub(super) fn is_late(&self, topic: &Arc<Topic>, through: Offset) {
        self.late.lock().push_back(Look::again(topic, through));
    }

    /// Something may be missing in a namespace.
    pub(super) fn demand(&self, namespace: &str, cause: GapCause) {
        let Some(space) = self.spaces.get(namespace) else { return };
        let mut demanded = space.demanded.lock();
        // A changed epoch outweighs whatever else was suspected.
        if *demanded != Some(GapCause::EpochChanged) {
            *demanded = Some(cause);
        }
        drop(demanded);
        self.demanded.notify_one();
    }

    /// Something may be missing anywhere.
    pub(super) fn demand_all(&self, cause: GapCause) {
        for namespace in self.spaces.keys() {
            self.demand(namespace, cause);
        }
    }
}

impl Space {
    /// Notes how far publications have come, and forgets all but the newest sighting that has settled.
    fn sight(&self) {
        let mut sightings = self.sightings.lock();
        sightings.push_back((Instant::now(), self.highest.load(Ordering::Relaxed)));
        while sightings.get(1).is_some_and(|(seen, _)| seen.elapsed() >= SETTLED) {
            sightings.pop_front();
        }
    }

    /// Starts over: offsets seen so far are of an epoch that is over.
    fn forget(&self) {
        self.floor.store(0, Ordering::Relaxed);
        self.highest.store(0, Ordering::Relaxed);
        self.sightings.lock().clear();
    }

    /// The highest offset below which everything has had its time to arrive.
    fn settled(&self) -> Option<u64> {
        self.sightings.lock().front().filter(|(seen, _)| seen.elapsed() >= SETTLED).map(|(_, highest)| *highest)
    }
}

/// Looks around, for ever.
pub(super) async fn run(relay: Arc<Relay>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut made_room = Instant::now();
    loop {
        tokio::select! {
            () = relay.audits.demanded.notified() => {}
            _ = tick.tick() => {
                relay.audits.spaces.values().for_each(Space::sight);
                relay.registry.sweep_idle(relay.backplane.as_ref(), &relay.telemetry);
                relay.look_again(&relay.audits.fresh, FRESH).await;
                relay.look_again(&relay.audits.late, SETTLED).await;
                relay.demand_periodic();
                if made_room.elapsed() >= QUIET {
                    made_room = Instant::now();
                    make_room(&relay.registry, &relay.tails);
                }
            }
        }
        relay.check_demanded().await;
    }
}

impl Relay {
    /// Has every namespace compared whose time has come: often enough for a publication to be compared several times
    /// before it ages out.
    fn demand_periodic(&self) {
        for (namespace, space) in self.audits.spaces.iter().filter(|(_, space)| space.has_history) {
            let retention = self.backplane.history().map_or(Duration::ZERO, |history| history.retention(namespace));
            let period = if retention.is_zero() { PERIOD } else { PERIOD.min(retention / 8) };
            let mut compared = space.compared.lock();
            if compared.elapsed() >= period {
                *compared = Instant::now();
                space.demanded.lock().get_or_insert(GapCause::Audit);
            }
        }
    }

    /// Compares every namespace that was demanded; one that cannot be read stays demanded.
    async fn check_demanded(&self) {
        for (namespace, space) in &self.audits.spaces {
            let Some(cause) = space.demanded.lock().take() else { continue };
            let topics = self.registry.of_namespace(namespace);
            if !space.has_history {
                topics.iter().for_each(|topic| self.tell_loss(topic, cause));
                continue;
            }
            if cause == GapCause::EpochChanged {
                if self.begin_epoch(namespace, &topics).await {
                    space.forget();
                } else {
                    space.demanded.lock().get_or_insert(cause);
                }
                continue;
            }
            let settled = space.settled();
            let floor = Offset(space.floor.load(Ordering::Relaxed));
            // What was opened late, or healed meanwhile, is not known up to the floor.
            let (late, known): (Vec<_>, Vec<_>) = topics.into_iter().partition(|topic| topic.proven() < floor);
            let late_floor = late.iter().map(|topic| topic.proven()).min().unwrap_or(floor);
            let compared = async {
                self.compare(namespace, &known, floor, cause).await?;
                self.compare(namespace, &late, late_floor, cause).await
            };
            match compared.await {
                Ok(()) => {
                    self.uncompared.over();
                    self.raise_floor(namespace, space, settled).await;
                }
                Err(error) => {
                    // While the backplane is away it says so itself.
                    if *self.backplane.health().borrow() == Health::Ready && self.uncompared.due().is_some() {
                        warn!(%namespace, "could not compare channels with their stream, trying again: {error}");
                    } else {
                        debug!(%namespace, "could not compare channels with their stream, trying again: {error}");
                    }
                    space.demanded.lock().get_or_insert(cause);
                }
            }
        }
    }

    /// Has every channel start over that still stands in another epoch. Returns whether the epoch could be asked for.
    async fn begin_epoch(&self, namespace: &str, topics: &[Arc<Topic>]) -> bool {
        let Some(history) = self.backplane.history() else { return true };
        let Ok(bounds) = history.bounds(namespace).await else { return false };
        for topic in topics {
            let epoch = topic.state.lock().epoch();
            if epoch.is_some_and(|epoch| epoch != bounds.epoch) {
                self.suspect(topic, GapCause::EpochChanged, Offset::NONE);
            }
        }
        true
    }

    /// What has settled need not be compared again, unless it is of an epoch that is over.
    async fn raise_floor(&self, namespace: &str, space: &Space, settled: Option<u64>) {
        let Some((settled, history)) = settled.zip(self.backplane.history()) else { return };
        let Ok(bounds) = history.bounds(namespace).await else { return };
        if settled <= bounds.last.0 {
            space.floor.fetch_max(settled, Ordering::Relaxed);
        } else {
            space.forget();
        }
    }

    /// Looks once more at what has waited for so long.
    async fn look_again(&self, waiting: &Mutex<VecDeque<Look>>, after: Duration) {
        let mut by_namespace: HashMap<Arc<str>, (Vec<Arc<Topic>>, Offset)> = HashMap::new();
        {
            let mut waiting = waiting.lock();
            while waiting.front().is_some_and(|entry| entry.since.elapsed() >= after) {
                let Some(entry) = waiting.pop_front() else { break };
                let name = Arc::clone(&entry.topic.namespace.name);
                let (topics, floor) = by_namespace.entry(name).or_insert((Vec::new(), entry.through));
                topics.push(entry.topic);
                *floor = (*floor).min(entry.through);
            }
        }
        for (namespace, (topics, floor)) in by_namespace {
            if let Err(error) = self.compare(&namespace, &topics, floor, GapCause::Audit).await {
                debug!(%namespace, "could not look at channels again, leaving them to the next audit: {error}");
                self.audits.demand(&namespace, GapCause::Audit);
            }
        }
    }

    /// Compares channels with their stream; those that reach further than what passed here are healed.
    async fn compare(
        &self,
        namespace: &str,
        topics: &[Arc<Topic>],
        floor: Offset,
        cause: GapCause,
    ) -> Result<(), HistoryError> {
        let Some(history) = self.backplane.history() else { return Ok(()) };
        let mut behind = Vec::new();
        for topics in topics.chunks(CHUNK) {
            let channels: Vec<Channel> = topics.iter().map(|topic| topic.channel.clone()).collect();
            let asked = history.now(namespace);
            let newer = history.newer(namespace, &channels, floor).await?;
            let tops: HashMap<_, _> = newer.tops.into_iter().collect();
            for topic in topics {
                let newest = tops.get(&topic.channel).copied();
                let mut state = topic.state.lock();
                if state.is_behind(newest) {
                    behind.extend(newest.map(|newest| (topic, newest)));
                } else {
                    state.confirm(floor, newer.last, asked, history.retention(namespace));
                }
            }
        }
        // What was stored a moment ago may still be on its way.
        if cause == GapCause::Audit && !behind.is_empty() {
            sleep(ON_ITS_WAY).await;
        }
        for (topic, newest) in behind {
            let still = topic.state.lock().is_behind(Some(newest));
            if still {
                self.suspect(topic, cause, newest);
            }
        }
        Ok(())
    }

    /// Without history a loss cannot be healed: it is told.
    pub(super) fn tell_loss(&self, topic: &Topic, cause: GapCause) {
        let mut state = topic.state.lock();
        if state.audience.is_empty() {
            return;
        }
        let told = state.audience.lose(&topic.channel);
        drop(state);
        self.count_gap(cause);
        self.count_unhealed(cause);
        if told > 0
            && let Some(left_out) = self.lost.due()
        {
            let (channel, cause) = (&topic.channel, cause.label());
            warn!(%channel, cause, told, left_out, "publications may be lost; the namespace has no history to heal from");
        }
    }
}
