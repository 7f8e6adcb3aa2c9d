//! The sockets of this node, found by their ids, their users and the rooms that they are in.

use std::collections::{HashMap, HashSet, hash_map};
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::call::{Selection, Target};
use crate::hub::{Connections, Outbox};
use crate::protocol::{Channel, Offset, Position};
use crate::relay::Membership;

/// Every socket of this node, by namespace.
pub(super) struct Sockets {
    connections: Arc<Connections>,
    /// Told whenever a socket has gone.
    left: Notify,
    spaces: HashMap<Arc<str>, Mutex<Space>>,
    watcher: OnceLock<Watcher>,
}

/// Is told of every socket that comes into a namespace. It must not block.
pub(super) type Watcher = Box<dyn Fn(&Arc<str>, Uuid) + Send + Sync>;

/// The sockets of one namespace. A connection has at most one among them.
#[derive(Default)]
struct Space {
    sockets: HashMap<Uuid, Present>,
    /// No room is empty.
    rooms: HashMap<Channel, HashSet<Uuid>>,
}

struct Present {
    outbox: Arc<Outbox>,
    user: Arc<str>,
    /// Shared with whoever looks at it, so that looking copies nothing while joins and leaves wait.
    rooms: Arc<Vec<Channel>>,
}

/// A socket that was selected.
pub(super) struct Chosen {
    pub(super) id: Uuid,
    pub(super) outbox: Arc<Outbox>,
}

/// What is known of a socket.
pub(super) struct Known {
    pub(super) id: Uuid,
    pub(super) user: Arc<str>,
    pub(super) rooms: Arc<Vec<Channel>>,
}

/// A socket's entry; leaves on drop, and its rooms with it.
pub(super) struct Entry {
    sockets: Arc<Sockets>,
    namespace: Arc<str>,
    id: Uuid,
}

/// A socket's place in a room; leaves on drop.
pub(super) struct Room {
    membership: Membership,
    since: Offset,
    /// `None` is never.
    expires_at: Option<Instant>,
    entry: Arc<Entry>,
}

impl Sockets {
    pub(super) fn new(namespaces: impl Iterator<Item = Arc<str>>, connections: Arc<Connections>) -> Arc<Self> {
        Arc::new(Self {
            connections,
            left: Notify::new(),
            spaces: namespaces.map(|name| (name, Mutex::default())).collect(),
            watcher: OnceLock::new(),
        })
    }

    /// From now on. The first call counts.
    pub(super) fn watch(&self, watcher: Watcher) {
        let _ = self.watcher.set(watcher);
    }

    /// Enters a socket; `None` where it is here, on another connection perhaps.
    pub(super) fn enter(
        self: &Arc<Self>,
        namespace: &Arc<str>,
        id: Uuid,
        user: &Arc<str>,
        outbox: &Arc<Outbox>,
    ) -> Option<Arc<Entry>> {
        let present = Present { outbox: Arc::clone(outbox), user: Arc::clone(user), rooms: Arc::default() };
        match self.spaces.get(namespace)?.lock().sockets.entry(id) {
            hash_map::Entry::Vacant(place) => place.insert(present),
            hash_map::Entry::Occupied(_) => return None,
        };
        if let Some(watcher) = self.watcher.get() {
            watcher(namespace, id);
        }
        Some(Arc::new(Entry { sockets: Arc::clone(self), namespace: Arc::clone(namespace), id }))
    }

    /// Where what a socket of this node gets waits.
    pub(super) fn outbox(&self, namespace: &str, id: Uuid) -> Option<Arc<Outbox>> {
        self.spaces.get(namespace)?.lock().sockets.get(&id).map(|present| Arc::clone(&present.outbox))
    }

    /// Returns once a socket is not here any more.
    pub(super) async fn gone(&self, namespace: &str, id: Uuid) {
        loop {
            let mut left = pin!(self.left.notified());
            left.as_mut().enable();
            if self.outbox(namespace, id).is_none() {
                return;
            }
            left.await;
        }
    }

    /// Those of this node that `target` means, each once.
    pub(super) fn select(&self, target: &Target) -> Vec<Chosen> {
        self.each(target, |id, present| Chosen { id, outbox: Arc::clone(&present.outbox) })
    }

    /// What is known of them.
    pub(super) fn describe(&self, target: &Target) -> Vec<Known> {
        self.each(target, |id, present| Known {
            id,
            user: Arc::clone(&present.user),
            rooms: Arc::clone(&present.rooms),
        })
    }

    fn each<T>(&self, target: &Target, of: impl Fn(Uuid, &Present) -> T) -> Vec<T> {
        let users = [&target.to, &target.except].map(|selection| self.of_users(selection));
        let Some(space) = self.spaces.get(&target.namespace.name) else { return Vec::new() };
        let space = space.lock();
        let [to, except] = [&target.to, &target.except];
        let except = space.named(except, &users[1]);
        let chosen = |(id, present): (&Uuid, &Present)| (!except.contains(id)).then(|| of(*id, present));
        if to.is_empty() {
            return space.sockets.iter().filter_map(chosen).collect();
        }
        let named = space.named(to, &users[0]);
        named.iter().filter_map(|id| space.sockets.get_key_value(id)).filter_map(chosen).collect()
    }

    fn of_users(&self, selection: &Selection) -> Vec<Uuid> {
        let clients = selection.users.iter().flat_map(|user| self.connections.of_user(user));
        clients.map(|(id, _)| id).collect()
    }
}

impl Space {
    /// Everybody whom a selection names, perhaps some who are not here.
    fn named(&self, selection: &Selection, of_users: &[Uuid]) -> HashSet<Uuid> {
        let in_rooms = selection.rooms.iter().filter_map(|room| self.rooms.get(room)).flatten();
        in_rooms.chain(of_users).chain(&selection.sockets).copied().collect()
    }

    /// Whether the room is empty now, and was not before.
    fn leave(&mut self, room: &Channel, id: Uuid) -> bool {
        let Some(members) = self.rooms.get_mut(room) else { return false };
        members.remove(&id);
        let empty = members.is_empty();
        if empty {
            self.rooms.remove(room);
        }
        empty
    }
}

impl Entry {
    pub(super) const fn id(&self) -> Uuid {
        self.id
    }

    /// Enters the socket into a room that it listens to, and hears from `since` on.
    /// Also whether it is the first there.
    pub(super) fn join(self: &Arc<Self>, membership: Membership, since: Offset) -> (Room, bool) {
        let first = self.sockets.spaces.get(&self.namespace).is_some_and(|space| {
            let mut space = space.lock();
            let room = membership.channel();
            if let Some(present) = space.sockets.get_mut(&self.id) {
                let rooms = Arc::make_mut(&mut present.rooms);
                rooms.reserve_exact(1);
                rooms.push(room.clone());
            }
            let members = space.rooms.entry(room.clone()).or_default();
            members.insert(self.id);
            members.len() == 1
        });
        (Room { membership, since, expires_at: None, entry: Arc::clone(self) }, first)
    }

    /// Whether it was the last there.
    fn leave(&self, room: &Channel) -> bool {
        let Some(space) = self.sockets.spaces.get(&self.namespace) else { return false };
        let mut space = space.lock();
        if let Some(present) = space.sockets.get_mut(&self.id) {
            Arc::make_mut(&mut present.rooms).retain(|other| other != room);
        }
        space.leave(room, self.id)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(space) = self.sockets.spaces.get(&self.namespace) {
            space.lock().sockets.remove(&self.id);
        }
        self.sockets.left.notify_waiters();
    }
}

impl Room {
    /// The channel that the room is.
    pub(super) fn channel(&self) -> &Channel {
        self.membership.channel()
    }

    /// Ends what comes from it, and tells where that is; `None` without history.
    pub(super) fn end(&self) -> Option<Position> {
        self.membership.end()
    }

    pub(super) const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Everything that is published there behind this is for the socket.
    pub(super) const fn since(&self) -> Offset {
        self.since
    }

    /// When the socket has to leave it, where it is in for a time only.
    pub(super) const fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    pub(super) const fn expire_at(&mut self, at: Option<Instant>) {
        self.expires_at = at;
    }

    /// Leaves it; whether the socket was the last there.
    pub(super) fn leave(self) -> bool {
        self.entry.leave(self.membership.channel())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.entry.leave(self.membership.channel());
    }
}
