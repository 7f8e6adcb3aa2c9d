//! All views of this node: who listens to which, and what comes for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{debug, warn};
use uuid::Uuid;

use super::Presence;
use super::view::{Effect, View};
use crate::backplane::{Presences, Record, Whose};
use crate::hub::{Listener, Manner, Outbox, Reach, Slot};
use crate::protocol::{Channel, Offset};
use crate::telemetry::{Pace, Telemetry};

/// How long a subscriber waits for its view. One that opens later has nothing to tell of what was before.
const PATIENCE: Duration = Duration::from_millis(800);
/// Changes handled before the sockets are written.
const BATCH: usize = 256;
/// How often views that nobody listens to are closed.
const SWEEP: Duration = Duration::from_secs(5);

/// The views by channel.
#[derive(Default)]
pub(super) struct Views {
    views: Mutex<HashMap<Channel, Arc<View>>>,
    /// Those that nobody listens to, each once.
    idle: Mutex<Vec<Arc<View>>>,
    readings: Mutex<Readings>,
    /// Leaves to be told unless the user is back, by when.
    leaves: Mutex<Leaves>,
    /// There is one more of these.
    leaves_changed: Notify,
    /// A view was opened, from records that may lag.
    pub(super) opened: Notify,
    unopened: Pace,
}

#[derive(Default)]
struct Leaves {
    by_time: BTreeMap<(Instant, u64), (Arc<View>, String)>,
    /// Tells those of the same moment apart.
    next: u64,
}

/// While records are read, departures are remembered: what is read may be older than they.
#[derive(Default)]
struct Readings {
    under_way: usize,
    departed: HashMap<(Channel, Uuid), u64>,
}

/// Records are being read until this is dropped.
pub(super) struct Reading<'a>(&'a Views);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut readings = self.0.readings.lock();
        readings.under_way -= 1;
        if readings.under_way == 0 {
            readings.departed = HashMap::new();
        }
    }
}

impl Views {
    fn get(&self, channel: &Channel) -> Option<Arc<View>> {
        self.views.lock().get(channel).cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.views.lock().is_empty()
    }

    /// All views.
    pub(super) fn all(&self) -> Vec<Arc<View>> {
        self.views.lock().values().cloned().collect()
    }

    /// Who is in a channel, but for those of one node; `None` where no view knows.
    pub(super) fn members(&self, channel: &Channel, but: &str) -> Option<BTreeMap<Uuid, Bytes>> {
        Some(self.get(channel)?.members(but)?.into_iter().collect())
    }

    fn enter(&self, channel: &Channel, delay: Duration, outbox: &Arc<Outbox>) -> (Arc<View>, Slot) {
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

    pub(super) fn read(&self) -> Reading<'_> {
        self.readings.lock().under_way += 1;
        Reading(self)
    }

    /// Takes a change as it comes.
    fn arrived(&self, record: Record, told: &mut Told) {
        {
            let mut readings = self.readings.lock();
            if readings.under_way > 0 && record.info.is_none() {
                let key = (record.occupant.channel.clone(), record.occupant.client);
                readings.departed.insert(key, record.revision);
            }
        }
        if let Some(view) = self.get(&record.occupant.channel) {
            let effect = view.take(record);
            self.cause(&view, effect, told);
        }
    }

    /// Takes a record that was read; whether it was news.
    pub(super) fn found(&self, record: Record, told: &mut Told) -> bool {
        let Some(view) = self.get(&record.occupant.channel) else { return false };
        let effect = {
            // Held until the view has it: a departure that comes meanwhile comes after it.
            let readings = self.readings.lock();
            let key = (record.occupant.channel.clone(), record.occupant.client);
            if readings.departed.get(&key).is_some_and(|departed| *departed >= record.revision) {
                return false;
            }
            view.take(record)
        };
        let news = effect != Effect::Nothing;
        self.cause(&view, effect, told);
        news
    }

    /// Does what follows from a change.
    pub(super) fn cause(&self, view: &Arc<View>, effect: Effect, told: &mut Told) {
        match effect {
            Effect::Nothing => {}
            Effect::Tell(event) => told.reach += view.tell(&event, &mut told.touched),
            Effect::Later(until, user) => {
                let mut leaves = self.leaves.lock();
                let order = leaves.next;
                leaves.next += 1;
                leaves.by_time.insert((until, order), (Arc::clone(view), user));
                self.leaves_changed.notify_one();
            }
        }
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
            state.listed_idle = false;
            // Whoever opens it has the turn, and listens, or has just left and lists it again.
            if !state.audience.is_empty() || view.turn.try_lock().is_err() {
                continue;
            }
            state.closed = true;
            drop(state);
            views.remove(&view.channel);
            // Before anybody can make another view of the channel.
            records.unwatch(&view.channel);
        }
    }
}

/// Takes what comes, for ever.
pub(super) async fn run(presence: Arc<Presence>, mut changes: mpsc::Receiver<Record>) {
    let mut told = Told::default();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let views = &presence.views;
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
pub(super) struct Told {
    touched: Vec<Arc<Outbox>>,
    reach: Reach,
}

impl Told {
    /// Counts it, and writes every touched outbox once.
    pub(super) fn write(&mut self, telemetry: &Telemetry) {
        let reach = std::mem::take(&mut self.reach);
        telemetry.clients.count_sent(reach.by_format(), reach.overflowed);
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

impl Presence {
    /// Has `outbox` told who comes to `channel` and who leaves it, from the moment on in which this returns. With a
    /// `delay`, of users who stay away for as long, in place of clients.
    ///
    /// Where the backplane does not answer in time, it is told of what happens later.
    pub async fn listen(self: &Arc<Self>, channel: &Channel, delay: Duration, outbox: &Arc<Outbox>) -> Listening {
        let (view, slot) = self.views.enter(channel, delay, outbox);
        let listening = Listening { presence: Arc::clone(self), view, slot };
        if timeout(PATIENCE, self.open(&listening.view)).await != Ok(true) {
            if self.views.unopened.due().is_some() {
                warn!(%channel, "who is there is not known yet; joins and leaves are told once it is");
            }
            self.views.opened.notify_one();
        }
        listening
    }

    /// Makes a view know who is there; whether it does.
    pub(super) async fn open(&self, view: &View) -> bool {
        if view.state.lock().open {
            return true;
        }
        let _turn = view.turn.lock().await;
        if view.state.lock().open {
            return true;
        }
        let Ok(records) = self.records() else { return false };
        if let Err(error) = records.watch(&view.channel).await {
            debug!(channel = %view.channel, %error, "not watched yet");
            return false;
        }
        let _reading = self.views.read();
        let mut told = Told::default();
        let read = self.each_record(Whose::Channel(&view.channel), |record| {
            self.views.found(record, &mut told);
        });
        if let Err(error) = read.await {
            debug!(channel = %view.channel, %error, "who is there is not known yet");
            return false;
        }
        view.state.lock().open = true;
        self.views.unopened.over();
        self.views.opened.notify_one();
        true
    }
}
