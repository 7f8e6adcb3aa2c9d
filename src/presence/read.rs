//! Who is in a channel, for whoever asks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::Presence;
use super::view::Opened;
use crate::backplane::PresenceError;
use crate::protocol::Channel;
use crate::protocol::centrifuge::ClientInfo;

/// Official clients drop the whole connection when a command is not answered within 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// Who was in a channel at one moment.
#[derive(Debug, Clone, Default)]
pub struct Present(BTreeMap<Uuid, Bytes>);

impl Present {
    /// Everybody, by the client's id.
    #[must_use]
    pub fn clients(&self) -> BTreeMap<String, ClientInfo> {
        let parsed = self.0.iter().filter_map(|(client, info)| {
            let info = serde_json::from_slice(info).ok()?;
            Some((client.hyphenated().to_string(), info))
        });
        parsed.collect()
    }

    /// Connections, and the distinct users that they belong to.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let users: HashSet<String> = self.0.values().map(|info| user(info)).collect();
        (self.0.len(), users.len())
    }
}

/// The user that a record names.
pub(super) fn user(info: &[u8]) -> String {
    serde_json::from_slice::<ClientInfo>(info).map(|info| info.user).unwrap_or_default()
}

/// What a read brought, or why it did not, and when it was begun.
type Found = Option<(Instant, Result<Arc<BTreeMap<Uuid, Bytes>>, PresenceError>)>;

/// Reads under way: those who ask while one channel is read share what is read next.
#[derive(Default)]
pub(super) struct Reads(Mutex<HashMap<Channel, Arc<Turn>>>);

/// Those who ask for one channel.
#[derive(Default)]
struct Turn {
    asking: AtomicUsize,
    found: tokio::sync::Mutex<Found>,
}

/// One who asks; the last one takes the turn with it.
struct Asking<'a> {
    reads: &'a Reads,
    channel: &'a Channel,
    turn: Arc<Turn>,
}

impl Reads {
    fn ask<'a>(&'a self, channel: &'a Channel) -> Asking<'a> {
        let turn = Arc::clone(self.0.lock().entry(channel.clone()).or_default());
        turn.asking.fetch_add(1, Ordering::Relaxed);
        Asking { reads: self, channel, turn }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut turns = self.reads.0.lock();
        if self.turn.asking.fetch_sub(1, Ordering::Relaxed) == 1
            && turns.get(self.channel).is_some_and(|turn| Arc::ptr_eq(turn, &self.turn))
        {
            turns.remove(self.channel);
        }
    }
}

impl Presence {
    /// Who is in `channel` now. What happened on this node is always in it; what happens on others takes a moment.
    ///
    /// # Errors
    /// When the records cannot be read in time.
    pub async fn list(&self, channel: &Channel) -> Result<Present, PresenceError> {
        let read = async {
            self.until_open(channel).await;
            match self.views.members(channel, &self.life()) {
                Some(members) => Ok(members),
                None => self.read_shared(channel).await,
            }
        };
        let read = timeout(PATIENCE, read).await;
        let mut present = read.map_err(|_| PresenceError::Unavailable(format!("not read within {PATIENCE:?}")))??;
        present.extend(self.roster.of_channel(channel));
        Ok(Present(present))
    }

    /// Waits for a view that is being opened, however long that takes: it tells of what happens after it knew who was there.
    /// Whoever comes between an answer from before and that moment would be in neither. One that may not be opened tells of
    /// nothing.
    async fn until_open(&self, channel: &Channel) {
        let Some(view) = self.views.get(channel) else { return };
        let is_settled = |opened: &Opened| *opened != Opened::NotYet || !view.state.lock().opening;
        // The view holds the sender.
        let _ = view.opened.subscribe().wait_for(is_settled).await;
    }

    /// Others' clients, read by whoever comes first; nobody gets what was read before it asked.
    async fn read_shared(&self, channel: &Channel) -> Result<BTreeMap<Uuid, Bytes>, PresenceError> {
        let asked = Instant::now();
        let asking = self.reads.ask(channel);
        let mut found = asking.turn.found.lock().await;
        if let Some((begun, members)) = &*found
            && *begun >= asked
        {
            return members.clone().map(|members| BTreeMap::clone(&members));
        }
        let begun = Instant::now();
        let members = self.read_others(channel).await.map(Arc::new);
        *found = Some((begun, members.clone()));
        drop(found);
        members.map(Arc::unwrap_or_clone)
    }

    async fn read_others(&self, channel: &Channel) -> Result<BTreeMap<Uuid, Bytes>, PresenceError> {
        let own = self.life();
        let others = self.noted(channel).await?.filter(|noted| noted.life != own);
        Ok(others.map(|noted| (noted.client, noted.info)).collect())
    }
}
