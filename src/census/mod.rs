//! How many connections a user has, on all nodes, and what happens to one too many.
//!
//! Every connection of a user takes a **place**: a record of presence in a channel of the user's own, which no client and
//! no backend can name. Whoever comes has its place recorded first and reads the others' after that, from the records'
//! authority. So of two who come at once at least one sees the other, and the one that was recorded later gives way, or
//! has the other one go: the limit holds without a lock, whichever nodes they are on.
//!
//! A record may outlive its connection, for a moment or until a dead node is cleaned up after. So whoever stands in the
//! way is asked for at its own node ([`ask`]); where that node is gone NATS says so at once. Only nodes that would stand in
//! the way are asked, nobody else is.

mod ask;
mod place;

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::debug;
use uuid::Uuid;

pub use self::place::Place;

use self::ask::Word;
use self::place::{Other, Places};
use crate::backplane::{Backplane, Request, SubscribeError};
use crate::hub::Outbox;
use crate::presence::Presence;
use crate::protocol::Channel;
use crate::settings::{ConnectionLimit, ConnectionOverflow};
use crate::telemetry::{Telemetry, UserLimit};

/// Questions of other nodes that are answered at a time.
const AT_ONCE: usize = 256;
/// Official clients give a connect up after five seconds.
const DEADLINE: Duration = Duration::from_secs(4);
/// How often it is looked once more before somebody is refused for good: who leaves and comes again may be faster than its
/// departure.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);
/// No namespace can have a name with `~`.
const NAMESPACE: &str = "~users";

/// Counts the connections of users.
pub struct Census {
    /// Where questions about this node's places go; another one at every start.
    node: Uuid,
    limit: ConnectionLimit,
    places: Arc<Places>,
    presence: Arc<Presence>,
    backplane: Arc<dyn Backplane>,
    telemetry: Arc<Telemetry>,
}

/// Why a connection gets no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// The user has as many connections as are allowed.
    #[error("the user has as many connections as are allowed")]
    Full,
    /// Nobody knows now; trying again will help.
    #[error("nobody knows how many connections the user has: {0}")]
    Unknown(String),
}

impl Census {
    #[must_use]
    pub fn new(
        limit: ConnectionLimit,
        presence: Arc<Presence>,
        backplane: Arc<dyn Backplane>,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        Arc::new(Self { node: Uuid::new_v4(), limit, places: Arc::default(), presence, backplane, telemetry })
    }

    /// Begins to take what other nodes ask; `None` where there are none. Give it to [`answer`](Self::answer).
    ///
    /// # Errors
    /// When the backplane does not accept the subscription.
    pub async fn listen(&self) -> Result<Option<mpsc::Receiver<Request>>, SubscribeError> {
        match self.backplane.requests() {
            Some(requests) => requests.serve(&ask::subject(self.node), AT_ONCE).await.map(Some),
            None => Ok(None),
        }
    }

    /// Answers what other nodes ask, until they cannot any more.
    pub async fn answer(self: Arc<Self>, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            ask::answer(&self.places, request, &self.telemetry);
        }
    }

    /// Takes a place for a connection of `user`, until it is dropped. Where `outbox` is told to close, somebody else took
    /// the place.
    ///
    /// # Errors
    /// When there is none, or nobody can tell.
    pub async fn enter(&self, user: &str, client: Uuid, outbox: &Arc<Outbox>) -> Result<Place, NoPlace> {
        let decided = timeout(DEADLINE, self.decide(user, client, outbox)).await;
        let decided = decided.unwrap_or_else(|_| Err(NoPlace::Unknown(format!("not recorded within {DEADLINE:?}"))));
        match &decided {
            Ok(_) => {}
            Err(NoPlace::Full) => self.count(UserLimit::Refused, 1),
            Err(NoPlace::Unknown(_)) => self.count(UserLimit::Unknown, 1),
        }
        decided
    }

    async fn decide(&self, user: &str, client: Uuid, outbox: &Arc<Outbox>) -> Result<Place, NoPlace> {
        let channel = channel_of(user);
        let (place, recorded) = self.take(&channel, user, client, outbox);
        let revision = recorded
            .await
            .map_err(|_| NoPlace::Unknown("it is leaving, or its place cannot be recorded".to_owned()))?;
        let most = self.limit.most.get();
        let mut looked = 0;
        loop {
            let before = self.before(&channel, client, revision).await?;
            if before.len() < most {
                return Ok(place);
            }
            let found = self.ask_all(&before, Word::IsHere).await;
            let there = found.iter().filter(|found| found.is_here()).count();
            let silent = found.iter().filter(|found| found.is_silent()).count();
            if there + silent < most {
                return Ok(place);
            }
            match self.limit.overflow {
                ConnectionOverflow::Replace => {
                    let alive = before.into_iter().zip(&found).filter(|(_, found)| !found.is_gone());
                    // Ascending: the oldest are the first.
                    let surplus: Vec<_> = alive.map(|(other, _)| other).take(there + silent + 1 - most).collect();
                    self.count(UserLimit::Replaced, surplus.len());
                    // One that hangs finds the word when it goes on.
                    self.ask_all(&surplus, Word::GiveWay).await;
                    return Ok(place);
                }
                // Its node may be dead; then it does not count in a moment.
                ConnectionOverflow::Refuse if there < most && looked >= LOOKS => {
                    return Err(NoPlace::Unknown("a node does not answer".to_owned()));
                }
                ConnectionOverflow::Refuse if looked >= LOOKS => return Err(NoPlace::Full),
                ConnectionOverflow::Refuse => {}
            }
            looked += 1;
            sleep(PAUSE * looked).await;
        }
    }

    async fn ask_all(&self, others: &[Other], word: Word) -> Vec<ask::Found> {
        let asked = others.iter().map(|other| async {
            let found = match other.node == self.node {
                true => ask::here(&self.places, other.client, word),
                false => ask::there(self.backplane.requests(), other, word).await,
            };
            debug!(client = %other.client, ?word, ?found, "another connection of the user");
            found
        });
        futures_util::future::join_all(asked).await
    }

    fn count(&self, result: UserLimit, connections: usize) {
        self.telemetry.clients.user_limit.of(result).increment(connections as u64);
    }
}

/// Where the places of a user are recorded. Users may be named as they like, subjects may not.
fn channel_of(user: &str) -> Channel {
    let digest = Sha256::digest(user);
    let name = digest[..16].iter().fold(format!("{NAMESPACE}:"), |name, byte| format!("{name}{byte:02x}"));
    Channel::parse(&name, usize::MAX).expect("letters and digits behind a namespace are a channel")
}

#[cfg(test)]
mod tests;
