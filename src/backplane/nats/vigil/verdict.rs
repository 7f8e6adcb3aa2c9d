//! Whether the backplane works, as the vigil sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::{info, warn};

use super::{Restored, Vigil, is_gone};
use crate::backplane::Health;
use crate::backplane::nats::keep::Keep;
use crate::backplane::nats::refusals::TakenBack;

/// How long a stream may not acknowledge before the node says so: an election takes 4 to 9 seconds.
const STALL_TOLERANCE: Duration = Duration::from_secs(10);
/// How long a node serves that cannot tell whether its streams are what they were.
const UNCHECKED_TOLERANCE: Duration = Duration::from_secs(30);

impl Vigil {
    /// Proves that streams which stopped acknowledging take writes again, and says whether all do.
    pub(super) async fn judge(&self, restored: &Restored) {
        let stalled = self.keeps.values().filter(|keep| keep.stalled_for().is_some());
        let why: HashMap<_, _> = join_all(stalled.map(|keep| self.probe(keep))).await.into_iter().flatten().collect();
        let worst = self.keeps.values().find(|keep| keep.stalled_for().is_some_and(|since| since >= STALL_TOLERANCE));
        let unchecked = restored.unchecked.as_ref().filter(|(since, _)| since.elapsed() >= UNCHECKED_TOLERANCE);
        self.say(match (worst, unchecked) {
            (None, None) => match self.altered() {
                Some(why) => Health::Lost { why },
                None => self.heard(),
            },
            (Some(keep), _) => {
                let why = why.get(&keep.namespace).map(|why| format!(": {why}")).unwrap_or_default();
                Health::Lost { why: format!("stream {} takes no writes{why}", keep.plan.name) }
            }
            (None, Some((_, why))) => Health::Lost { why: why.clone() },
        });
    }

    /// A stream that somebody altered and this node cannot put right.
    fn altered(&self) -> Option<String> {
        let shelves = self.shelves.iter().map(|shelf| &shelf.stream.plan);
        let records = self.records.iter().map(|records| &records.stream.plan);
        let keeps = self.keeps.values().map(|keep| &keep.plan);
        let mut plans = shelves.chain(records).chain(keeps).chain([&self.generations.stream.plan]);
        plans.find_map(|plan| plan.stands_altered())
    }

    pub(super) fn count_taken_back(&self) -> usize {
        self.taken_back.iter().map(|standing| standing.borrow().count).sum()
    }

    /// Whether NATS lets this node hear what it has subscribed to.
    fn heard(&self) -> Health {
        let count = self.count_taken_back();
        let mut standing = self.taken_back.iter().map(|standing| standing.borrow().clone());
        match standing.find(|standing| standing.count > 0) {
            None => Health::Ready,
            Some(TakenBack { why, .. }) => {
                Health::Lost { why: format!("NATS has taken back {count} subscriptions: {why}") }
            }
        }
    }

    /// Proves that a stream takes writes, by one; else what stands in the way.
    async fn probe(&self, keep: &Keep) -> Option<(Arc<str>, String)> {
        match keep.write_probe(&self.link).await {
            Ok(sequence) => {
                keep.acknowledged(sequence);
                None
            }
            Err(error) => {
                if keep.plan.info(&self.link).await.as_ref().is_err_and(is_gone) {
                    self.signals.check_epoch(&keep.namespace);
                }
                Some((Arc::clone(&keep.namespace), error.to_string()))
            }
        }
    }

    /// Says it to the node, and to the log when it begins, when it ends, and now and then while it lasts.
    pub(super) fn say(&self, health: Health) {
        match &health {
            Health::Lost { why } => {
                if self.outage.due().is_some() {
                    warn!(servers = self.servers, "backplane lost: {why}");
                }
            }
            Health::Ready => {
                if let Some(after) = self.outage.over() {
                    info!(?after, "backplane is back");
                }
            }
        }
        self.health.send_if_modified(|current| {
            let news = *current != health;
            if news {
                *current = health;
            }
            news
        });
    }
}
