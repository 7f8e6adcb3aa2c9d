//! `history` and `history_remove`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::command::or_null;
use super::{Api, ApiError, Empty};
use crate::backplane::Stored;
use crate::protocol::Offset;
use crate::protocol::centrifuge::{HistoryRequest, Publication, raw};
use crate::relay::{HistoryQuery, HistoryQueryError, Since, publication};
use crate::settings::Namespace;

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct HistoryRemoveRequest {
    #[serde(deserialize_with = "or_null")]
    channel: String,
}

/// Zero values are written, as in the client protocol.
#[derive(Serialize)]
pub(super) struct HistoryResult {
    publications: Vec<Entry>,
    epoch: String,
    offset: u64,
}

/// A publication as it is read back.
#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    publication: Publication,
    /// Data that is no JSON, where `data` is `null`. Centrifugo has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
}

impl From<&Stored> for Entry {
    fn from(message: &Stored) -> Self {
        let binary = !raw::is_json(&message.data);
        Self { publication: publication(message), b64data: binary.then(|| BASE64_STANDARD.encode(&message.data)) }
    }
}

impl Api {
    pub(super) async fn history(&self, request: &HistoryRequest) -> Result<HistoryResult, ApiError> {
        let (channel, namespace) = self.channel(&request.channel)?;
        if request.reverse && request.since.as_ref().is_some_and(|since| since.offset == 0) {
            return Err(ApiError::Invalid("since.offset is 0, and nothing comes before it (reverse)".to_owned()));
        }
        let since = request.since.as_ref();
        let query = HistoryQuery {
            // Negative is without limit.
            limit: usize::try_from(request.limit).ok(),
            since: since.map(|since| Since { offset: Offset(since.offset), epoch: since.epoch.clone() }),
            reverse: request.reverse,
        };
        let page = self.relay.history(&channel, namespace, &query).await.map_err(|error| refusal(namespace, &error))?;
        Ok(HistoryResult {
            publications: page.publications.iter().map(Entry::from).collect(),
            epoch: page.position.epoch.to_string(),
            offset: page.position.offset.0,
        })
    }

    pub(super) async fn history_remove(&self, request: &HistoryRemoveRequest) -> Result<Empty, ApiError> {
        let (channel, namespace) = self.channel(&request.channel)?;
        self.relay.remove_history(&channel, namespace).await.map_err(|error| refusal(namespace, &error))?;
        Ok(Empty {})
    }
}

fn refusal(namespace: &Namespace, error: &HistoryQueryError) -> ApiError {
    match error {
        HistoryQueryError::Absent(_) => {
            ApiError::NotAvailable(format!("{} is not set", namespace.option("history_size")))
        }
        HistoryQueryError::Unrecoverable => ApiError::UnrecoverablePosition,
        HistoryQueryError::Unavailable(error) => {
            warn!(namespace = &*namespace.name, %error, "history of a backend's call not reached");
            ApiError::Internal
        }
        HistoryQueryError::Busy(_) => ApiError::Unavailable(error.to_string()),
    }
}
