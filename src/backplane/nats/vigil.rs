//! Watches over connection, streams and epochs, restores what can be restored, and says whether the backplane works.

mod verdict;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all, try_join_all};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::connection::{ApiError, Link, Refusal};
use super::generations::Generations;
use super::keep::Keep;
use super::live::LiveState;
use super::presences::Records;
use super::refusals::TakenBack;
use super::registry::Shelf;
use super::signals::{Pending, Signals};
use super::streams::StreamError;
use super::subjects::Subjects;
use crate::backplane::feed::FeedClosed;
use crate::backplane::{Delivery, FeedSender, Gap, GapCause, Health, Scope};
use crate::telemetry::{self, Pace, Telemetry};

/// How often what nobody announces is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often the round trip is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(10);
/// How often epochs are checked, and it is looked whether what nodes share is there, although nothing hints at a change:
/// that another node found one is told at most once.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// Connections of a node: one that publishes and asks, one that listens, one for what is read, one for services.
const CONNECTIONS: u32 = 4;
/// How long a check may take before its gap is announced all the same.
const CHECK_PATIENCE: Duration = Duration::from_secs(3);

/// The task that watches.
pub struct Vigil {
    pub link: Link,
    pub subjects: Subjects,
    pub generations: Arc<Generations>,
    pub shelves: Arc<[Arc<Shelf>]>,
    pub keeps: HashMap<Arc<str>, Arc<Keep>>,
    pub records: Option<Arc<Records>>,
    /// How the connection stands that history is read over.
    pub answers: watch::Receiver<LiveState>,
    pub services: Link,
    /// What was taken back of each connection's subscriptions.
    pub taken_back: [watch::Receiver<TakenBack>; CONNECTIONS as usize],
    pub feed: FeedSender,
    pub signals: Arc<Signals>,
    pub health: watch::Sender<Health>,
    pub telemetry: Arc<Telemetry>,
    /// The configured servers, for the log.
    pub servers: String,
    pub outage: Pace,
    /// Of lines about epochs that cannot be checked.
    pub unchecked: Pace,
    pub stop: CancellationToken,
}

impl Vigil {
    /// Runs until the backplane closes or nobody reads the feed.
    pub async fn run(self: Arc<Self>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = self.link.watch();
        let mut restored = Restored::default();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.signals.wake.notified() => {}
                _ = tick.tick() => {}
                changed = connection.changed() => if changed.is_err() { return },
            }
            let round = async { self.round(&mut restored).await };
            tokio::select! {
                () = self.stop.cancelled() => return,
                outcome = round => if outcome.is_err() { return },
            }
        }
    }

    async fn round(&self, restored: &mut Restored) -> Result<(), FeedClosed> {
        for keep in self.keeps.values() {
            self.announce_epoch(keep).await?;
        }
        let mut pending = self.signals.take();
        let all = restored.checked.is_none_or(|checked| checked.elapsed() >= CHECK_EVERY);
        if all {
            restored.checked = Some(Instant::now());
            pending.suspect.extend(self.keeps.keys().cloned());
        }
        let link = *self.link.watch().borrow();
        self.count_dropped(restored, link.dropped);
        self.measure_connections(link.up, pending.live_down.is_none());
        if !link.up {
            let cause = pending.live_down.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            self.say(Health::Lost { why: format!("not connected to NATS{cause}") });
        } else if let Some(why) = &pending.live_down {
            self.say(Health::Lost { why: format!("live connection: {why}") });
        } else if link.losses != restored.link || pending.losses != restored.live {
            self.restore(restored, &pending, link.losses).await?;
        } else {
            if all {
                self.look_at_shared().await;
            }
            self.look_after(restored, &pending).await?;
            self.mark().await;
            self.judge(restored).await;
            self.measure_round_trip(restored).await;
            return Ok(());
        }
        self.signals.put_back(pending);
        Ok(())
    }

    /// What other nodes tell, and calls, that came faster than this node takes them.
    fn count_dropped(&self, restored: &mut Restored, published: u64) {
        let dropped = published + self.services.watch().borrow().dropped;
        let news = dropped - restored.dropped;
        restored.dropped = dropped;
        if news > 0 {
            self.telemetry.queues.overflows.of(telemetry::Overflow::Word).increment(news);
            warn!(messages = news, "too slow: what other nodes told is lost");
        }
    }

    /// After a lost connection: the streams may be gone, and deliveries are missing.
    async fn restore(&self, restored: &mut Restored, pending: &Pending, link_losses: u64) -> Result<(), FeedClosed> {
        if let Err(error) = self.ensure_all().await {
            debug!(%error, "streams are not restored yet");
            self.say(Health::Lost { why: error.to_string() });
            return Ok(());
        }
        for keep in self.keeps.values() {
            self.announce_epoch(keep).await?;
        }
        self.shelves.iter().for_each(|shelf| shelf.missed());
        restored.link = link_losses;
        self.keeps.values().for_each(|keep| keep.confirm_up_to(link_losses));
        if pending.losses != restored.live {
            restored.live = pending.losses;
            self.telemetry.backplane.reconnects.increment(1);
            self.gap(Scope::Everything, GapCause::Reconnect).await?;
        }
        // Also where only the link was lost: what it was writing is not known to be there.
        self.records.iter().for_each(|records| records.doubt_all());
        let after = self.outage.over().unwrap_or_default();
        info!(?after, "backplane restored");
        self.say(Health::Ready);
        Ok(())
    }

    /// Makes the streams exist and knows their epochs.
    pub async fn ensure_all(&self) -> Result<(), StreamError> {
        try_join_all(self.shelves.iter().map(|shelf| shelf.ensure())).await?;
        if let Some(records) = &self.records {
            records.ensure().await?;
        }
        if self.keeps.is_empty() {
            return Ok(());
        }
        self.generations.stream.ensure().await?;
        let checks = self.keeps.values().map(async |keep| {
            keep.ensure(&self.link, &self.generations).await?;
            self.check(keep).await?;
            let marked = keep.mark(&self.link, &self.subjects).await;
            marked.map_err(|source| StreamError::Api { stream: keep.plan.name.clone(), source })?;
            Ok::<_, StreamError>(())
        });
        try_join_all(checks).await?;
        Ok(())
    }

    /// Checks the epochs that may have changed, then tells of elections.
    async fn look_after(&self, restored: &mut Restored, pending: &Pending) -> Result<(), FeedClosed> {
        let namespaces: HashSet<_> = pending.elected.union(&pending.suspect).collect();
        let checks = namespaces.into_iter().filter_map(|namespace| self.keeps.get(namespace)).map(async |keep| {
            match timeout(CHECK_PATIENCE, self.check(keep)).await {
                Ok(Ok(put_right)) => (keep, Ok(put_right)),
                Ok(Err(error)) => (keep, Err(error.to_string())),
                Err(_) => (keep, Err(format!("no answer within {CHECK_PATIENCE:?}"))),
            }
        });
        let mut failed = None;
        for (keep, checked) in join_all(checks).await {
            self.announce_epoch(keep).await?;
            match checked {
                Ok(false) => {}
                Ok(true) => self.gap(Scope::Namespace(Arc::clone(&keep.namespace)), GapCause::Dropped).await?,
                Err(why) => {
                    self.signals.pending.lock().suspect.insert(Arc::clone(&keep.namespace));
                    failed = Some(format!("the epoch of {} cannot be checked: {why}", keep.plan.name));
                }
            }
        }
        self.note_unchecked(restored, failed);
        for namespace in &pending.elected {
            self.gap(Scope::Namespace(Arc::clone(namespace)), GapCause::LeaderElected).await?;
        }
        Ok(())
    }

    /// Remembers since when epochs cannot be checked, and says so now and then.
    fn note_unchecked(&self, restored: &mut Restored, failed: Option<String>) {
        match failed {
            Some(why) => {
                if let Some(left_out) = self.unchecked.due() {
                    warn!(left_out, "{why}");
                }
                restored.unchecked.get_or_insert((Instant::now(), why));
            }
            None => {
                restored.unchecked = None;
                if let Some(after) = self.unchecked.over() {
                    info!(?after, "the epochs are checked again");
                }
            }
        }
    }

    /// Looks whether what nodes share is still there: nobody might write to it for a long time.
    async fn look_at_shared(&self) {
        let shelves = join_all(self.shelves.iter().map(|shelf| shelf.look()));
        let records = OptionFuture::from(self.records.as_ref().map(|records| records.look()));
        let generations = OptionFuture::from((!self.keeps.is_empty()).then(|| self.generations.stream.look()));
        let looked = timeout(CHECK_PATIENCE, async { tokio::join!(shelves, records, generations) }).await;
        let Ok((shelves, records, generations)) = looked else {
            return debug!("what nodes share is not looked at in time");
        };
        let generations = generations.map(|looked| looked.map(|_| ()));
        for error in shelves.into_iter().chain(records).chain(generations).filter_map(Result::err) {
            debug!(%error, "what nodes share is not looked at");
        }
    }

    /// Checks a stream's epoch, compares and records how much it keeps, and puts right what somebody altered; whether there
    /// was anything: then it may not have told what it stored. A stream that somebody deleted is made again first, and has
    /// another epoch.
    async fn check(&self, keep: &Keep) -> Result<bool, StreamError> {
        let info = match keep.check(&self.link, &self.generations).await {
            Err(StreamError::Api { stream, source })
                if stream == keep.plan.name && keep.plan.restore_if_gone(&self.link, &source).await.is_some() =>
            {
                keep.check(&self.link, &self.generations).await
            }
            outcome => outcome,
        };
        let info = info?;
        keep.plan.compare(&info, &self.telemetry);
        keep.depths.note(&self.generations, &keep.epoch(), &info).await?;
        Ok(keep.plan.put_right(&self.link, &info, &self.telemetry).await)
    }

    /// Tells this node's readers and the other nodes that a namespace has a new epoch, if it has and they were not told.
    pub async fn announce_epoch(&self, keep: &Keep) -> Result<(), FeedClosed> {
        keep.announce(async || {
            self.gap(Scope::Namespace(Arc::clone(&keep.namespace)), GapCause::EpochChanged).await?;
            let told = self.link.client.publish(self.subjects.epoch(&keep.namespace), Default::default()).await;
            if let Err(error) = told {
                warn!(%error, "other nodes were not told of the new epoch");
            }
            Ok(())
        })
        .await
    }

    /// Keeps the streams' marks complete; one that is late costs nothing yet.
    async fn mark(&self) {
        let marks = self.keeps.values().map(async |keep| {
            if let Err(error) = keep.mark(&self.link, &self.subjects).await {
                debug!(stream = keep.plan.name, %error, "no mark yet");
            }
        });
        join_all(marks).await;
    }

    async fn gap(&self, scope: Scope, cause: GapCause) -> Result<(), FeedClosed> {
        self.feed.send(Delivery::Gap(Gap { scope, cause })).await
    }

    fn measure_connections(&self, link_up: bool, live_up: bool) {
        let answers_up = matches!(*self.answers.borrow(), LiveState::Connected { .. });
        let up = u32::from(link_up) + u32::from(live_up) + u32::from(answers_up) + u32::from(self.services.is_up());
        self.telemetry.backplane.taken_back.set(self.count_taken_back() as f64);
        self.telemetry.backplane.complaints.absolute(self.link.complaints() + self.services.complaints());
        self.telemetry.backplane.connections.of(telemetry::Link::Connected).set(up);
        self.telemetry.backplane.connections.of(telemetry::Link::Disconnected).set(CONNECTIONS - up);
    }

    async fn measure_round_trip(&self, restored: &mut Restored) {
        let asked = Instant::now();
        if restored.measured.is_some_and(|measured| asked - measured < MEASURE_EVERY) {
            return;
        }
        restored.measured = Some(asked);
        if self.link.barrier(&self.subjects.below("barrier")).await.is_ok() {
            self.telemetry.backplane.rtt.set(asked.elapsed().as_secs_f64());
        }
    }
}

/// Whether there is no such stream any more, as far as the cluster's leader knows.
pub fn is_gone(error: &ApiError) -> bool {
    error.code() == Refusal::STREAM_NOT_FOUND
}

/// Up to which loss of each connection everything was restored.
#[derive(Default)]
struct Restored {
    link: u64,
    live: u64,
    /// Messages that were dropped and counted.
    dropped: u64,
    /// When the round trip was measured last.
    measured: Option<Instant>,
    /// When the epochs were checked last without a reason.
    checked: Option<Instant>,
    /// Since when some cannot be checked, and why.
    unchecked: Option<(Instant, String)>,
}
