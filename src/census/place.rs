//! Places: those of this node, and what is recorded of all.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Census, NoPlace};
use crate::hub::{Control, Outbox};
use crate::presence::{Noted, Stay};
use crate::protocol::Channel;
use crate::protocol::centrifuge::ClientInfo;
use crate::protocol::centrifuge::codes::DisconnectCode;

/// The places of this node, by client; also of those who wait to hear whether they may stay.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<Uuid, Arc<Outbox>>>);

/// A connection's place among those of its user; free again on drop.
pub struct Place {
    places: Arc<Places>,
    client: Uuid,
    #[expect(dead_code, reason = "it is recorded as long as it lives")]
    stay: Stay,
}

/// A connection of the same user.
pub(super) struct Other {
    pub(super) client: Uuid,
    /// Where questions about it go.
    pub(super) node: Uuid,
    revision: u64,
}

/// What a record says beside user and client.
#[derive(Serialize, Deserialize)]
struct Where {
    node: Uuid,
}

impl Places {
    pub(super) fn hold(&self, client: Uuid) -> bool {
        self.0.lock().contains_key(&client)
    }

    /// Has a connection end; whether it was there.
    pub(super) fn vacate(&self, client: Uuid) -> bool {
        let outbox = self.0.lock().get(&client).cloned();
        outbox.map(|outbox| outbox.request(Control::Close(DisconnectCode::ConnectionLimit.into()))).is_some()
    }
}

impl From<Noted> for Other {
    fn from(noted: Noted) -> Self {
        let info = serde_json::from_slice::<ClientInfo>(&noted.info).unwrap_or_default();
        // A record that names no node is nobody's, and nobody answers for it.
        let node = serde_json::from_slice(&info.conn_info).map_or(Uuid::nil(), |place: Where| place.node);
        Self { client: noted.client, node, revision: noted.since }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.lock().remove(&self.client);
    }
}

impl Census {
    /// Takes a place, and tells at which revision it is recorded.
    pub(super) fn take(
        &self,
        channel: &Channel,
        user: &str,
        client: Uuid,
        outbox: &Arc<Outbox>,
    ) -> (Place, oneshot::Receiver<u64>) {
        let place = serde_json::to_vec(&Where { node: self.node }).unwrap_or_default();
        let info = ClientInfo {
            user: user.to_owned(),
            client: client.hyphenated().to_string(),
            conn_info: place.into(),
            chan_info: Bytes::new(),
        };
        self.places.0.lock().insert(client, Arc::clone(outbox));
        let (stay, recorded) = self.presence.note(channel, client, &info);
        (Place { places: Arc::clone(&self.places), client, stay }, recorded)
    }

    /// The user's connections that were recorded before `revision`, ascending.
    pub(super) async fn before(&self, channel: &Channel, client: Uuid, revision: u64) -> Result<Vec<Other>, NoPlace> {
        let noted = self.presence.noted(channel).await.map_err(|error| NoPlace::Unknown(error.to_string()))?;
        let before = noted.filter(|noted| noted.since < revision && noted.client != client);
        let mut others: Vec<_> = before.map(Other::from).collect();
        others.sort_unstable_by_key(|other| other.revision);
        Ok(others)
    }
}
