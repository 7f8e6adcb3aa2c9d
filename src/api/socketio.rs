//! `socketio_…`: what backends ask of clients of Socket.IO, on whichever node they are.
//!
//! An event for one room is published in the channel that this is. Others are told to all nodes, at most once. All else,
//! events that clients are to acknowledge too, is a survey: every node has done it when the call is answered, or the call
//! says who has not.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::publish::refusal;
use super::{Answer, Api, ApiError, Empty, Method, survey, written};
use crate::backplane::PublishError;
use crate::socketio::{Acked, Asking, Awaiting, Call, SocketInfo, SocketIo, Verb};
use crate::telemetry::Source;

/// What nodes are asked: a call as it came.
#[derive(Serialize, Deserialize)]
struct Question<'a> {
    #[serde(borrow)]
    call: &'a RawValue,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    asking: Option<Asking<'a>>,
}

/// How many sockets a call concerned.
#[derive(Serialize)]
struct Reached {
    sockets: usize,
}

#[derive(Serialize)]
struct Sockets {
    sockets: BTreeMap<String, SocketInfo>,
}

/// What clients acknowledged.
#[derive(Serialize)]
struct Acknowledged {
    /// How many were asked.
    asked: usize,
    acks: Vec<Acked>,
    /// Whether all of them are there.
    complete: bool,
}

/// The only entry of what a node answers that tells a number.
const SOCKETS: &str = "sockets";

impl Method {
    /// What it asks of sockets, if that is what it does.
    pub(super) const fn verb(self) -> Option<Verb> {
        Some(match self {
            Self::SocketIoEmit => Verb::Emit,
            Self::SocketIoJoin => Verb::Join,
            Self::SocketIoLeave => Verb::Leave,
            Self::SocketIoDisconnect => Verb::Disconnect,
            Self::SocketIoSockets => Verb::Sockets,
            _ => return None,
        })
    }
}

impl Api {
    pub(super) async fn socketio(&self, method: Method, params: &RawValue, source: Source) -> Answer {
        let socketio = self.socketio.as_ref().ok_or_else(no_namespaces)?;
        let verb = method.verb().ok_or(ApiError::NotFound)?;
        let call = socketio.read(verb, params.get()).map_err(|wrong| ApiError::Invalid(wrong.to_string()))?;
        let question = Question { call: params, asking: None };
        match verb {
            Verb::Emit => self.emit(socketio, &call, params, source).await,
            Verb::Join | Verb::Leave | Verb::Disconnect => {
                let counts = self.survey::<usize>(method.name(), &question).await?;
                if source != Source::Bridge {
                    socketio.tell_order(verb, params).await;
                }
                written(&Reached { sockets: counts.into_iter().flat_map(BTreeMap::into_values).sum() })
            }
            Verb::Sockets => {
                let maps = self.survey::<SocketInfo>(method.name(), &question).await?;
                written(&Sockets { sockets: maps.into_iter().flatten().collect() })
            }
        }
    }

    async fn emit(&self, socketio: &Arc<SocketIo>, call: &Call, params: &RawValue, source: Source) -> Answer {
        if let Some((channel, event)) = call.publication() {
            return written(&self.publish_event(channel, event, source).await?);
        }
        if let Some((channel, message)) = call.addressed(params.get()) {
            let published = self.relay.publish(&channel, message, source).await;
            published.map_err(|error| refusal(&channel, &error))?;
            return written(&Empty {});
        }
        let Some(within) = call.ack_within() else {
            socketio.tell_emit(params.get()).await.map_err(|error| match error {
                PublishError::TooLarge { .. } => ApiError::Invalid(error.to_string()),
                PublishError::Unavailable(_) | PublishError::Unknown(_) | PublishError::Refused(_) => {
                    ApiError::Unavailable(error.to_string())
                }
            })?;
            return written(&Empty {});
        };
        let until = Instant::now() + within;
        let (asked, awaiting) = self.ask_clients(params).await?;
        let (acks, complete) = awaiting.collect(asked, until).await;
        written(&Acknowledged { asked, acks, complete })
    }

    /// Has all nodes emit an event that is to be acknowledged: how many clients were asked, and what brings their answers.
    ///
    /// # Errors
    /// As of `socketio_emit`.
    pub async fn ask_clients(&self, params: &RawValue) -> Result<(usize, Awaiting), ApiError> {
        let socketio = self.socketio.as_ref().ok_or_else(no_namespaces)?;
        let mut awaiting = socketio.wait_for_acks().map_err(|error| ApiError::TooMany(error.to_string()))?;
        let asking = Asking { call: awaiting.call(), node: self.cluster.name() };
        let question = Question { call: params, asking: Some(asking) };
        let counts = awaiting.during(self.survey::<usize>(Method::SocketIoEmit.name(), &question)).await?;
        Ok((counts.into_iter().flat_map(BTreeMap::into_values).sum(), awaiting))
    }

    /// What this node does of it, and answers.
    pub(super) async fn socketio_here(&self, method: Method, params: &[u8]) -> Option<Vec<Box<RawValue>>> {
        let question: Question<'_> = serde_json::from_slice(params).ok()?;
        let verb = method.verb()?;
        // Without namespaces there are no sockets.
        let Some(socketio) = &self.socketio else { return Some(survey::parts(BTreeMap::<String, usize>::new())) };
        let call = socketio.read(verb, question.call.get()).ok()?;
        let count = match verb {
            Verb::Emit => socketio.ask_clients(&call, question.asking?).await.ok()?,
            Verb::Join | Verb::Leave | Verb::Disconnect => socketio.order(&call).await,
            Verb::Sockets => return Some(survey::parts(socketio.describe(&call))),
        };
        Some(survey::parts([(SOCKETS.to_owned(), count)]))
    }
}

fn no_namespaces() -> ApiError {
    ApiError::NotAvailable("socketio.namespaces is not set".to_owned())
}
