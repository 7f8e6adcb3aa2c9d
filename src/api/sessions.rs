//! `subscribe`, `unsubscribe`, `disconnect`, `refresh`: what concerns a user's connections, on whichever node they are.
//!
//! A call is checked here and then told to every node as it came; each does what it asks with the connections that it
//! has. There is no answer from them: a user that nobody knows is no error, as in Centrifugo.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::debug;
use uuid::Uuid;

use super::command::{decode, or_null};
use super::lately::Lately;
use super::{Api, ApiError, Empty, Method};
use crate::auth::options::{self, SubscribeOptions, Unfit, expiry};
use crate::hub::{Errand, Placement};
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode};
use crate::telemetry::{Telemetry, Topic};

/// The topic on which calls are told.
pub const CONTROL: &str = "control";

/// A call on its way to every node.
#[derive(Serialize, Deserialize)]
struct Told<'a> {
    /// Its own: servers of NATS whose connections break may deliver it twice.
    id: Uuid,
    method: &'a str,
    #[serde(borrow)]
    params: &'a RawValue,
}

/// All fields of all four methods.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Params {
    #[serde(deserialize_with = "or_null")]
    user: String,
    #[serde(deserialize_with = "or_null")]
    client: String,
    /// Of connections on streams, and of those that only listen; no other has one.
    #[serde(deserialize_with = "or_null")]
    session: String,
    #[serde(deserialize_with = "or_null")]
    channel: String,
    #[serde(deserialize_with = "or_null")]
    expire_at: i64,
    #[serde(deserialize_with = "or_null")]
    expired: bool,
    /// `conn_info` in a refresh; in a subscribe `chan_info`, which [`SubscribeOptions`] reads.
    info: Option<Box<RawValue>>,
    recover_since: Option<Since>,
    disconnect: Option<Farewell>,
    #[serde(deserialize_with = "or_null")]
    whitelist: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Since {
    offset: u64,
    epoch: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Farewell {
    code: u32,
    reason: String,
}

impl Api {
    /// Checks a call and tells it to every node.
    pub(super) async fn tell(&self, method: Method, params: &RawValue) -> Result<Empty, ApiError> {
        self.errand(method, params)?;
        let told = Told { id: Uuid::new_v4(), method: method.name(), params };
        let message = serde_json::to_vec(&told).map_err(|_| ApiError::Internal)?;
        let sent = self.backplane.broadcast().tell(CONTROL, message.into()).await;
        sent.map_err(|error| ApiError::Unavailable(error.to_string()))?;
        Ok(Empty {})
    }

    /// Does what nodes tell, until they do no longer.
    pub async fn obey(self: Arc<Self>, mut told: mpsc::Receiver<Bytes>, telemetry: Arc<Telemetry>) {
        let mut lately = Lately::default();
        while let Some(message) = told.recv().await {
            if self.obey_one(&message, &mut lately).is_none() {
                telemetry.cluster.not_understood(Topic::Control);
            }
        }
    }

    fn obey_one(&self, message: &[u8], lately: &mut Lately) -> Option<()> {
        let Told { id, method, params } = serde_json::from_slice(message).ok()?;
        if !lately.is_new(id) {
            debug!(method, "told by a node once more");
            return Some(());
        }
        let method = Method::parse(method)?;
        let errand = self.errand(method, params).ok()?;
        let wanted: Params = decode(params.get().as_bytes()).ok()?;
        let one: Option<Uuid> = if wanted.client.is_empty() { None } else { Some(wanted.client.parse().ok()?) };
        let spared = |client: &Uuid| wanted.whitelist.iter().any(|spared| *spared == client.hyphenated().to_string());
        let session: Option<Uuid> = if wanted.session.is_empty() { None } else { Some(wanted.session.parse().ok()?) };
        let mut reached = 0;
        for (client, known) in self.connections.of_user(&wanted.user) {
            let meant = one.is_none_or(|one| one == client)
                && session.is_none_or(|session| known.profile.session.as_deref() == Some(&session));
            if meant && !spared(&client) {
                known.outbox.request_of(client, errand.clone());
                reached += 1;
            }
        }
        debug!(method = method.name(), reached, "told by a node");
        Some(())
    }

    /// What a call asks of each client.
    fn errand(&self, method: Method, params: &RawValue) -> Result<Errand, ApiError> {
        let body = params.get().as_bytes();
        let wanted: Params = decode(body)?;
        let is_id = |text: &str| text.is_empty() || text.parse::<Uuid>().is_ok();
        if let Some((field, _)) =
            [("client", &wanted.client), ("session", &wanted.session)].iter().find(|(_, id)| !is_id(id))
        {
            return Err(ApiError::Invalid(format!("{field} is not an id (a UUID)")));
        }
        Ok(match method {
            Method::Subscribe => {
                let (channel, _) = self.channel(&wanted.channel)?;
                let options: SubscribeOptions = decode(body)?;
                let options = options.subscription(wanted.channel).map_err(unfit)?;
                Errand::Subscribe(Arc::new(Placement {
                    channel,
                    info: options.info,
                    data: options.data,
                    expires_at: expiry(wanted.expire_at),
                    since: wanted.recover_since.map(|since| (since.offset, since.epoch)),
                    force_recovery: options.overrides.force_recovery,
                    force_positioning: options.overrides.force_positioning,
                    presence: options.overrides.presence,
                    join_leave: options.overrides.join_leave,
                    force_push_join_leave: options.overrides.force_push_join_leave,
                }))
            }
            Method::Unsubscribe if wanted.channel.is_empty() => Errand::Unsubscribe(None),
            Method::Unsubscribe => Errand::Unsubscribe(Some(self.channel(&wanted.channel)?.0)),
            Method::Refresh if wanted.expired => Errand::Disconnect(DisconnectCode::Expired.into()),
            Method::Refresh => Errand::Refresh {
                expires_at: expiry(wanted.expire_at),
                info: options::info(wanted.info, None).map_err(unfit)?,
            },
            _ => Errand::Disconnect(farewell(wanted.disconnect)?),
        })
    }
}

fn unfit(error: Unfit) -> ApiError {
    ApiError::Invalid(error.to_string())
}

/// How a backend wants a connection to end; as Centrifugo does it where nothing is said.
fn farewell(wanted: Option<Farewell>) -> Result<Disconnect, ApiError> {
    match wanted {
        Some(Farewell { code, reason }) if code > 0 => {
            let reason = if reason.is_empty() { "disconnected by the application".to_owned() } else { reason };
            Disconnect::custom(code, reason).map_err(|error| ApiError::Invalid(format!("disconnect: {error}")))
        }
        Some(_) | None => Ok(DisconnectCode::ForceNoReconnect.into()),
    }
}
