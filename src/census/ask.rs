//! From a node that would let somebody in to one that has somebody who may be in the way.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::place::{Other, Places};
use crate::backplane::{Request, RequestError, Requests};
use crate::telemetry::{Telemetry, Topic};

/// A node that is well answers within milliseconds.
const PATIENCE: Duration = Duration::from_millis(700);

const HERE: &[u8] = b"here";
const GONE: &[u8] = b"gone";

/// What is said about a connection to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// Is it there?
    IsHere,
    /// It is to go.
    GiveWay,
}

#[derive(Serialize, Deserialize)]
struct Question {
    client: Uuid,
    word: Word,
}

/// What is known of another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Here,
    /// It, or its node.
    Gone,
    /// Its node does not answer.
    Silent,
}

impl Found {
    pub(super) const fn is_here(self) -> bool {
        matches!(self, Self::Here)
    }

    pub(super) const fn is_gone(self) -> bool {
        matches!(self, Self::Gone)
    }

    pub(super) const fn is_silent(self) -> bool {
        matches!(self, Self::Silent)
    }
}

/// Where a node answers for its places.
pub(super) fn subject(node: Uuid) -> String {
    format!("node.{}.census", node.simple())
}

/// Does what is said about a connection of this node.
pub(super) fn here(places: &Places, client: Uuid, word: Word) -> Found {
    let was_here = match word {
        Word::IsHere => places.hold(client),
        Word::GiveWay => places.vacate(client),
    };
    if was_here { Found::Here } else { Found::Gone }
}

/// Answers another node.
pub(super) fn answer(places: &Places, request: Request, telemetry: &Telemetry) {
    let Ok(Question { client, word }) = serde_json::from_slice(&request.body) else {
        telemetry.cluster.not_understood(Topic::Census);
        return;
    };
    let answer = match here(places, client, word) {
        Found::Here => HERE,
        Found::Gone | Found::Silent => GONE,
    };
    // Whoever asked may be gone.
    let _ = request.reply.send(Bytes::from_static(answer));
}

/// Says something about a connection to its node.
pub(super) async fn there(requests: Option<&dyn Requests>, other: &Other, word: Word) -> Found {
    // Without other nodes whatever is not here is nowhere.
    let Some(requests) = requests else { return Found::Gone };
    let question = serde_json::to_vec(&Question { client: other.client, word }).unwrap_or_default();
    match requests.request(&subject(other.node), &[], question.into(), PATIENCE).await {
        Ok(answer) if answer.body == GONE => Found::Gone,
        Ok(_) => Found::Here,
        Err(RequestError::NoResponder(_)) => Found::Gone,
        Err(RequestError::Timeout(_) | RequestError::TooLarge { .. } | RequestError::Unavailable(_)) => Found::Silent,
    }
}
