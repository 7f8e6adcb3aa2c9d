//! All views of this node: who listens to which, and what comes for them. One task takes everything, so that what is told
//! of a client is told in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use uuid::Uuid;

use super::Presence;
use super::departures::Departures;
use super::life::Latest;
use super::view::{Effect, View};
use crate::backplane::{Presences, Record};
use crate::hub::{Listener, Manner, Outbox, Reach, Slot};
use crate::protocol::{Channel, Offset};
use crate::telemetry::{Pace, Telemetry};

/// Changes handled before the sockets are written.
const BATCH: usize = 256;
/// How often views that nobody listens to are closed.
const SWEEP: Duration = Duration::from_secs(5);
/// Views that are opened at one time.
const OPENINGS: usize = 32;
/// What a comparison found that waits to be taken; beyond it the comparison waits.
const FINDINGS: usize = 1024;

/// The views by channel.
pub(super) struct Views {
    views: Mutex<HashMap<Channel, Arc<View>>>,
    /// Those that nobody listens to, each once.
    idle: Mutex<Vec<Arc<View>>>,
    pub(super) departures: Departures,
    /// The highest revision that was seen of these records.
    newest: AtomicU64,
    lives: Mutex<Latest>,
    leaves: Mutex<Leaves>,
    /// There is one more of these.
    leaves_changed: Notify,
    /// A view was opened.
    pub(super) opened: Notify,
    pub(super) openings: Semaphore,
    pub(super) unopened: Pace,
    pub(super) refused: Pace,
    findings: mpsc::Sender<Finding>,
    found: Mutex<Option<mpsc::Receiver<Finding>>>,
}

/// What a comparison with the records found.
pub(super) enum Finding {
    Record(Record),
    /// A member at this revision that has no record.
    Unseen(Channel, Uuid, u64),
    /// It is over.
    End,
}

/// Leaves to be told unless the user is back, by when.
#[derive(Default)]
struct Leaves {
    by_time: BTreeMap<(Instant, u64), (Arc<View>, String)>,
    /// Tells those of the same moment apart.
    next: u64,
}

impl Views {
    pub(super) fn new() -> Self {
        let (findings, found) = mpsc::channel(FINDINGS);
        Self {
            views: Mutex::default(),
            idle: Mutex::default(),
            departures: Departures::default(),
            newest: AtomicU64::new(0),
            lives: Mutex::default(),
            leaves: Mutex::default(),
            leaves_changed: Notify::new(),
            opened: Notify::new(),
            openings: Semaphore::new(OPENINGS),
            unopened: Pace::default(),
            refused: Pace::default(),
            findings,
            found: Mutex::new(Some(found)),
        }
    }

    pub(super) fn get(&self, channel: &Channel) -> Option<Arc<View>> {
        self.views.lock().get(channel).cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.views.lock().is_empty()
    }

    /// All views.
    pub(super) fn all(&self) -> Vec<Arc<View>> {
        self.views.lock().values().cloned().collect()
    }

    /// The lives of other nodes than this one's `own` that anybody is recorded under.
    pub(super) fn lives(&self, own: &str) -> BTreeSet<String> {
        let mut lives = BTreeSet::new();
        self.all().iter().for_each(|view| view.lives(&mut lives));
        lives.iter().filter(|life| ***life != *own).map(ToString::to_string).collect()
    }

    /// The highest revision that was seen of these records: all that are stored reach as far, unless they stepped back.
    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// Who is in a channel, but for those of one node; `None` where no view knows.
    pub(super) fn members(&self, channel: &Channel, but: &str) -> Option<BTreeMap<Uuid, Bytes>> {
        Some(self.get(channel)?.members(but)?.into_iter().collect())
    }

    pub(super) fn enter(&self, channel: &Channel, delay: Duration, outbox: &Arc<Outbox>) -> (Arc<View>, Slot) {
        loop {
            let view = {
                let mut views = self.views.lock();
                let make = || Arc::new(View::new(channel.clone(), delay));
                Arc::clone(views.entry(channel.clone()).or_insert_with(make))
            };
            let mut state = view.state.lock();
            // It may close between being found and being entered.
            if !state.closed {
                let listener = Listener {
                    outbox: Arc::clone(outbox),
                    positioned: false,
                    floor: Offset::NONE,
                    manner: Manner::default(),
                };
                let slot = state.audience.enter(listener);
                drop(state);
                return (view, slot);
            }
        }
    }

    /// Begins a comparison, which must end with [`Finding::End`].
    pub(super) fn begin_comparison(&self) -> mpsc::Sender<Finding> {
        self.departures.begin();
        self.findings.clone()
    }

    /// Revisions of records begin anew: those that are known say nothing any more.
    pub(super) fn forget_revisions(&self) {
        self.newest.store(0, Ordering::Relaxed);
        self.all().iter().for_each(|view| view.forget_revisions());
        self.departures.forget();
    }

    /// Takes what was read for a view that is being opened: nothing of it is told.
    pub(super) fn known(&self, view: &Arc<View>, record: Record) {
        self.newest.fetch_max(record.revision, Ordering::Relaxed);
        self.lives.lock().note(&record.occupant.node);
        self.departures.unless_overtaken(record, |record| match view.take(record) {
            Effect::Nothing => {}
            Effect::Later(until, user) => self.tell_later(view, until, user),
            Effect::Tell(_) => debug_assert!(view.state.lock().open, "told before it was known who was there"),
        });
    }

    /// Whether it says that somebody is there, of a life after which another one of its node was seen. Who lives on is
    /// written anew under that one; who has left is known no more, and would be taken for one who comes.
    fn is_outlived(&self, record: &Record) -> bool {
        let mut lives = self.lives.lock();
        lives.note(&record.occupant.node);
        record.info.is_some() && lives.is_after(&record.occupant.node)
    }

    /// Forgets the lives of nodes that are not among all those of whom anybody is `recorded`.
    pub(super) fn keep_lives(&self, recorded: &Latest) {
        self.lives.lock().keep(recorded);
    }

    /// Takes a change as it comes.
    fn arrived(&self, record: Record, told: &mut Told) {
        self.newest.fetch_max(record.revision, Ordering::Relaxed);
        self.departures.note(&record);
        if self.is_outlived(&record) {
            return;
        }
        if let Some(view) = self.get(&record.occupant.channel) {
            let effect = view.take(record);
            self.cause(&view, effect, told);
        }
    }

    /// Takes what a comparison found; whether it was news.
    fn take_finding(&self, finding: Finding, told: &mut Told) -> bool {
        let (view, effect) = match finding {
            Finding::End => {
                self.departures.end();
                return false;
            }
            Finding::Record(record) => {
                if self.departures.overtake(&record) || self.is_outlived(&record) {
                    return false;
                }
                let Some(view) = self.get(&record.occupant.channel) else { return false };
                let effect = view.take(record);
                (view, effect)
            }
            Finding::Unseen(channel, client, revision) => {
                let Some(view) = self.get(&channel) else { return false };
                let effect = view.remove(client, revision);
                (view, effect)
            }
        };
        let news = effect != Effect::Nothing;
        self.cause(&view, effect, told);
        news
    }

    /// Does what follows from a change.
    fn cause(&self, view: &Arc<View>, effect: Effect, told: &mut Told) {
        match effect {
            Effect::Nothing => {}
            Effect::Tell(event) => told.reach += view.tell(&event, &mut told.touched),
            Effect::Later(until, user) => self.tell_later(view, until, user),
        }
    }

    fn tell_later(&self, view: &Arc<View>, until: Instant, user: String) {
        let mut leaves = self.leaves.lock();
        let order = leaves.next;
        leaves.next += 1;
        leaves.by_time.insert((until, order), (Arc::clone(view), user));
        self.leaves_changed.notify_one();
    }

    fn next_leave(&self) -> Option<Instant> {
        self.leaves.lock().by_time.first_key_value().map(|((until, _), _)| *until)
    }

    fn tell_leaves(&self, told: &mut Told) {
        let now = Instant::now();
        loop {
            let next = {
                let mut leaves = self.leaves.lock();
                match leaves.by_time.first_entry() {
                    Some(entry) if entry.key().0 <= now => Some(entry.remove_entry()),
                    _ => None,
                }
            };
            let Some(((until, _), (view, user))) = next else { return };
            if let Some(event) = view.due(&user, until) {
                told.reach += view.tell(&event, &mut told.touched);
            }
        }
    }

    /// Closes views that nobody listens to.
    fn close_idle(&self, records: &dyn Presences) {
        let idle = std::mem::take(&mut *self.idle.lock());
        for view in idle {
            let mut views = self.views.lock();
            let mut state = view.state.lock();
            if state.opening {
                drop(state);
                self.idle.lock().push(view);
                continue;
            }
            state.listed_idle = false;
            if state.audience.is_empty() {
                state.closed = true;
                drop(state);
                views.remove(&view.channel);
                // Before anybody can make another view of the channel.
                records.unwatch(&view.channel);
            }
        }
    }
}

/// Takes what comes, for ever.
pub(super) async fn run(presence: Arc<Presence>, mut changes: mpsc::Receiver<Record>) {
    let views = &presence.views;
    let Some(mut found) = views.found.lock().take() else { return };
    let mut told = Told::default();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next_leave = views.next_leave();
        tokio::select! {
            change = changes.recv() => {
                let Some(change) = change else { return };
                views.arrived(change, &mut told);
                for _ in 1..BATCH {
                    let Ok(change) = changes.try_recv() else { break };
                    views.arrived(change, &mut told);
                }
            }
            // The views hold a sender.
            Some(finding) = found.recv() => {
                let mut healed = u64::from(views.take_finding(finding, &mut told));
                for _ in 1..BATCH {
                    let Ok(finding) = found.try_recv() else { break };
                    healed += u64::from(views.take_finding(finding, &mut told));
                }
                presence.telemetry.presence.healed.increment(healed);
            }
            () = sleep_until(next_leave.unwrap_or_else(Instant::now)), if next_leave.is_some() => {
                views.tell_leaves(&mut told);
            }
            () = views.leaves_changed.notified() => {}
            _ = sweep.tick() => {
                if let Ok(records) = presence.records() {
                    views.close_idle(records);
                }
            }
        }
        told.write(&presence.telemetry);
    }
}

/// What was told and is not written yet.
#[derive(Default)]
struct Told {
    touched: Vec<Arc<Outbox>>,
    reach: Reach,
}

impl Told {
    /// Counts it, and writes every touched outbox once.
    fn write(&mut self, telemetry: &Telemetry) {
        let reach = std::mem::take(&mut self.reach);
        telemetry.clients.count_sent(reach.by_format());
        for outbox in self.touched.drain(..) {
            // The session is told by the outbox itself how that ended.
            let _ = outbox.flush();
        }
    }
}

/// Being told of joins and leaves; ends on drop.
pub struct Listening {
    presence: Arc<Presence>,
    view: Arc<View>,
    slot: Slot,
}

impl Listening {
    pub(super) const fn new(presence: Arc<Presence>, view: Arc<View>, slot: Slot) -> Self {
        Self { presence, view, slot }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.view.state.lock();
        state.audience.leave(self.slot);
        if state.audience.is_empty() && !std::mem::replace(&mut state.listed_idle, true) {
            drop(state);
            self.presence.views.idle.lock().push(Arc::clone(&self.view));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Occupant;

    fn record(life: &str, revision: u64, is_there: bool) -> Record {
        let channel = Channel::parse("room", 255).expect("a channel");
        let occupant = Occupant { node: life.into(), channel, client: Uuid::from_u128(1) };
        Record { occupant, info: is_there.then(|| "{}".into()), departed: None, revision }
    }

    #[test]
    fn who_left_under_a_later_life_neither_comes_nor_leaves_again_by_what_is_read_of_an_earlier_one() {
        let (views, mut told) = (Views::new(), Told::default());
        let channel = record("a~1", 0, true).occupant.channel;
        let view = Arc::new(View::new(channel.clone(), Duration::ZERO));
        view.state.lock().open = true;
        views.views.lock().insert(channel.clone(), view);
        let members = || views.members(&channel, "").map(|members| members.len());
        views.arrived(record("a~1", 1, true), &mut told);
        views.arrived(record("a~2", 2, true), &mut told);
        assert_eq!(members(), Some(1));
        views.arrived(record("a~2", 3, false), &mut told);
        assert_eq!(members(), Some(0));
        // What a comparison reads: nobody has cleaned up after the earlier life yet.
        assert!(!views.take_finding(Finding::Record(record("a~1", 1, true)), &mut told), "told as a join");
        assert_eq!(members(), Some(0));
        assert!(!views.take_finding(Finding::Record(record("a~2", 3, false)), &mut told), "told as a leave");
        assert!(views.take_finding(Finding::Record(record("a~2", 4, true)), &mut told), "who comes is told");
    }
}
