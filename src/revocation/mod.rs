//! Tokens that are refused although nothing is wrong with them: one by its id (`jti`), or all of a user that were issued
//! before some time (`iat`).
//!
//! What is revoked stands in a registry that all nodes share; each keeps all of it in memory, so a check costs nothing.
//! A node is told of every change and has the sessions concerned look at their tokens again. Whoever was cut off [lists
//! anew](Revocations::follow) before it lets clients in. Nothing is forgotten before its time, whatever becomes of the
//! store.

mod bans;
mod follow;
mod record;
mod token;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::RwLock;
use tracing::{debug, warn};

pub use token::Token;

use bans::Bans;
use record::Record;

use crate::backplane::{Backplane, Bucket, Guard, Registry, RegistryError, Revision};
use crate::clock::unix_seconds;
use crate::hub::{Bearers, Borne, Connections, Control, Order, Outbox};
use crate::telemetry::Telemetry;

/// How much longer than it has to be a revocation is remembered. A clock that runs ahead, on the node that records it or
/// on one that only hears of it, must not make anybody forget it too soon.
const SLACK: Duration = Duration::from_secs(3600);
/// Revocations that are taken; each costs every node some 60 bytes.
const MOST: usize = 500_000;
/// How often a write is tried that others overtake.
const ATTEMPTS: usize = 8;
/// Revocations written again at a time.
const AT_A_TIME: usize = 64;

/// What is revoked, and who on this node holds which token.
pub struct Revocations {
    backplane: Arc<dyn Backplane>,
    connections: Arc<Connections>,
    /// Seconds for which tokens are taken after they have expired.
    leeway: u64,
    bearers: Arc<Bearers>,
    bans: RwLock<Bans>,
    /// The registry lacks something that this node knows, and could not be given it.
    unwritten: AtomicBool,
    telemetry: Arc<Telemetry>,
}

/// Why a revocation was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// Certainly not recorded.
    #[error("{MOST} revocations are in force; give them an expire_at")]
    TooMany,
    /// It may be recorded all the same, where the registry only did not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Revocations {
    #[must_use]
    pub fn new(
        backplane: Arc<dyn Backplane>,
        connections: Arc<Connections>,
        leeway: Duration,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        let bearers = Arc::default();
        let (bans, unwritten) = Default::default();
        Arc::new(Self { backplane, connections, leeway: leeway.as_secs(), bearers, bans, unwritten, telemetry })
    }

    /// Revokes the token with this id until then (Unix seconds), or for ever. Returns once it is recorded and this node
    /// heeds it; the others follow at once.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn revoke(&self, uid: &str, until: Option<u64>) -> Result<(), RevocationError> {
        self.record(&Record::token(uid, self.outlasting(until))).await
    }

    /// Revokes all tokens of a user that were issued before a time (Unix seconds), those that do not say when they were
    /// issued too: until then, or for ever. With a `channel` it concerns subscription tokens for it alone.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn invalidate(
        &self,
        user: &str,
        channel: &str,
        issued_before: u64,
        until: Option<u64>,
    ) -> Result<(), RevocationError> {
        self.record(&Record::user(user, channel, issued_before, self.outlasting(until))).await
    }

    /// Whoever names the time at which a token expires means as long as anybody takes it.
    fn outlasting(&self, until: Option<u64>) -> Option<u64> {
        until.map(|until| until.saturating_add(self.leeway))
    }

    /// Whether a token of `user` is revoked; `channel` is the one that a subscription token opens, else `""`.
    #[must_use]
    pub fn refuses(&self, token: &Token, user: &str, channel: &str) -> bool {
        self.bans.read().refuse(token, user, channel)
    }

    /// Notes that a connection holds a token, until the entry is dropped. Only what is noted is found when it is revoked:
    /// so first note, then [check](Self::refuses).
    #[must_use]
    pub fn bear(&self, id: u128, outbox: &Arc<Outbox>) -> Borne {
        self.bearers.enter(id, outbox)
    }

    /// Writes what stands in `record` and what stood there before, whichever refuses more.
    async fn record(&self, record: &Record) -> Result<(), RevocationError> {
        let key = record.key();
        if self.bans.read().len() >= MOST && !self.bans.read().contains(&key) {
            return Err(RevocationError::TooMany);
        }
        let registry = self.registry();
        for attempt in 1.. {
            let before = registry.get(&key).await?;
            let guard = before.as_ref().map_or(Guard::Absent, |entry| Guard::Revision(entry.revision));
            let merged = record.merged_with(before.and_then(|entry| Record::parse(&entry.value)));
            match registry.put(&key, merged.to_json(), guard, merged.remaining()).await {
                Ok(revision) => {
                    self.take(&key, merged, revision);
                    break;
                }
                Err(RegistryError::Conflict(_)) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Heeds a revocation, and has those whom it may concern look at their tokens.
    fn take(&self, key: &str, record: Record, revision: Revision) {
        let news = self.bans.write().take(key, &record, revision);
        if !news {
            return;
        }
        self.telemetry.clients.revocations.set(self.bans.read().len() as f64);
        let concerned: Vec<Arc<Outbox>> = match &record {
            Record::Token { id, .. } => self.bearers.of(*id),
            Record::User { user, .. } => {
                self.connections.of_user(user).into_iter().map(|(_, client)| client.outbox).collect()
            }
            Record::Digest { .. } => self.connections.outboxes(),
        };
        for outbox in concerned {
            outbox.request(Control::Obey(Arc::new(Order::Recheck)));
        }
    }

    /// Writes what this node knows and what was `listed` lacks. What another has written already stays.
    async fn write_again(&self, listed: &HashMap<String, (Record, Revision)>) {
        let records = self.bans.read().records();
        let missing = records.into_iter().filter_map(|record| match listed.get(&record.key()) {
            None => Some((record, Guard::Absent)),
            Some((stands, revision)) if record.refuses_more_than(stands) => {
                Some((record.merged_with(Some(stands.clone())), Guard::Revision(*revision)))
            }
            Some(_) => None,
        });
        let written = stream::iter(missing).map(|(record, guard)| async move {
            match self.registry().put(&record.key(), record.to_json(), guard, record.remaining()).await {
                Err(RegistryError::Conflict(_)) => Ok(0),
                outcome => outcome.map(|_| 1),
            }
        });
        let written = written.buffer_unordered(AT_A_TIME).try_fold(0, |sum, one| async move { Ok(sum + one) }).await;
        self.unwritten.store(written.is_err(), Ordering::Relaxed);
        match written {
            Ok(0) => {}
            Ok(written) => {
                warn!(written, "the registry of revocations lacked what this node knew: it is written again")
            }
            Err(error) => debug!(%error, "the registry of revocations lacks what this node knows: not written yet"),
        }
    }

    fn registry(&self) -> &dyn Registry {
        self.backplane.registry(Bucket::Revocations)
    }
}

/// How long a revocation is remembered that ends at a Unix time.
fn remaining(until: u64) -> Duration {
    Duration::from_secs(until.saturating_sub(unix_seconds())) + SLACK
}
