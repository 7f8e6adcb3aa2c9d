//! Who is in which channel, on all nodes, and who is told of it.
//!
//! Each node is the authority on its own clients: the **roster** knows them, and the **scribe** brings the backplane's
//! records in line with it, however often that takes. What others see of a channel are these records. Where somebody on
//! this node wants to be told of joins and leaves, a **view** follows them: it knows who is there, so a change that
//! comes twice is told once, and the **audit** that compares it with the records tells what was missed.
//!
//! Nothing here is asked of other nodes. A node that died leaves its records behind; another one declares them gone
//! ([`Presence::reap`]), and every view tells each leave once.

mod audit;
mod departures;
mod doubts;
mod life;
mod mourning;
mod notes;
mod opening;
mod read;
mod reading;
mod reconcile;
mod recorded;
mod roster;
mod said;
mod scribe;
mod view;
mod views;
mod vouching;

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

pub use self::read::Present;
pub use self::roster::Stay;
pub use self::said::Noted;
pub use self::views::Listening;

use self::read::Reads;
use self::recorded::Recorded;
use self::roster::Roster;
use self::views::Views;
use self::vouching::Vouching;
use crate::backplane::{Backplane, PresenceError, Presences};
use crate::protocol::Channel;
use crate::protocol::centrifuge::ClientInfo;
use crate::tasks::Tasks;
use crate::telemetry::{Pace, Telemetry};

/// Who is where.
pub struct Presence {
    backplane: Arc<dyn Backplane>,
    /// The life of this node that its clients are recorded under. Another one begins where others took it for dead.
    life: watch::Receiver<Arc<str>>,
    /// The life that is written under: the other one a moment later.
    writes_under: watch::Sender<Arc<str>>,
    /// Cancelled once nothing more is to be written.
    writing: CancellationToken,
    running: OnceLock<Tasks>,
    roster: Roster,
    views: Views,
    reads: Reads,
    recorded: Recorded,
    vouching: Vouching,
    /// Of lines about records that are refused.
    refusals: Pace,
    telemetry: Arc<Telemetry>,
}

impl Presence {
    #[must_use]
    pub fn new(backplane: Arc<dyn Backplane>, life: watch::Receiver<Arc<str>>, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let writes_under = watch::Sender::new(Arc::clone(&life.borrow()));
        Arc::new(Self {
            backplane,
            life,
            writes_under,
            writing: CancellationToken::new(),
            running: OnceLock::new(),
            roster: Roster::default(),
            views: Views::new(),
            reads: Reads::default(),
            recorded: Recorded::default(),
            vouching: Vouching::default(),
            refusals: Pace::default(),
            telemetry,
        })
    }

    /// Starts what writes, listens and compares.
    pub fn start(self: &Arc<Self>, tasks: &Tasks) {
        let Some(changes) = self.records().ok().and_then(Presences::changes) else { return };
        let presence = Arc::clone(self);
        // A second start finds no changes to listen to.
        let _ = self.running.set(tasks.clone());
        let writing = self.writing.clone();
        let write = async move {
            let all = async { tokio::join!(scribe::run(Arc::clone(&presence)), reconcile::run(Arc::clone(&presence))) };
            writing.run_until_cancelled(all).await;
            // It is over only when the node is.
            std::future::pending().await
        };
        tasks.run("records of presence", write);
        tasks.run("audit of presence", audit::run(Arc::clone(self)));
        tasks.run("word of records", vouching::run(Arc::clone(self)));
        tasks.run("joins and leaves", views::run(Arc::clone(self), changes));
    }

    /// Records that a client is in a channel, until the stay is dropped. It takes a moment to be seen on other nodes.
    #[must_use]
    pub fn enter(self: &Arc<Self>, channel: &Channel, client: Uuid, info: &ClientInfo) -> Stay {
        self.roster.enter(channel, client, info);
        Stay::new(Arc::clone(self), channel.clone(), client)
    }

    /// Returns once everything that happened on this node is recorded.
    pub async fn settled(&self) {
        self.roster.settled().await;
    }

    /// Writes nothing more: what this node leaves behind is for others to clean up.
    pub fn stop_writing(&self) {
        self.writing.cancel();
    }

    /// Counts and tells of a record that will never be written.
    fn note_refused(&self, channel: &Channel, client: Uuid, why: &str) {
        self.telemetry.presence.refused.increment(1);
        if let Some(left_out) = self.refusals.due() {
            warn!(%channel, %client, why, left_out, "a record of presence is refused for good: it is left out");
        }
    }

    /// The records, where the backplane keeps any.
    fn records(&self) -> Result<&dyn Presences, PresenceError> {
        self.backplane.presences().ok_or_else(|| PresenceError::Unavailable("no namespace records it".to_owned()))
    }

    fn life(&self) -> Arc<str> {
        Arc::clone(&self.life.borrow())
    }
}
