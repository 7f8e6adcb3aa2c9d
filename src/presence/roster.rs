//! The clients of this node, by channel, and which of them the records do not show yet.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use uuid::Uuid;

use super::Presence;
use crate::backplane::Word;
use crate::protocol::Channel;
use crate::protocol::centrifuge::ClientInfo;

/// One client of this node in one channel.
pub(super) type Key = (Channel, Uuid);

/// Everybody who is here.
pub(super) struct Roster {
    state: Mutex<State>,
    /// There is something to write.
    wake: Notify,
    /// What is not known to be recorded.
    owed: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    here: BTreeMap<Key, Bytes>,
    /// Who has left, until that is recorded.
    left: HashMap<Key, Bytes>,
    /// What is to be written, each once. At most everybody who is here, and those who have just left.
    queue: VecDeque<Key>,
    queued: HashSet<Key>,
    /// What is being written, and whether it changed meanwhile.
    writing: BTreeMap<Key, bool>,
    /// Who waits until a client that is here is recorded.
    waiting: HashMap<Key, oneshot::Sender<u64>>,
}

impl Default for Roster {
    fn default() -> Self {
        Self { state: Mutex::default(), wake: Notify::new(), owed: watch::channel(0).0 }
    }
}

impl Roster {
    /// Takes a client in, or what is new about it.
    pub(super) fn enter(&self, channel: &Channel, client: Uuid, info: &ClientInfo) {
        // A structure of strings and JSON that was parsed before cannot fail to be written.
        let info = Bytes::from(serde_json::to_vec(info).unwrap_or_default());
        let key = (channel.clone(), client);
        self.take_in(&mut self.state.lock(), key, info);
    }

    fn take_in(&self, state: &mut State, key: Key, info: Bytes) {
        state.left.remove(&key);
        if state.here.insert(key.clone(), info.clone()) != Some(info) {
            self.mark(state, key);
        }
    }

    /// As [`enter`](Self::enter), and tells at which revision once it is recorded.
    pub(super) fn enter_and_tell(&self, channel: &Channel, client: Uuid, info: &ClientInfo) -> oneshot::Receiver<u64> {
        let (tell, told) = oneshot::channel();
        let info = Bytes::from(serde_json::to_vec(info).unwrap_or_default());
        let key = (channel.clone(), client);
        // At once: the record of a leave that is being written meanwhile must not answer for it.
        let mut state = self.state.lock();
        state.waiting.insert(key.clone(), tell);
        self.take_in(&mut state, key, info);
        told
    }

    /// Lets a client go.
    pub(super) fn leave(&self, key: Key) {
        let mut state = self.state.lock();
        if let Some(info) = state.here.remove(&key) {
            state.left.insert(key.clone(), info);
        }
        state.waiting.remove(&key);
        self.mark(&mut state, key);
    }

    /// Has the record of a client written anew.
    pub(super) fn rewrite(&self, key: Key) {
        self.mark(&mut self.state.lock(), key);
    }

    /// Has every record written anew.
    pub(super) fn rewrite_all(&self) {
        let mut state = self.state.lock();
        let everybody: Vec<Key> = state.here.keys().cloned().collect();
        everybody.into_iter().for_each(|key| self.mark(&mut state, key));
    }

    fn mark(&self, state: &mut State, key: Key) {
        if let Some(changed) = state.writing.get_mut(&key) {
            *changed = true;
        } else if state.queued.insert(key.clone()) {
            state.queue.push_back(key);
        }
        self.settle(state);
        self.wake.notify_one();
    }

    fn settle(&self, state: &State) {
        self.owed.send_replace(state.queue.len() + state.writing.len());
    }

    /// The next client whose record is to be written, and what it says. [`written`](Self::written) must follow.
    pub(super) fn take(&self) -> Option<(Key, Word)> {
        let mut state = self.state.lock();
        let key = state.queue.pop_front()?;
        state.queued.remove(&key);
        state.writing.insert(key.clone(), false);
        let word = match state.here.get(&key) {
            Some(info) => Word::Here(info.clone()),
            None => Word::Left(state.left.get(&key).cloned()),
        };
        Some((key, word))
    }

    /// A record was written, with this revision, or was not.
    pub(super) fn written(&self, key: Key, revision: Option<u64>) {
        let mut state = self.state.lock();
        let changed = state.writing.remove(&key).unwrap_or(false);
        match revision.filter(|_| !changed) {
            Some(revision) => {
                state.left.remove(&key);
                if let Some(waiting) = state.waiting.remove(&key) {
                    // Whoever waited may have given up.
                    let _ = waiting.send(revision);
                }
            }
            None if state.queued.insert(key.clone()) => state.queue.push_back(key),
            None => {}
        }
        self.settle(&state);
    }

    /// A record will never be written as it is: nobody waits for it any more, until it changes.
    pub(super) fn refused(&self, key: Key) {
        let mut state = self.state.lock();
        if state.writing.remove(&key).unwrap_or(false) {
            self.mark(&mut state, key);
            return;
        }
        state.left.remove(&key);
        state.waiting.remove(&key);
        self.settle(&state);
    }

    /// Returns when there may be something to write.
    pub(super) async fn wake(&self) {
        self.wake.notified().await;
    }

    /// Returns once everything is recorded.
    pub(super) async fn settled(&self) {
        // The sender lives in self.
        let _ = self.owed.subscribe().wait_for(|owed| *owed == 0).await;
    }

    /// Returns once these are recorded, whoever else is not: on a busy node there is always somebody.
    pub(super) async fn recorded(&self, keys: Vec<Key>) {
        let mut changes = self.owed.subscribe();
        for key in &keys {
            while self.is_owed(key) {
                // The sender lives in self.
                let _ = changes.changed().await;
            }
        }
    }

    fn is_owed(&self, key: &Key) -> bool {
        let state = self.state.lock();
        state.queued.contains(key) || state.writing.contains_key(key)
    }

    /// What is not known to be recorded.
    pub(super) fn owed(&self) -> usize {
        *self.owed.borrow()
    }

    /// Those who are in `channel` on this node.
    pub(super) fn of_channel(&self, channel: &Channel) -> Vec<(Uuid, Bytes)> {
        let state = self.state.lock();
        let all = state.here.range((channel.clone(), Uuid::nil())..=(channel.clone(), Uuid::max()));
        all.map(|((_, client), info)| (*client, info.clone())).collect()
    }

    /// Whether a client is here.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.state.lock().here.contains_key(key)
    }

    /// What a client's record should say.
    pub(super) fn info(&self, key: &Key) -> Option<Bytes> {
        self.state.lock().here.get(key).cloned()
    }

    /// Everybody who is here.
    pub(super) fn everybody(&self) -> Vec<Key> {
        self.state.lock().here.keys().cloned().collect()
    }
}

/// A client is in a channel until this is dropped.
pub struct Stay {
    presence: Arc<Presence>,
    channel: Channel,
    client: Uuid,
    /// It is one of those who are counted as present.
    counted: bool,
}

impl Stay {
    pub(super) fn new(presence: Arc<Presence>, channel: Channel, client: Uuid) -> Self {
        presence.telemetry.presence.here.increment(1.0);
        Self { presence, channel, client, counted: true }
    }

    /// Of a record that no channel shows.
    pub(super) const fn uncounted(presence: Arc<Presence>, channel: Channel, client: Uuid) -> Self {
        Self { presence, channel, client, counted: false }
    }

    /// Something about the client has changed.
    pub fn update(&self, info: &ClientInfo) {
        self.presence.roster.enter(&self.channel, self.client, info);
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if self.counted {
            self.presence.telemetry.presence.here.decrement(1.0);
        }
        self.presence.roster.leave((self.channel.clone(), self.client));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name, 255).expect("a channel")
    }

    fn info(user: &str) -> ClientInfo {
        ClientInfo { user: user.to_owned(), ..ClientInfo::default() }
    }

    #[test]
    fn what_changes_while_it_is_written_is_written_again() {
        let (roster, key) = (Roster::default(), (channel("a"), Uuid::from_u128(1)));
        roster.enter(&key.0, key.1, &info("ann"));
        let (taken, word) = roster.take().expect("to be written");
        assert!(taken == key && matches!(word, Word::Here(_)));
        roster.leave(key.clone());
        assert!(roster.take().is_none(), "two writes of one record could overtake each other");
        roster.written(key.clone(), Some(1));
        let Some((taken, Word::Left(Some(who)))) = roster.take() else { panic!("to be written, with who left") };
        assert!(taken == key && String::from_utf8_lossy(&who).contains("ann"));
        roster.written(key, Some(2));
        assert!(roster.settled().now_or_never().is_some());
    }

    #[test]
    fn what_was_not_written_is_owed() {
        let (roster, key) = (Roster::default(), (channel("a"), Uuid::from_u128(1)));
        roster.enter(&key.0, key.1, &info("ann"));
        roster.enter(&key.0, key.1, &info("ann"));
        assert_eq!(roster.owed(), 1);
        let (key, _) = roster.take().expect("to be written");
        roster.written(key, None);
        assert!(roster.settled().now_or_never().is_none());
        assert!(roster.take().is_some());
    }

    #[test]
    fn what_is_refused_for_good_is_neither_owed_nor_waited_for_until_it_changes() {
        let (roster, key) = (Roster::default(), (channel("a"), Uuid::from_u128(1)));
        let told = roster.enter_and_tell(&key.0, key.1, &info("ann"));
        let (taken, _) = roster.take().expect("to be written");
        roster.refused(taken);
        assert!(roster.take().is_none() && roster.settled().now_or_never().is_some());
        assert!(told.now_or_never().is_some_and(|told| told.is_err()));
        roster.enter(&key.0, key.1, &info("bob"));
        let (taken, _) = roster.take().expect("to be written");
        roster.leave(key);
        roster.refused(taken);
        assert!(matches!(roster.take(), Some((_, Word::Left(Some(_))))), "it changed meanwhile");
    }

    #[test]
    fn whoever_waits_hears_of_the_last_write_and_nothing_of_one_who_left() {
        let (roster, key) = (Roster::default(), (channel("a"), Uuid::from_u128(1)));
        let told = roster.enter_and_tell(&key.0, key.1, &info("ann"));
        let (taken, _) = roster.take().expect("to be written");
        roster.rewrite(key.clone());
        roster.written(taken, Some(1));
        let (taken, _) = roster.take().expect("once more");
        roster.written(taken, Some(2));
        assert_eq!(told.now_or_never(), Some(Ok(2)));
        let told = roster.enter_and_tell(&key.0, key.1, &info("bob"));
        roster.leave(key);
        assert!(told.now_or_never().is_some_and(|told| told.is_err()));
    }

    #[test]
    fn those_who_are_waited_for_are_recorded_while_others_are_not() {
        let (roster, ann, bob) = (Roster::default(), (channel("a"), Uuid::from_u128(1)), channel("b"));
        roster.enter(&ann.0, ann.1, &info("ann"));
        roster.enter(&bob, Uuid::from_u128(2), &info("bob"));
        let mut recorded = Box::pin(roster.recorded(vec![ann.clone()]));
        assert!((&mut recorded).now_or_never().is_none());
        let (taken, _) = roster.take().expect("to be written");
        assert!((&mut recorded).now_or_never().is_none(), "it is only under way");
        roster.written(taken, Some(1));
        assert!((&mut recorded).now_or_never().is_some());
        assert_eq!(roster.owed(), 1, "bob is not recorded yet");
    }

    #[test]
    fn a_channel_s_clients_are_told_from_its_neighbours() {
        let roster = Roster::default();
        for (name, client) in [("a", 1), ("a", 2), ("a.b", 3), ("b", 4)] {
            roster.enter(&channel(name), Uuid::from_u128(client), &info("ann"));
        }
        let clients: Vec<_> =
            roster.of_channel(&channel("a")).into_iter().map(|(client, _)| client.as_u128()).collect();
        assert_eq!(clients, [1, 2]);
    }
}
