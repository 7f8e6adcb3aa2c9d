//! Membership: which nodes there are, how they are, and that a dead one is noticed and cleaned up after, once.
//!
//! Each node has an **entry** in a registry that all share, and sends **heartbeats** which every other hears. A life of a
//! node is an *incarnation*, `<name>~<number>`; a node that restarts, or was declared dead by mistake, gets a higher one.
//! A peer that gave no sign of life for too long is **judged** by a write under the revision that was read: exactly one
//! judge wins, and takes on the **debt** to remove what that life left behind. If it dies as well, its debts stay in the
//! entries for another to take on. So there is no leader, no lock and no lease. What shows up under a life after its debt
//! is paid is an **orphan**, and removed as well.
//!
//! Nobody judges who does not hear its own heartbeats or cannot write its own entry. On this all nodes can be asked a
//! question at once: **surveys**.
//!
//! A node without a cluster is a member of its own, by the same rules.

mod answers;
mod entry;
mod follow;
mod heartbeat;
mod judge;
mod load;
mod orphans;
mod own;
mod reap;
mod survey;
mod timing;
mod view;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::info;
use uuid::Uuid;

pub use answers::Answers;
pub use entry::{Debt, Entry, State};
pub use load::{Load, Work};
pub use reap::{Reap, ReapError};
pub use survey::{PART, Respond, SurveyError};

use judge::Vitals;
use load::Meter;
use own::{JOIN_PATIENCE, Own, RETRY};
use survey::Surveys;
use timing::Timing;
use view::View;

use crate::backplane::{Backplane, RegistryError, Revision, SubscribeError};
use crate::settings;
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;

/// What a node that could not join gets to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// This node among the others. Cloning it is cheap.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

/// What this node tells of itself when it joins.
#[derive(Debug, Clone)]
pub struct Introduction {
    pub name: String,
    pub address: String,
    pub version: String,
    /// Connections that it takes; `None` is without limit.
    pub capacity: Option<u64>,
}

/// A node as this one knows it.
#[derive(Debug, Clone)]
pub struct Member {
    pub entry: Entry,
    /// What it told last; `None` where this node has not heard it yet.
    pub load: Option<Load>,
    /// Whether it takes clients, as it told last: not before it was heard.
    pub ready: bool,
    /// How long ago its last sign of life was; `None` where this node has seen none.
    pub silent_for: Option<Duration>,
}

impl Member {
    /// Whether it takes clients: it is there, does not leave, and nothing stands in its way.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.entry.state == State::Up && self.ready
    }
}

/// Why a node is no member.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("membership: {0}")]
    Registry(#[source] RegistryError),
    #[error("membership: the registry refuses: {0}")]
    Refused(String),
    #[error("membership: {0}")]
    Subscribe(#[from] SubscribeError),
}

/// What this node is at the moment, for whoever must not wait.
#[derive(Debug, Clone, Copy)]
struct Life {
    incarnation: u64,
    state: State,
    /// It takes clients.
    ready: bool,
    /// When it began, where this process had another before.
    reborn_at: Option<Instant>,
}

#[derive(Default)]
struct Wake {
    beat: Notify,
    keep: Notify,
    list: Notify,
}

struct Shared {
    name: String,
    /// Another one for each start.
    process: String,
    backplane: Arc<dyn Backplane>,
    timing: Timing,
    incarnation: watch::Sender<Arc<str>>,
    life: Mutex<Life>,
    /// Held while the own entry is written. Taken before `view`.
    own: tokio::sync::Mutex<Own>,
    /// Taken before `life`.
    view: Mutex<View>,
    changes: watch::Sender<u64>,
    vitals: Mutex<Vitals>,
    meter: Meter,
    wake: Wake,
    surveys: Surveys,
    reap: OnceLock<Arc<dyn Reap>>,
    fenced: CancellationToken,
    stop: CancellationToken,
    telemetry: Arc<Telemetry>,
}

impl Cluster {
    /// Joins: enters this node as a new life of its name, and knows everybody else. Others see it from now on, so
    /// [`start`](Self::start) must follow soon. `work` is asked with every heartbeat.
    ///
    /// # Errors
    /// When the registry takes no writes, or answers no reads, for half a minute, or refuses.
    pub async fn join(
        backplane: Arc<dyn Backplane>,
        options: &settings::Cluster,
        introduction: Introduction,
        work: impl Fn() -> Work + Send + Sync + 'static,
        telemetry: Arc<Telemetry>,
    ) -> Result<Self, JoinError> {
        let now = Instant::now();
        let process = Uuid::new_v4().to_string();
        let fresh = Entry {
            name: introduction.name,
            incarnation: 0,
            process: process.clone(),
            address: introduction.address,
            version: introduction.version,
            capacity: introduction.capacity,
            joined_at: 0,
            state: State::Up,
            debts: Vec::new(),
        };
        let shared = Shared {
            name: fresh.name.clone(),
            process,
            backplane,
            timing: Timing::new(options),
            incarnation: watch::channel(fresh.id()).0,
            life: Mutex::new(Life::of(&fresh)),
            own: tokio::sync::Mutex::new(Own { entry: fresh.clone(), revision: Revision::default() }),
            view: Mutex::default(),
            changes: watch::channel(0).0,
            vitals: Mutex::new(Vitals { echo: now, mirrored: now, failing: false }),
            meter: Meter::new(Box::new(work)),
            wake: Wake::default(),
            surveys: Surveys::default(),
            reap: OnceLock::new(),
            fenced: CancellationToken::new(),
            stop: CancellationToken::new(),
            telemetry,
        };
        let own = shared.enter(&fresh).await?;
        info!(node = %own.entry.id(), "joined as a member");
        *shared.life.lock() = Life::of(&own.entry);
        shared.incarnation.send_replace(own.entry.id());
        *shared.own.lock().await = own;
        if let Err(error) = shared.first_list().await {
            shared.leave(Instant::now() + GOODBYE).await;
            return Err(error);
        }
        Ok(Self(Arc::new(shared)))
    }

    /// Begins to live as a member: heartbeats, watching the others, cleaning up after them with `reap`, answering surveys
    /// with `respond`. It ends with `tasks`, or with [`leave`](Self::leave).
    ///
    /// # Errors
    /// When the backplane does not accept a subscription, or is away for half a minute.
    pub async fn start(&self, reap: Arc<dyn Reap>, respond: Arc<dyn Respond>, tasks: &Tasks) -> Result<(), JoinError> {
        let shared = &self.0;
        let broadcast = shared.backplane.broadcast();
        let beats = patiently(async || broadcast.hear(heartbeat::PATTERN).await).await?;
        let questions = patiently(async || broadcast.hear(survey::QUESTIONS).await).await?;
        let answers = patiently(async || broadcast.hear(&shared.answers_topic()).await).await?;
        let watch = patiently(async || shared.registry().watch().await).await?;
        let now = Instant::now();
        *shared.vitals.lock() = Vitals { echo: now, mirrored: now, failing: false };
        shared.view.lock().forgive(&shared.timing, now);
        // A second start finds the first one's.
        let _ = shared.reap.set(reap);
        let tasks = tasks.until(&shared.stop);
        let each: [(&'static str, BoxFuture<'static, ()>); 11] = [
            ("heartbeats", Box::pin(Arc::clone(shared).beat())),
            ("heartbeats of others", Box::pin(Arc::clone(shared).hear(beats))),
            ("changes of nodes", Box::pin(Arc::clone(shared).follow(watch))),
            ("list of nodes", Box::pin(Arc::clone(shared).list_again())),
            ("own entry", Box::pin(Arc::clone(shared).keep())),
            ("verdicts", Box::pin(Arc::clone(shared).judge())),
            ("debts", Box::pin(Arc::clone(shared).reap_all())),
            ("orphans", Box::pin(Arc::clone(shared).adopt_orphans())),
            ("answers of nodes", Box::pin(Arc::clone(shared).collect(answers))),
            ("questions of nodes", Box::pin(Arc::clone(shared).answer(respond, questions))),
            (
                "load",
                Box::pin({
                    let shared = Arc::clone(shared);
                    async move { shared.meter.run().await }
                }),
            ),
        ];
        for (name, task) in each {
            tasks.run(name, task);
        }
        Ok(())
    }

    /// This life of this node, `<name>~<number>`, and every one that follows: a node that was declared dead by mistake goes
    /// on as another, and what it stored under the old one will be removed.
    #[must_use]
    pub fn incarnation(&self) -> watch::Receiver<Arc<str>> {
        self.0.incarnation.subscribe()
    }

    /// This node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Another one for each start of a node.
    #[must_use]
    pub fn process(&self) -> &str {
        &self.0.process
    }

    /// Every node, by name; also those that are no more, for some minutes.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let now = Instant::now();
        let load = self.0.meter.load();
        let view = self.0.view.lock();
        let ready = self.0.life.lock().ready;
        let members = view.all().map(|known| {
            let own = known.entry.name == self.0.name;
            Member {
                entry: known.entry.clone(),
                load: if own { Some(load.clone()) } else { known.load.clone() },
                ready: if own { ready } else { known.ready },
                silent_for: known.last_seen(now),
            }
        });
        members.collect()
    }

    /// Changes whenever [`members`](Self::members) has something new to say, heartbeats apart that say the same again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// This node takes clients, or takes none at the moment: the others hear of it at once.
    pub fn set_ready(&self, ready: bool) {
        let news = std::mem::replace(&mut self.0.life.lock().ready, ready) != ready;
        if news {
            self.0.tell_change();
            self.0.wake.beat.notify_one();
        }
    }

    /// This node takes no clients any more, and lets go of those that it has.
    pub fn drain(&self) {
        self.0.become_state(State::Draining);
    }

    /// Says goodbye and ends what [`start`](Self::start) began. What this life left behind is removed, here or by another.
    /// A node that is fenced says nothing: its name is another's.
    pub async fn leave(&self, deadline: Instant) {
        self.0.stop.cancel();
        if !self.0.fenced.is_cancelled() {
            self.0.leave(deadline).await;
        }
    }

    /// Cancelled once another process has joined under this node's name: this one must stop serving.
    #[must_use]
    pub fn fenced(&self) -> CancellationToken {
        self.0.fenced.clone()
    }
}

/// Subscribes, however often that takes: the backplane may be away just now.
///
/// # Errors
/// When it is refused, or not accepted for half a minute.
pub async fn patiently<T>(subscribe: impl AsyncFn() -> Result<T, SubscribeError>) -> Result<T, SubscribeError> {
    let deadline = Instant::now() + JOIN_PATIENCE;
    loop {
        match subscribe().await {
            Err(SubscribeError::Unavailable(_)) if Instant::now() < deadline => sleep(RETRY).await,
            outcome => return outcome,
        }
    }
}
