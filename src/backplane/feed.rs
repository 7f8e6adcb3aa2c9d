//! What comes back from a backplane: bounded queues of deliveries, one for each partition of channels.
//!
//! A full feed makes its sender wait; what waits behind it (a socket to the broker, a publishing caller) is thereby
//! slowed down, and nothing is thrown away here.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::FixedState;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::message::Incoming;
use crate::protocol::{Channel, Offset};

/// Deliveries that may wait in one feed, by number.
const DEPTH: usize = 4096;
/// Bytes of messages that may wait in one feed.
const BYTES: usize = 16 * 1024 * 1024;
/// What a message weighs beside its data.
const OVERHEAD: usize = 256;

/// One thing that a backplane has to tell.
#[derive(Debug)]
pub enum Delivery {
    Message(Incoming),
    /// Deliveries may be missing: whoever reads this heals, or tells clients.
    Gap(Gap),
}

/// That, where and why something may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub scope: Scope,
    pub cause: GapCause,
}

/// What a gap is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Everything,
    Namespace(Arc<str>),
    /// One channel, known to reach at least `up_to` ([`Offset::NONE`] if that is not known).
    Channel {
        channel: Channel,
        up_to: Offset,
    },
}

/// Why something may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapCause {
    /// The connection that carries deliveries was lost and is back.
    Reconnect,
    /// The stream has a new leader, which may not have republished what it stored.
    LeaderElected,
    /// A publisher learnt that its message was stored without the acknowledgement reaching it.
    Nudge,
    /// Deliveries were dropped on the way.
    Dropped,
    /// A message's predecessor was never delivered.
    Hole,
    /// A periodic comparison found messages that were not delivered.
    Audit,
    /// The store lost or rewrote what it had: the namespace has a new epoch.
    EpochChanged,
}

impl GapCause {
    /// Every cause, for registering counters.
    pub const ALL: [Self; 7] =
        [Self::Reconnect, Self::LeaderElected, Self::Nudge, Self::Dropped, Self::Hole, Self::Audit, Self::EpochChanged];

    /// The label in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Reconnect => "reconnect",
            Self::LeaderElected => "leader_elected",
            Self::Nudge => "nudge",
            Self::Dropped => "dropped",
            Self::Hole => "hole",
            Self::Audit => "audit",
            Self::EpochChanged => "epoch_changed",
        }
    }
}

struct Weighed {
    delivery: Delivery,
    weight: OwnedSemaphorePermit,
}

/// The receiving end: one partition's deliveries, in order.
pub struct Feed {
    deliveries: mpsc::Receiver<Weighed>,
    /// What was taken since the reader came for more; it counts as waiting until then.
    taken: Vec<OwnedSemaphorePermit>,
}

/// The sending end of all partitions of one node.
#[derive(Clone)]
pub struct FeedSender {
    partitions: Arc<[(mpsc::Sender<Weighed>, Arc<Semaphore>)]>,
    /// Namespaces of which all deliveries take one partition.
    ordered: Arc<HashSet<Arc<str>>>,
}

/// The feeds' reader is gone: the node is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the feed any more")]
pub struct FeedClosed;

/// Opens `partitions` feeds (at least one) behind one sender.
#[must_use]
pub fn open(partitions: usize) -> (FeedSender, Vec<Feed>) {
    let (senders, feeds): (Vec<_>, Vec<_>) = (0..partitions.max(1))
        .map(|_| {
            let (sender, receiver) = mpsc::channel(DEPTH);
            ((sender, Arc::new(Semaphore::new(BYTES))), Feed { deliveries: receiver, taken: Vec::new() })
        })
        .unzip();
    (FeedSender { partitions: senders.into(), ordered: Arc::default() }, feeds)
}

/// The partition of `channel` among `partitions`: all deliveries of a channel take the same one, which keeps their order.
fn partition_of(channel: &Channel, partitions: usize) -> usize {
    (FixedState::with_seed(0).hash_one(channel) % partitions as u64) as usize
}

impl FeedSender {
    /// Keeps the order of all deliveries of these namespaces, and not of each channel's alone.
    #[must_use]
    pub fn ordering(self, namespaces: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self { ordered: Arc::new(namespaces.into_iter().collect()), ..self }
    }

    /// The partition that owns `channel` among `partitions`.
    pub(super) fn partition(&self, channel: &Channel, partitions: usize) -> usize {
        if self.ordered.contains(channel.namespace()) {
            return (FixedState::with_seed(0).hash_one(channel.namespace()) % partitions as u64) as usize;
        }
        partition_of(channel, partitions)
    }

    /// Whether all channels of a namespace are delivered in one order.
    pub(super) fn orders(&self, namespace: &str) -> bool {
        self.ordered.contains(namespace)
    }

    /// Queues a delivery in the feed that owns it; waits while that feed is full. A gap that concerns more than one
    /// channel goes to every feed, behind what each already holds.
    ///
    /// # Errors
    /// When nobody reads the feed any more.
    pub async fn send(&self, delivery: Delivery) -> Result<(), FeedClosed> {
        match delivery {
            Delivery::Message(message) => {
                let weight = message.data.len() + message.meta.weight() + OVERHEAD;
                self.send_to(
                    self.partition(&message.channel, self.partitions.len()),
                    Delivery::Message(message),
                    weight,
                )
                .await
            }
            Delivery::Gap(gap) => match &gap.scope {
                Scope::Channel { channel, .. } => {
                    self.send_to(self.partition(channel, self.partitions.len()), Delivery::Gap(gap), OVERHEAD).await
                }
                Scope::Everything | Scope::Namespace(_) => {
                    for partition in 0..self.partitions.len() {
                        self.send_to(partition, Delivery::Gap(gap.clone()), OVERHEAD).await?;
                    }
                    Ok(())
                }
            },
        }
    }

    /// Bytes that wait in all partitions, or are being delivered.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.partitions.iter().map(|(_, room)| BYTES - room.available_permits()).sum()
    }

    /// Waits until a message of `channel` with `length` bytes of data has its place; sending it then cannot wait, nor be
    /// cut short.
    ///
    /// # Errors
    /// When nobody reads the feed any more.
    pub async fn reserve(&self, channel: &Channel, length: usize) -> Result<Place<'_>, FeedClosed> {
        let (sender, room) = &self.partitions[self.partition(channel, self.partitions.len())];
        let permits = (length + OVERHEAD).min(BYTES) as u32;
        let weight = Arc::clone(room).acquire_many_owned(permits).await.map_err(|_| FeedClosed)?;
        let slot = sender.reserve().await.map_err(|_| FeedClosed)?;
        Ok(Place { slot, weight })
    }

    async fn send_to(&self, partition: usize, delivery: Delivery, weight: usize) -> Result<(), FeedClosed> {
        let (sender, room) = &self.partitions[partition];
        let permits = weight.min(BYTES) as u32;
        let weight = Arc::clone(room).acquire_many_owned(permits).await.map_err(|_| FeedClosed)?;
        sender.send(Weighed { delivery, weight }).await.map_err(|_| FeedClosed)
    }
}

/// A place in a feed that waits for its message.
pub struct Place<'a> {
    slot: mpsc::Permit<'a, Weighed>,
    weight: OwnedSemaphorePermit,
}

impl Place<'_> {
    /// Takes the place.
    pub fn send(self, message: Incoming) {
        self.slot.send(Weighed { delivery: Delivery::Message(message), weight: self.weight });
    }
}

impl Feed {
    /// The next delivery; `None` once every sender is gone. The reader is done with everything that it took before.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.taken.clear();
        let Weighed { delivery, weight } = self.deliveries.recv().await?;
        self.taken.push(weight);
        Some(delivery)
    }

    /// The next delivery if one is ready, to be dealt with together with the one before.
    pub fn try_next(&mut self) -> Option<Delivery> {
        let Weighed { delivery, weight } = self.deliveries.try_recv().ok()?;
        self.taken.push(weight);
        Some(delivery)
    }
}
