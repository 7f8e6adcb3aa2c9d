//! A backplane that fails on purpose, around any other: it loses, doubles and delays deliveries, swallows
//! acknowledgements and keeps readers waiting. For tests of what heals and what tells.

mod presences;
mod registry;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};

use registry::FaultyRegistry;

use super::{
    Backplane, Bounds, Broadcast, Bucket, Delivery, Doubts, Feed, FeedSender, Gap, Health, History, HistoryError,
    Incoming, Newer, Outgoing, Page, Presences, PublishError, Published, Registry, Requests, Scope, SubscribeError,
    Top, feed,
};
use crate::protocol::{Channel, Epoch, Offset};

/// What happens to one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    Drop,
    Twice,
    /// It comes after the next delivery of its feed.
    Late,
}

type Judge = Box<dyn FnMut(&Incoming) -> Fate + Send>;
type Onlooker = Box<dyn FnMut(&Channel, &Page) + Send>;

/// What goes wrong; may be changed at any time.
#[derive(Default)]
pub struct Faults {
    judge: Mutex<Option<Judge>>,
    onlooker: Mutex<Option<Onlooker>>,
    /// Deliveries are late: they wait, in their order.
    pub deliveries_held: watch::Sender<bool>,
    /// Reads of history fail.
    pub history_down: AtomicBool,
    /// Reads of pages end this many messages before the newest, as those of a lagging replica do.
    pub history_lag: AtomicUsize,
    /// Pages that were read are not handed out yet.
    pub history_held: watch::Sender<bool>,
    /// Told of every page that was read.
    pub history_read: Notify,
    /// Goes for the epoch of everything, where it is set.
    pub epoch: Mutex<Option<Epoch>>,
    /// Publications are stored, their acknowledgements are lost.
    pub acks_lost: AtomicBool,
    /// Changes of presence do not arrive.
    pub changes_lost: AtomicBool,
    /// Replicas know nothing of presence: they lag without end.
    pub replicas_empty: AtomicBool,
    /// Subscriptions are refused.
    pub subscribe_down: AtomicBool,
    /// So many more lists of a registry fail.
    pub lists_failing: AtomicUsize,
    /// So many more watches of a registry are refused.
    pub watches_failing: AtomicUsize,
    /// What was listed of a registry is not handed out yet.
    pub lists_held: watch::Sender<bool>,
    /// Writes into registries wait.
    pub writes_held: watch::Sender<bool>,
    /// A key of registries whose writes are refused for good.
    pub refused_key: Mutex<Option<String>>,
}

impl Faults {
    /// Decides the fate of every further delivery.
    pub fn judge(&self, judge: impl FnMut(&Incoming) -> Fate + Send + 'static) {
        *self.judge.lock() = Some(Box::new(judge));
    }

    /// Shows every further page of history, as it was read.
    pub fn look_on(&self, onlooker: impl FnMut(&Channel, &Page) + Send + 'static) {
        *self.onlooker.lock() = Some(Box::new(onlooker));
    }

    /// Everything passes again.
    pub fn cease(&self) {
        *self.judge.lock() = None;
        self.deliveries_held.send_replace(false);
        self.history_down.store(false, Ordering::SeqCst);
        self.history_lag.store(0, Ordering::SeqCst);
        self.history_held.send_replace(false);
        *self.epoch.lock() = None;
        self.acks_lost.store(false, Ordering::SeqCst);
        self.subscribe_down.store(false, Ordering::SeqCst);
        self.changes_lost.store(false, Ordering::SeqCst);
        self.replicas_empty.store(false, Ordering::SeqCst);
        self.lists_held.send_replace(false);
        self.writes_held.send_replace(false);
        *self.refused_key.lock() = None;
    }

    fn fate(&self, message: &Incoming) -> Fate {
        self.judge.lock().as_mut().map_or(Fate::Pass, |judge| judge(message))
    }
}

/// The decorator.
pub struct Faulty {
    inner: Arc<dyn Backplane>,
    faults: Arc<Faults>,
    /// In the order of [`Bucket::ALL`].
    registries: [FaultyRegistry; Bucket::ALL.len()],
    feed: FeedSender,
    /// Of changes of presence.
    doubts: watch::Sender<Doubts>,
}

impl Faulty {
    /// Puts faults between `inner` with its `feeds` and whoever reads the feeds that are returned.
    #[must_use]
    pub fn around(inner: Arc<dyn Backplane>, feeds: Vec<Feed>, faults: Arc<Faults>) -> (Arc<Self>, Vec<Feed>) {
        let (sender, out) = feed::open(feeds.len());
        for (index, feed) in feeds.into_iter().enumerate() {
            tokio::spawn(meddle(feed, index == 0, sender.clone(), Arc::clone(&faults)));
        }
        let registries = Bucket::ALL.map(|bucket| FaultyRegistry::new(bucket, Arc::clone(&inner), Arc::clone(&faults)));
        (Arc::new(Self { inner, faults, registries, feed: sender, doubts: watch::channel(Doubts::default()).0 }), out)
    }

    /// Tells the reader of the feeds that something may be missing.
    pub async fn announce(&self, gap: Gap) {
        // A reader that is gone needs no news.
        let _ = self.feed.send(Delivery::Gap(gap)).await;
    }

    /// Tells the reader of changes of presence that some may be missing.
    pub fn doubt(&self) {
        self.doubts.send_modify(|doubts| doubts.changes += 1);
    }
}

async fn meddle(mut feed: Feed, first: bool, sender: FeedSender, faults: Arc<Faults>) {
    let mut late: Vec<Incoming> = Vec::new();
    while let Some(delivery) = feed.next().await {
        // The sender lives as long as the faults.
        let _ = faults.deliveries_held.subscribe().wait_for(|held| !held).await;
        let mut out = Vec::new();
        match delivery {
            // A gap of more than one channel comes out of every feed; one of them passes it on to all.
            Delivery::Gap(gap) if first || matches!(gap.scope, Scope::Channel { .. }) => out.push(Delivery::Gap(gap)),
            Delivery::Gap(_) => {}
            Delivery::Message(message) => match faults.fate(&message) {
                Fate::Pass => out.push(Delivery::Message(message)),
                Fate::Twice => out.extend([Delivery::Message(message.clone()), Delivery::Message(message)]),
                Fate::Drop => {}
                Fate::Late => {
                    late.push(message);
                    continue;
                }
            },
        }
        out.extend(late.drain(..).map(Delivery::Message));
        for delivery in out {
            if sender.send(delivery).await.is_err() {
                return;
            }
        }
    }
}

#[async_trait]
impl Backplane for Faulty {
    async fn publish(&self, channel: &Channel, message: Outgoing) -> Result<Published, PublishError> {
        let published = self.inner.publish(channel, message).await?;
        if self.faults.acks_lost.load(Ordering::SeqCst) {
            return Err(PublishError::Unknown(Duration::ZERO));
        }
        Ok(published)
    }

    async fn subscribe(&self, channel: &Channel) -> Result<(), SubscribeError> {
        if self.faults.subscribe_down.load(Ordering::SeqCst) {
            return Err(SubscribeError::Unavailable("on purpose".to_owned()));
        }
        self.inner.subscribe(channel).await
    }

    fn unsubscribe(&self, channel: &Channel) {
        self.inner.unsubscribe(channel);
    }

    async fn overhear(&self, namespace: &str) -> Result<mpsc::Receiver<Delivery>, SubscribeError> {
        self.inner.overhear(namespace).await
    }

    fn history(&self) -> Option<&dyn History> {
        self.inner.history().map(|_| self as &dyn History)
    }

    fn requests(&self) -> Option<&dyn Requests> {
        self.inner.requests()
    }

    fn broadcast(&self) -> &dyn Broadcast {
        self.inner.broadcast()
    }

    fn registry(&self, bucket: Bucket) -> &dyn Registry {
        &self.registries[bucket as usize]
    }

    fn presences(&self) -> Option<&dyn Presences> {
        self.inner.presences().map(|_| self as &dyn Presences)
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.inner.health()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

impl Faulty {
    fn epoch(&self, true_one: Epoch) -> Epoch {
        self.faults.epoch.lock().clone().unwrap_or(true_one)
    }

    fn readable(&self, namespace: &str) -> Result<&dyn History, HistoryError> {
        if self.faults.history_down.load(Ordering::SeqCst) {
            return Err(HistoryError::Unavailable("on purpose".to_owned()));
        }
        self.inner.history().ok_or_else(|| HistoryError::Absent(namespace.to_owned()))
    }
}

#[async_trait]
impl History for Faulty {
    async fn top(&self, channel: &Channel) -> Result<Top, HistoryError> {
        let mut top = self.readable(channel.namespace())?.top(channel).await?;
        top.epoch = self.epoch(top.epoch);
        Ok(top)
    }

    async fn page(&self, channel: &Channel, from: Offset, limit: usize) -> Result<Page, HistoryError> {
        let mut page = self.readable(channel.namespace())?.page(channel, from, limit).await?;
        if let Some(onlooker) = &mut *self.faults.onlooker.lock() {
            onlooker(channel, &page);
        }
        let lag = self.faults.history_lag.load(Ordering::SeqCst);
        if !page.more && lag > 0 {
            page.messages.truncate(page.messages.len().saturating_sub(lag));
            self.faults.history_lag.store(lag - 1, Ordering::SeqCst);
        }
        self.faults.history_read.notify_one();
        // The sender lives as long as the faults.
        let _ = self.faults.history_held.subscribe().wait_for(|held| !held).await;
        Ok(page)
    }

    async fn holds(&self, channel: &Channel, offset: Offset) -> Result<bool, HistoryError> {
        self.readable(channel.namespace())?.holds(channel, offset).await
    }

    async fn bounds(&self, namespace: &str) -> Result<Bounds, HistoryError> {
        let mut bounds = self.readable(namespace)?.bounds(namespace).await?;
        bounds.epoch = self.epoch(bounds.epoch);
        Ok(bounds)
    }

    async fn newer(&self, namespace: &str, channels: &[Channel], floor: Offset) -> Result<Newer, HistoryError> {
        self.readable(namespace)?.newer(namespace, channels, floor).await
    }

    fn retention(&self, namespace: &str) -> Duration {
        self.inner.history().map_or(Duration::ZERO, |history| history.retention(namespace))
    }

    fn now(&self, namespace: &str) -> i64 {
        self.inner.history().map_or(0, |history| history.now(namespace))
    }

    async fn remove(&self, channel: &Channel) -> Result<(), HistoryError> {
        self.readable(channel.namespace())?.remove(channel).await
    }
}
