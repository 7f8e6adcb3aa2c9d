//! Who is in a channel, for whoever asks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::Presence;
use crate::backplane::{PresenceError, Whose};
use crate::protocol::Channel;
use crate::protocol::centrifuge::ClientInfo;

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

/// What a read brought, and when it was begun.
type Found = Option<(Instant, Arc<BTreeMap<Uuid, Bytes>>)>;

/// Reads under way: those who ask while one channel is read share what is read next.
#[derive(Default)]
pub(super) struct Reads(Mutex<HashMap<Channel, Arc<tokio::sync::Mutex<Found>>>>);

impl Presence {
    /// Who is in `channel` now. What happened on this node is always in it; what happens on others takes a moment.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn list(&self, channel: &Channel) -> Result<Present, PresenceError> {
        let seen = self.views.members(channel, &self.life());
        let mut present = match seen {
            Some(members) => members,
            None => self.read_shared(channel).await?,
        };
        present.extend(self.roster.of_channel(channel));
        Ok(Present(present))
    }

    /// Others' clients, read by whoever comes first; nobody gets what was read before it asked.
    async fn read_shared(&self, channel: &Channel) -> Result<BTreeMap<Uuid, Bytes>, PresenceError> {
        let asked = Instant::now();
        let turn = Arc::clone(self.reads.0.lock().entry(channel.clone()).or_default());
        let mut found = turn.lock().await;
        if let Some((begun, members)) = &*found
            && *begun >= asked
        {
            return Ok(BTreeMap::clone(members));
        }
        let begun = Instant::now();
        let members = self.read_others(channel).await;
        if let Ok(members) = &members {
            *found = Some((begun, Arc::new(members.clone())));
        }
        drop(found);
        let mut reads = self.reads.0.lock();
        // This one and the map's own.
        if reads.get(channel).is_some_and(|held| Arc::strong_count(held) <= 2) {
            reads.remove(channel);
        }
        members
    }

    async fn read_others(&self, channel: &Channel) -> Result<BTreeMap<Uuid, Bytes>, PresenceError> {
        let own = self.life();
        let mut members = BTreeMap::new();
        self.each_record(Whose::Channel(channel), |record| match record.info {
            Some(info) if record.occupant.node != own => {
                members.insert(record.occupant.client, info);
            }
            _ => {}
        })
        .await?;
        Ok(members)
    }
}
