//! Where hub and backplane meet: who is interested, what is published, and that nothing is missing.
//!
//! A **topic** is a channel with listeners on this node. The **pump** takes deliveries from the backplane's feeds and
//! passes them to the topic's audience, as long as each is **chained** to the one before. A hole stops the topic until
//! the **healer** has read what is missing; the **audit** finds holes that no later message would show. A connection
//! that **joins** gets a membership, and with it either everything since its position or a refusal.
//!
//! Order: that of a namespace's order (`order`) is taken before a topic's lock, and that before an outbox's; none is held
//! over an await.

mod audit;
mod busiest;
mod chain;
mod counted;
mod end;
mod heal;
mod history;
mod join;
mod latest;
mod let_in;
mod order;
mod parked;
mod pending;
mod publication;
mod pump;
mod recovery;
mod registry;
mod since;
mod sketch;
mod tail;
mod tally;
mod topic;
mod turn;
mod wish;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::RwLock;

pub use self::busiest::Busy;
pub use self::history::{HistoryPage, HistoryQuery, HistoryQueryError};
pub use self::join::{JoinError, Joined, Membership, Outcome};
pub use self::let_in::{MissedError, NotLetIn};
pub use self::order::{Addressed, Reader};
pub use self::parked::Resumed;
pub use self::publication::{event_frames, fitting, patched, publication};
pub use self::recovery::Refusal;
pub use self::since::Since;
pub use self::tally::Tally;
pub use self::wish::Wish;

use self::audit::Audits;
use self::busiest::Busiest;
use self::heal::HealQueue;
use self::order::{Orders, orders};
use self::registry::Registry;
use self::tail::TailBudget;
use crate::backplane::{Backplane, Feed, Incoming, Outgoing, PublishError, Published};
use crate::hub::Turnstile;
use crate::protocol::Channel;
use crate::settings::Namespaces;
use crate::tasks::Tasks;
use crate::telemetry::{Pace, Source, Telemetry};

/// Joins this node's listeners to the backplane.
pub struct Relay {
    backplane: Arc<dyn Backplane>,
    registry: Registry,
    orders: Orders,
    heals: HealQueue,
    audits: Audits,
    tails: TailBudget,
    /// Of lines about publications that some clients or none can be given.
    unfit: Pace,
    /// Of lines about publications that listeners have lost.
    lost: Pace,
    /// Of lines about channels that could not be compared with their stream.
    uncompared: Pace,
    /// False once nothing more is published. Held while something is.
    open: RwLock<bool>,
    tally: Tally,
    busiest: Busiest,
    /// Recoveries that read history.
    recoveries: Turnstile,
    probe: OnceLock<Probe>,
    watcher: OnceLock<Watcher>,
    telemetry: Arc<Telemetry>,
}

/// Gets deliveries that no listener of this node wants.
pub type Probe = Box<dyn Fn(&Incoming) + Send + Sync>;

/// Is told of every channel that gets its first listener on this node.
pub type Watcher = Box<dyn Fn(&Channel) + Send + Sync>;

impl Relay {
    /// With room for as many recoveries as the defaults have.
    #[must_use]
    pub fn new(backplane: Arc<dyn Backplane>, namespaces: &Namespaces, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Self::bounded(backplane, namespaces, Turnstile::new(64, 16_384, Duration::from_secs(3)), telemetry)
    }

    /// Reads history for so many recoveries at a time.
    #[must_use]
    pub fn bounded(
        backplane: Arc<dyn Backplane>,
        namespaces: &Namespaces,
        recoveries: Turnstile,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        Arc::new(Self {
            backplane,
            registry: Registry::default(),
            orders: orders(namespaces),
            heals: HealQueue::default(),
            audits: Audits::new(namespaces),
            tails: TailBudget::default(),
            unfit: Pace::default(),
            lost: Pace::default(),
            uncompared: Pace::default(),
            open: RwLock::new(true),
            tally: Tally::default(),
            busiest: Busiest::default(),
            recoveries,
            probe: OnceLock::new(),
            watcher: OnceLock::new(),
            telemetry,
        })
    }

    /// From now on `hear` gets what is delivered in channels without listeners: who asked the backplane for it is none. It
    /// must not block. The first call counts.
    pub fn probe(&self, hear: Probe) {
        let _ = self.probe.set(hear);
    }

    /// From now on `watcher` is told of channels that get their first listener. It must not block: channels are locked
    /// meanwhile. The first call counts.
    pub fn watch(&self, watcher: Watcher) {
        let _ = self.watcher.set(watcher);
    }

    /// From now on `reader` reads the events that are for more than one channel of a namespace that has one order. It must
    /// not block. The first call counts.
    pub fn read_events(&self, namespace: &str, reader: Reader) {
        if let Some(order) = self.orders.get(namespace) {
            let _ = order.reader.set(reader);
        }
    }

    /// Starts a pump for each feed, the healer and the audit.
    pub fn start(self: &Arc<Self>, feeds: Vec<Feed>, tasks: &Tasks) {
        for (partition, feed) in feeds.into_iter().enumerate() {
            tasks.run("pump", pump::run(Arc::clone(self), feed, self.busiest.meter(), partition == 0));
        }
        tasks.run("healing", heal::run(Arc::clone(self)));
        tasks.run("audit of channels", audit::run(Arc::clone(self)));
    }

    /// Publishes, on this node and every other.
    ///
    /// # Errors
    /// As the backplane says; [`PublishError::Unknown`] means that it may be stored all the same.
    pub async fn publish(
        &self,
        channel: &Channel,
        message: Outgoing,
        source: Source,
    ) -> Result<Published, PublishError> {
        let open = self.open.read().await;
        let published = if *open {
            self.backplane.publish(channel, message).await
        } else {
            Err(PublishError::Unavailable("the node is stopping".to_owned()))
        };
        drop(open);
        self.count_publish(channel, source, published.as_ref().err());
        published
    }

    /// Takes no more publications, and returns once those under way have their answer.
    pub async fn close_to_publishers(&self) {
        *self.open.write().await = false;
    }

    /// How long the store surely keeps a message of `topic`.
    fn retention(&self, topic: &topic::Topic) -> Duration {
        self.backplane.history().map_or(Duration::ZERO, |history| history.retention(&topic.namespace.name))
    }

    /// The time by the clock of the store that has the messages of `topic`.
    fn store_time(&self, topic: &topic::Topic) -> i64 {
        self.backplane.history().map_or(0, |history| history.now(&topic.namespace.name))
    }

    /// How much there is to do.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Channels with listeners on this node, with their number.
    #[must_use]
    pub fn channels(&self) -> Vec<(Channel, usize)> {
        let topics = self.registry.all().into_iter();
        let counted = topics.map(|topic| (topic.channel.clone(), topic.state.lock().audience.len()));
        counted.filter(|(channel, listeners)| *listeners > 0 && !channel.is_of_events()).collect()
    }
}
