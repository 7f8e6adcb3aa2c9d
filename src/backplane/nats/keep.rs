//! One namespace with history, as this node knows it: its stream, its epoch, how far it was seen, whether it takes writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::HeaderMap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::connection::{ApiError, Link};
use super::depth::Ledger;
use super::epoch::{Evidence, Life, Witnesses, examine, last_of, next_generation};
use super::generations::Generations;
use super::streams::{Info, Plan, StreamError};
use super::subjects::Subjects;
use super::vigil::is_gone;
use crate::backplane::message;
use crate::backplane::store_clock::StoreClock;
use crate::protocol::Epoch;
use crate::settings::{HistoryOptions, Nats};

/// Acknowledgements awaited from one stream at a time: more would only lengthen the wait for each.
pub const IN_FLIGHT: usize = 256;
/// Marks that a stream holds: the horizon is known to this part of it.
const MARKS: u64 = 16;
const MARK_PATIENCE: Duration = Duration::from_secs(1);
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// What this node knows of a stream.
pub struct Keep {
    pub namespace: Arc<str>,
    pub plan: Plan,
    pub clock: StoreClock,
    /// A subject of no channel.
    probe: String,
    /// Messages to be stored of one channel.
    pub depth: usize,
    /// How many were, since when.
    pub depths: Ledger,
    life: ArcSwap<(Life, Epoch)>,
    /// How long this node wants messages kept, and how long the stream does: nanoseconds.
    horizon: Duration,
    age: AtomicU64,
    /// The stream may let go of messages for want of room.
    cramped: AtomicBool,
    /// The newest mark that is known to be there.
    marked: AtomicU64,
    /// The highest sequence seen in this life.
    seen: AtomicU64,
    witnesses: Mutex<Witnesses>,
    /// Deliveries that contradicted what was seen, and how many of them a check has looked into.
    contradictions: AtomicU64,
    examined: AtomicU64,
    /// When this life was found, where it is not the first, by the store's clock: nanoseconds since the Unix epoch.
    found_at: AtomicI64,
    /// Nobody was told of this life yet. Stays until somebody was, whoever gives up meanwhile.
    unannounced: AtomicBool,
    announcing: tokio::sync::Mutex<()>,
    /// Held while the epoch is checked, so that one step back is proven once.
    checking: tokio::sync::Mutex<()>,
    /// Up to which loss of the link the epoch is known to be the stream's.
    confirmed: watch::Sender<u64>,
    /// Since when writes have not been acknowledged.
    stalled: Mutex<Option<Instant>>,
    /// Room for publications that await their acknowledgement: each stream its own, since one may have no leader.
    pub in_flight: Semaphore,
}

impl Keep {
    /// Nothing is known of the stream before the first [`check`](Self::check).
    pub fn new(options: &Nats, namespace: &Arc<str>, history: &HistoryOptions) -> Self {
        let plan = Plan::of_namespace(options, namespace, history);
        let life = Life { created: String::new(), generation: 0 };
        let epoch = life.epoch(&plan.name);
        Self {
            namespace: Arc::clone(namespace),
            depths: Ledger::new(&plan.name),
            plan,
            clock: StoreClock::new(),
            probe: Subjects::new(&options.prefix).probe(namespace),
            depth: history.size + 1,
            life: ArcSwap::from_pointee((life, epoch)),
            horizon: history.horizon,
            age: AtomicU64::new(history.horizon.as_nanos() as u64),
            cramped: AtomicBool::new(true),
            marked: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            witnesses: Mutex::default(),
            contradictions: AtomicU64::new(0),
            examined: AtomicU64::new(0),
            found_at: AtomicI64::new(0),
            unannounced: AtomicBool::new(false),
            announcing: tokio::sync::Mutex::new(()),
            checking: tokio::sync::Mutex::new(()),
            confirmed: watch::Sender::new(0),
            stalled: Mutex::new(None),
            in_flight: Semaphore::new(IN_FLIGHT),
        }
    }

    /// Makes the stream exist as planned.
    pub async fn ensure(&self, link: &Link, generations: &Generations) -> Result<Info, StreamError> {
        // On what it has less of already, or will in a moment, nobody may count from now on.
        match self.plan.info(link).await {
            Ok(info) => self.depths.lower(generations, info.depth().min(self.plan.will_keep(&info))).await?,
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(self.failed(error)),
        }
        self.plan.ensure(link).await
    }

    /// The epoch, as far as this node knows.
    pub fn epoch(&self) -> Epoch {
        self.life.load().1.clone()
    }

    /// Notes that the epoch was checked after so many losses of the link.
    pub fn confirm_up_to(&self, losses: u64) {
        self.confirmed.send_if_modified(|confirmed| {
            let news = *confirmed < losses;
            *confirmed = losses.max(*confirmed);
            news
        });
    }

    /// Returns once the epoch was checked after the link's last loss: the server that came back may have another
    /// stream. False if it is not by `deadline`.
    pub async fn known_after(&self, losses: u64, deadline: Instant) -> bool {
        let mut confirmed = self.confirmed.subscribe();
        timeout_at(deadline, confirmed.wait_for(|confirmed| *confirmed >= losses)).await.is_ok_and(|it| it.is_ok())
    }

    /// How long a message surely stays, as [`History::retention`](crate::backplane::History::retention) says.
    pub fn retention(&self) -> Duration {
        if self.cramped.load(Ordering::Relaxed) { Duration::ZERO } else { self.horizon.min(self.age()) }
    }

    /// For how long the stream keeps messages, as far as this node knows.
    fn age(&self) -> Duration {
        Duration::from_nanos(self.age.load(Ordering::Relaxed))
    }

    /// Leaves a mark in the stream unless this part of the horizon has one; returns how the stream answered.
    ///
    /// The stream's first sequence tells what age has removed only as long as the oldest message is old: one busy channel
    /// that pushes out its own messages would move it up to the present. Marks stay for the whole horizon.
    pub async fn mark(&self, link: &Link, subjects: &Subjects) -> Result<(), ApiError> {
        let part = self.clock.now().unsigned_abs() / (self.age.load(Ordering::Relaxed) / MARKS).max(1);
        if self.marked.load(Ordering::Relaxed) == part {
            return Ok(());
        }
        // Twice as many subjects as live at a time: the one that was here before has gone.
        let subject = subjects.mark(&self.namespace, part % (2 * MARKS));
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        if let Some(ack) = link.store_over(&self.plan.name, &subject, 0, headers, body, MARK_PATIENCE).await? {
            self.acknowledged(ack.seq);
        }
        self.marked.store(part, Ordering::Relaxed);
        Ok(())
    }

    /// Stores a message that no client sees, the only proof that a quorum stores; returns its sequence.
    pub async fn write_probe(&self, link: &Link) -> Result<u64, ApiError> {
        Ok(link.store(&self.plan.name, &self.probe, None, Default::default(), PROBE_PATIENCE).await?.seq)
    }

    /// The highest sequence seen.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Whether a message was stored before the life was found in which the stream is now: it may have been on its way since
    /// another.
    pub fn is_of_another_life(&self, link: &message::Link) -> bool {
        link.stored_at < self.found_at.load(Ordering::Relaxed)
    }

    /// Notes a delivered message; false when it is reason to check the epoch.
    pub fn delivered(&self, link: &message::Link) -> bool {
        self.seen.fetch_max(link.offset.0, Ordering::Relaxed);
        let sound = self.witnesses.lock().note(link.offset.0, link.stored_at);
        if !sound {
            self.contradictions.fetch_add(1, Ordering::Relaxed);
        }
        sound
    }

    /// Notes an acknowledged message: the stream takes writes.
    pub fn acknowledged(&self, sequence: u64) {
        self.seen.fetch_max(sequence, Ordering::Relaxed);
        self.recovered();
    }

    /// Notes that the stream takes writes.
    pub fn recovered(&self) {
        if let Some(since) = self.stalled.lock().take() {
            let took = since.elapsed();
            if took > Duration::from_secs(1) {
                info!(stream = self.plan.name, ?took, "stream takes writes again");
            }
        }
    }

    /// Notes that a write was not acknowledged.
    pub fn stalled(&self) {
        self.stalled.lock().get_or_insert_with(Instant::now);
    }

    /// How long writes have not been acknowledged.
    pub fn stalled_for(&self) -> Option<Duration> {
        self.stalled.lock().map(|since| since.elapsed())
    }

    pub fn witnesses(&self) -> Vec<(u64, i64)> {
        self.witnesses.lock().newest_first()
    }

    /// Takes a description of the stream for known if it fits what was seen when it was asked for.
    ///
    /// `None` says that the epoch must be [checked](Self::check).
    pub fn confirm(&self, info: &Info, seen_before: u64) -> Option<Epoch> {
        self.hear(info);
        let life = self.life.load();
        let fits = info.created == life.0.created && info.state.last_seq >= seen_before;
        fits.then(|| {
            self.seen.fetch_max(info.state.last_seq, Ordering::Relaxed);
            life.1.clone()
        })
    }

    /// Whether somebody has yet to be told of this life.
    pub fn is_unannounced(&self) -> bool {
        self.unannounced.load(Ordering::Acquire)
    }

    /// Has `tell` tell of a new life, unless that is done.
    pub async fn announce<E>(&self, tell: impl AsyncFnOnce() -> Result<(), E>) -> Result<(), E> {
        if !self.is_unannounced() {
            return Ok(());
        }
        let _alone = self.announcing.lock().await;
        if self.is_unannounced() {
            let epoch = self.epoch();
            tell().await?;
            // Another may have begun meanwhile.
            if self.epoch() == epoch {
                self.unannounced.store(false, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Makes sure that the epoch is the stream's, and returns what its leader says of it. Another than before must be
    /// [announced](Self::announce).
    pub async fn check(&self, link: &Link, generations: &Generations) -> Result<Info, StreamError> {
        let _alone = self.checking.lock().await;
        let seen = self.seen();
        let contradictions = self.contradictions.load(Ordering::Relaxed);
        let contradicted = contradictions > self.examined.load(Ordering::Relaxed);
        let info = self.plan.info(link).await.map_err(|source| self.failed(source))?;
        self.hear(&info);
        self.cramped.store(info.is_cramped(), Ordering::Relaxed);
        let known = self.life.load().0.clone();
        let evidence = if info.created == known.created {
            examine(link, self, seen, &info, contradicted).await.map_err(|source| self.failed(source))?
        } else {
            Evidence::Nothing
        };
        let life =
            Life { generation: self.agree(generations, &known, &info, evidence).await?, created: info.created.clone() };
        self.examined.store(contradictions, Ordering::Relaxed);
        if life == known {
            self.seen.fetch_max(info.state.last_seq, Ordering::Relaxed);
            self.witness(&info);
            return Ok(info);
        }
        let is_another = !known.created.is_empty();
        if is_another {
            self.found_at.store(self.clock.now(), Ordering::Relaxed);
            self.unannounced.store(true, Ordering::Release);
        }
        self.begin(life, &info);
        // Again: who told meanwhile of the life before has taken the flag away.
        self.unannounced.fetch_or(is_another, Ordering::AcqRel);
        Ok(info)
    }

    /// The generation that stands, or that this node could put there: each node judges by what it has seen itself, and what
    /// one has written the others read.
    async fn agree(
        &self,
        generations: &Generations,
        known: &Life,
        info: &Info,
        evidence: Evidence,
    ) -> Result<u64, StreamError> {
        let stream = &self.plan.name;
        let goes_on = info.created == known.created;
        loop {
            let standing = generations.read(stream, generation).await?;
            let next = match standing.value {
                // Another life, whoever found it.
                Some(generation) if !goes_on || generation > known.generation => return Ok(generation),
                Some(generation) if generation == known.generation && evidence != Evidence::Broken => {
                    return Ok(generation);
                }
                None if goes_on && evidence == Evidence::Unbroken => known.generation,
                // A lower one says that the bucket was rolled back.
                Some(_) | None => next_generation(known.generation),
            };
            if generations.write(stream, next.to_string().into(), &standing).await? {
                self.tell_of(known, standing.value, next, evidence);
                return Ok(next);
            }
        }
    }

    /// Tells operators why a generation was written.
    fn tell_of(&self, known: &Life, stood: Option<u64>, wrote: u64, evidence: Evidence) {
        let stream = &self.plan.name;
        if known.created.is_empty() {
            info!(stream, "no generation stood: a first one is written");
        } else if wrote == known.generation {
            warn!(stream, "the stream's generation was lost; nothing of the stream is missing, so it is written again");
        } else if evidence == Evidence::Broken {
            warn!(stream, seen = self.seen(), "the stream stepped back: a new epoch begins");
        } else {
            warn!(
                stream,
                ?stood,
                "the stream's generation was lost, and nothing proves that it is whole: a new epoch begins"
            );
        }
    }

    fn failed(&self, source: ApiError) -> StreamError {
        StreamError::Api { stream: self.plan.name.clone(), source }
    }

    /// Remembers the newest message by which the stream will be known again.
    fn witness(&self, info: &Info) {
        if let Some((sequence, stored_at)) = last_of(info) {
            self.witnesses.lock().note(sequence, stored_at);
        }
    }

    /// Takes the time from a description that has just come, and for how long the stream keeps what it has.
    fn hear(&self, info: &Info) {
        let age = info.limit("max_age");
        self.age.store(if age == 0 { self.horizon.as_nanos() as u64 } else { age }, Ordering::Relaxed);
        if let Some(showed) = info.described_at() {
            self.clock.hear(showed);
        }
    }

    fn begin(&self, life: Life, info: &Info) {
        let epoch = life.epoch(&self.plan.name);
        info!(stream = self.plan.name, %epoch, "stream's epoch");
        self.witnesses.lock().clear();
        self.witness(info);
        self.marked.store(0, Ordering::Relaxed);
        self.seen.store(info.state.last_seq, Ordering::Relaxed);
        self.life.store(Arc::new((life, epoch)));
    }
}

fn generation(data: &[u8]) -> Option<u64> {
    std::str::from_utf8(data).ok()?.parse().ok()
}
