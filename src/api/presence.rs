//! `presence` and `presence_stats`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::command::or_null;
use super::{Api, ApiError};
use crate::presence::Present;
use crate::protocol::centrifuge::ClientInfo;

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct PresenceRequest {
    #[serde(deserialize_with = "or_null")]
    channel: String,
}

/// Who is there, by the client's id.
#[derive(Serialize)]
pub(super) struct PresenceResult {
    presence: BTreeMap<String, ClientInfo>,
}

/// Connections, and distinct users. Zeros are written.
#[derive(Serialize)]
pub(super) struct PresenceStatsResult {
    num_clients: usize,
    num_users: usize,
}

impl From<Present> for PresenceResult {
    fn from(present: Present) -> Self {
        Self { presence: present.clients() }
    }
}

impl From<Present> for PresenceStatsResult {
    fn from(present: Present) -> Self {
        let (num_clients, num_users) = present.counts();
        Self { num_clients, num_users }
    }
}

impl Api {
    pub(super) async fn present<T: From<Present>>(&self, request: &PresenceRequest) -> Result<T, ApiError> {
        let (channel, namespace) = self.channel(&request.channel)?;
        if !namespace.presence {
            return Err(ApiError::NotAvailable(format!("{} is false", namespace.option("presence"))));
        }
        let present = self.presence.list(&channel).await.map_err(|error| {
            warn!(%channel, %error, "presence not read for the server API");
            ApiError::Internal
        })?;
        Ok(present.into())
    }
}
