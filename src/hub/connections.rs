//! Every connection of this node: counted, found by its user, closed with all others.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::outbox::{Backlog, Control, Outbox};
use crate::protocol::centrifuge::codes::Disconnect;

/// Spreads the lock: a connect storm meets it twice a connection.
const SHARDS: usize = 16;

/// Clients by user and id.
type Users = BTreeMap<(Box<str>, Uuid), Client>;

/// A connected client.
#[derive(Clone)]
pub struct Client {
    pub outbox: Arc<Outbox>,
    pub profile: Arc<Profile>,
}

/// What a client said of itself when it connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Of the application, `""` where it says nothing.
    pub name: Box<str>,
    pub version: Box<str>,
    /// Milliseconds since the Unix epoch.
    pub connected_at: i64,
    /// What it is asked for by, beside its id, where it has one. Boxed, since most have none.
    pub session: Option<Box<Uuid>>,
}

/// Every connection of this node.
pub struct Connections {
    shards: [Mutex<HashMap<u64, Arc<Outbox>>>; SHARDS],
    next: AtomicUsize,
    count: watch::Sender<usize>,
    backlog: Backlog,
    /// Connected clients by user and id.
    users: [Mutex<Users>; SHARDS],
    /// Different ones among them.
    user_count: AtomicUsize,
    /// What everybody is told, those too who come in while it is being said.
    closing: Mutex<Option<Disconnect>>,
}

/// A connection's entry; leaves on drop.
pub struct Registered {
    connections: Arc<Connections>,
    key: u64,
}

/// A client's entry among those of its user; leaves on drop.
pub struct Known {
    connections: Arc<Connections>,
    user: Arc<str>,
    client: Uuid,
}

impl Drop for Known {
    fn drop(&mut self) {
        let user = &*self.user;
        let mut users = self.connections.users_of(user).lock();
        users.remove(&(user.into(), self.client));
        if !has(&users, user) {
            self.connections.user_count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Connections {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            next: AtomicUsize::new(0),
            count: watch::channel(0).0,
            backlog: Backlog::default(),
            users: std::array::from_fn(|_| Mutex::default()),
            user_count: AtomicUsize::new(0),
            closing: Mutex::default(),
        })
    }

    /// Enters a connection.
    #[must_use]
    pub fn register(self: &Arc<Self>, outbox: Arc<Outbox>) -> Registered {
        let key = self.next.fetch_add(1, Ordering::Relaxed) as u64;
        self.shard(key).lock().insert(key, Arc::clone(&outbox));
        self.count.send_modify(|count| *count += 1);
        if let Some(disconnect) = self.closing.lock().clone() {
            outbox.request(Control::Close(disconnect));
        }
        Registered { connections: Arc::clone(self), key }
    }

    /// Notes who a connection belongs to, until the entry is dropped.
    #[must_use]
    pub fn know(
        self: &Arc<Self>,
        user: impl Into<Arc<str>>,
        client: Uuid,
        outbox: &Arc<Outbox>,
        profile: Profile,
    ) -> Known {
        let user = user.into();
        let mut users = self.users_of(&user).lock();
        if !has(&users, &user) {
            self.user_count.fetch_add(1, Ordering::Relaxed);
        }
        let known = Client { outbox: Arc::clone(outbox), profile: Arc::new(profile) };
        users.insert((Box::from(&*user), client), known);
        drop(users);
        Known { connections: Arc::clone(self), user, client }
    }

    /// The connected clients of a user; of `""` all anonymous ones.
    #[must_use]
    pub fn of_user(&self, user: &str) -> Vec<(Uuid, Client)> {
        let users = self.users_of(user).lock();
        users.range(all_of(user)).map(|((_, id), client)| (*id, client.clone())).collect()
    }

    /// How many different users there are; all anonymous clients are one.
    #[must_use]
    pub fn users(&self) -> usize {
        self.user_count.load(Ordering::Relaxed)
    }

    fn users_of(&self, user: &str) -> &Mutex<Users> {
        &self.users[FixedState::with_seed(2).hash_one(user) as usize % SHARDS]
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        *self.count.borrow()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks every connection to end, those to come as well; returns how many there were.
    pub fn close_all(&self, disconnect: &Disconnect) -> usize {
        *self.closing.lock() = Some(disconnect.clone());
        let mut asked = 0;
        for shard in &self.shards {
            let outboxes: Vec<_> = shard.lock().values().cloned().collect();
            asked += outboxes.len();
            for outbox in outboxes {
                outbox.request(Control::Close(disconnect.clone()));
            }
        }
        asked
    }

    /// Every connection, for whoever lets go of them one after the other.
    #[must_use]
    pub fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Waits until the last connection is gone.
    pub async fn wait_until_empty(&self) {
        // The sender lives in self, so the channel cannot close.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Bytes that wait in all outboxes.
    #[must_use]
    pub const fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    fn shard(&self, key: u64) -> &Mutex<HashMap<u64, Arc<Outbox>>> {
        &self.shards[key as usize % SHARDS]
    }
}

/// The keys of a user's clients.
fn all_of(user: &str) -> std::ops::RangeInclusive<(Box<str>, Uuid)> {
    (Box::from(user), Uuid::nil())..=(Box::from(user), Uuid::max())
}

fn has(users: &Users, user: &str) -> bool {
    users.range(all_of(user)).next().is_some()
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.shard(self.key).lock().remove(&self.key);
        self.connections.count.send_modify(|count| *count -= 1);
    }
}
