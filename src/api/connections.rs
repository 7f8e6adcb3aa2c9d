//! `connections`: who of a user is connected, on all nodes.
//!
//! The JSON is that of Centrifugo PRO (`internal/apiproto/api.proto`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::command::or_null;
use super::survey::CONNECTIONS;
use super::{Api, ApiError};
use crate::hub::{Asker, Client, Control, Order};
use crate::protocol::centrifuge::Encoding;

/// How long sessions may take to say what they are subscribed to: less than whoever asks this node waits.
const PATIENCE: Duration = Duration::from_millis(500);
/// Sessions that are asked; beyond it, as with anonymous clients, only what the node knows by itself is told.
const ASKED: usize = 1000;

#[derive(Debug, Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct ConnectionsRequest {
    /// Empty for all anonymous clients.
    #[serde(deserialize_with = "or_null")]
    user: String,
}

#[derive(Serialize)]
pub(super) struct ConnectionsResult {
    connections: BTreeMap<String, ConnectionInfo>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ConnectionInfo {
    #[serde(default, skip_serializing_if = "str::is_empty")]
    app_name: Box<str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    app_version: Box<str>,
    transport: String,
    protocol: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    user: String,
    /// None where the session did not say in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<ConnectionState>,
    connected_at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct ConnectionState {
    channels: BTreeMap<String, ChannelContext>,
}

#[derive(Serialize, Deserialize, Default)]
struct ChannelContext {}

impl Api {
    /// The user's connections on all nodes, by client.
    pub(super) async fn connections(&self, request: &ConnectionsRequest) -> Result<ConnectionsResult, ApiError> {
        let maps = self.survey::<ConnectionInfo>(CONNECTIONS, request).await?;
        Ok(ConnectionsResult { connections: maps.into_iter().flatten().collect() })
    }

    /// Those on this node.
    pub(super) async fn connections_here(&self, request: &ConnectionsRequest) -> Vec<(String, ConnectionInfo)> {
        let clients = self.connections.of_user(&request.user);
        let mut states = subscriptions(&clients).await;
        let described = clients.into_iter().map(|(id, client)| {
            let info = ConnectionInfo {
                app_name: client.profile.name.clone(),
                app_version: client.profile.version.clone(),
                transport: client.outbox.format().transport().to_owned(),
                protocol: match client.outbox.format().encoding() {
                    Encoding::Json => "json",
                    Encoding::Protobuf => "protobuf",
                }
                .to_owned(),
                user: request.user.clone(),
                state: states.remove(&id),
                connected_at_ms: client.profile.connected_at,
            };
            (id.hyphenated().to_string(), info)
        });
        described.collect()
    }
}

/// What clients are subscribed to; only their sessions know.
async fn subscriptions(clients: &[(Uuid, Client)]) -> BTreeMap<Uuid, ConnectionState> {
    let asked = clients.len().min(ASKED);
    let (sender, mut descriptions) = mpsc::channel(asked.max(1));
    let order = Arc::new(Order::Describe(Asker(sender)));
    for (_, client) in &clients[..asked] {
        client.outbox.request(Control::Obey(Arc::clone(&order)));
    }
    // Sessions that end drop their orders: nobody waits for them then.
    drop(order);
    let deadline = Instant::now() + PATIENCE;
    let mut states = BTreeMap::new();
    while let Ok(Some(description)) = timeout_at(deadline, descriptions.recv()).await {
        let channels = description.channels.iter().map(|channel| (channel.to_string(), ChannelContext {})).collect();
        states.insert(description.client, ConnectionState { channels });
    }
    states
}
