//! One connection gives its session up before another has it: its client has come again, and this one has not noticed yet.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;
use uuid::Uuid;

use super::SocketIo;
use super::record::Record;
use crate::backplane::{Request, SubscribeError};
use crate::hub::Control;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::telemetry::Topic;

/// How long a connection of this node may take to end, and how long another node is waited for, which has to wait first.
const HERE: Duration = Duration::from_secs(2);
const THERE: Duration = Duration::from_secs(3);
/// Connections of this node that others wait for at a time.
const WAITED_FOR: usize = 256;

#[derive(Serialize, Deserialize)]
struct Question {
    namespace: String,
    sid: Uuid,
}

/// What became of a connection that was to give its session up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Yielded {
    Gone,
    StillHere,
    /// Nobody says. It was written before that it has lost its session, and it learns so with its next write at the latest.
    Unanswered,
}

/// Where a process is asked for its sessions.
fn subject(process: Uuid) -> String {
    format!("node.{}.session", process.simple())
}

impl SocketIo {
    /// Begins to hear which sessions other nodes want; `None` where there are none. Give it to
    /// [`give_up_all`](Self::give_up_all).
    ///
    /// # Errors
    /// When the backplane does not accept the subscription.
    pub async fn listen(&self) -> Result<Option<mpsc::Receiver<Request>>, SubscribeError> {
        match self.backplane.requests().filter(|_| self.has_sessions()) {
            Some(requests) => requests.serve(&subject(self.process), WAITED_FOR).await.map(Some),
            None => Ok(None),
        }
    }

    /// Gives up what other nodes want, until they cannot say so any more.
    pub async fn give_up_all(self: Arc<Self>, mut wanted: mpsc::Receiver<Request>) {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = running.next() => {}
                request = wanted.recv(), if running.len() < WAITED_FOR => match request {
                    Some(request) => running.push(self.answer(request)),
                    None => return,
                },
            }
        }
    }

    async fn answer(&self, request: Request) {
        let Ok(Question { namespace, sid }) = serde_json::from_slice(&request.body) else {
            return self.services.telemetry.cluster.not_understood(Topic::Session);
        };
        let yielded = self.give_up(&namespace, sid).await;
        // Whoever asked may wait no longer.
        let _ = request.reply.send(serde_json::to_vec(&yielded).unwrap_or_default().into());
    }

    /// Has the connection end that has a session of this node.
    async fn give_up(&self, namespace: &str, sid: Uuid) -> Yielded {
        let Some(outbox) = self.sockets.outbox(namespace, sid) else { return Yielded::Gone };
        debug!(socket = %sid, "its client has come again: this connection ends");
        outbox.request(Control::Close(DisconnectCode::ForceReconnect.into()));
        match timeout(HERE, self.sockets.gone(namespace, sid)).await {
            Ok(()) => Yielded::Gone,
            Err(_) => Yielded::StillHere,
        }
    }

    /// Has whoever has a session let it go.
    pub(super) async fn have_given_up(&self, record: &Record) -> Yielded {
        // Also where it is written as ended: that is before its rooms are left.
        if record.process == self.process {
            return self.give_up(&record.namespace, record.sid).await;
        }
        if record.ended {
            return Yielded::Gone;
        }
        let Some(requests) = self.backplane.requests() else { return Yielded::Gone };
        let question = Question { namespace: record.namespace.clone(), sid: record.sid };
        let question = serde_json::to_vec(&question).unwrap_or_default();
        let answer = requests.request(&subject(record.process), &[], question.into(), THERE).await;
        let yielded = answer.map(|answer| serde_json::from_slice(&answer.body).unwrap_or(Yielded::Unanswered));
        yielded.unwrap_or_else(|error| {
            debug!(socket = %record.sid, life = record.life, "whoever had the session does not answer: {error}");
            Yielded::Unanswered
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Shared;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_was_given_before_a_socket_that_had_ended_had_left_its_rooms() {
        let shared = Shared::new();
        let node = shared.node("ada~1");
        let entry = node.enter(1);
        let record = node.record(1).ended();
        let mut taking = Box::pin(node.sockets.have_given_up(&record));
        assert!(futures_util::poll!(&mut taking).is_pending(), "it is there still");
        drop(entry);
        assert_eq!(taking.await, Yielded::Gone);
        let elsewhere = Record { process: Uuid::nil(), ..node.record(2) }.ended();
        assert_eq!(node.sockets.have_given_up(&elsewhere).await, Yielded::Gone);
    }
}
