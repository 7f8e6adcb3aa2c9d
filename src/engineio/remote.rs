//! A session of another node: what its client asks of this one is passed on, as requests below the backplane's prefix.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::time::sleep;
use uuid::Uuid;

use super::door::Refused;
use super::words::{Said, Verb, Word, subject};
use super::{Engine, Options};
use crate::backplane::RequestError;
use crate::protocol::socketio::Sid;
use crate::telemetry::Forwarded;

/// How long the owner may take to answer beyond the time that a request waits there.
const MARGIN: Duration = Duration::from_secs(10);
/// When the owner is first asked whether it has a request that waits: until then the request may be any.
const FIRST_CHECK: Duration = Duration::from_secs(1);
/// How often it is asked whether a request still waits: where it died nobody would answer.
const CHECK: Duration = Duration::from_secs(5);
/// Bytes of one answer in all its parts.
const LARGEST: usize = 64 << 20;

/// A session of another node.
#[derive(Clone)]
pub struct Remote {
    engine: Arc<Engine>,
    sid: Sid,
}

/// A request that waits at the owner. Dropped before its end it is broken off there too.
struct Waiting {
    remote: Remote,
    number: u64,
    over: bool,
}

impl Remote {
    pub(super) const fn new(engine: Arc<Engine>, sid: Sid) -> Self {
        Self { engine, sid }
    }

    pub(super) async fn poll(&self, waits: impl FnOnce() + Send) -> Result<Bytes, Refused> {
        let number = rand::random();
        let mut waiting = Waiting { remote: self.clone(), number, over: false };
        let outcome = self.wait(number, waits).await;
        // Otherwise it may wait there still.
        waiting.over = !matches!(outcome, Err(Refused::Timeout | Refused::Unavailable));
        self.count(&outcome);
        outcome
    }

    async fn wait(&self, number: u64, waits: impl FnOnce() + Send) -> Result<Bytes, Refused> {
        // The next ping is due an interval after the last pong, for which the client has its time.
        let Options { ping_interval, ping_timeout, .. } = self.engine.options;
        let within = ping_interval + ping_timeout + MARGIN;
        let mut asking = pin!(self.ask(Verb::Poll, number, Bytes::new(), within));
        let said = tokio::select! {
            biased;
            said = &mut asking => said,
            // What was said before it had gone came before this was known.
            refused = self.gone(number, waits) => asking.now_or_never().unwrap_or(Err(refused)),
        };
        self.collect(number, said?).await
    }

    /// Ends once the owner knows nothing of a request any more. Calls `waits` once it has said that it knows of it.
    async fn gone(&self, number: u64, waits: impl FnOnce() + Send) -> Refused {
        let mut waits = Some(waits);
        let mut check = FIRST_CHECK;
        loop {
            sleep(std::mem::replace(&mut check, CHECK)).await;
            match self.ask(Verb::Check, number, Bytes::new(), CHECK).await {
                Ok(Said::Done(_)) => {
                    if let Some(waits) = waits.take() {
                        waits();
                    }
                }
                Err(Refused::Timeout | Refused::Unavailable) => {}
                Ok(Said::Part(_) | Said::Unknown | Said::Moved | Said::Closed | Said::Busy) => return Refused::Closed,
                Err(refused) => return refused,
            }
        }
    }

    /// Puts an answer together: it may be larger than what any server carries at once.
    async fn collect(&self, number: u64, mut said: Said) -> Result<Bytes, Refused> {
        let mut whole = BytesMut::new();
        loop {
            let (part, last) = match said {
                Said::Done(part) if whole.is_empty() => return Ok(part),
                Said::Done(part) => (part, true),
                Said::Part(part) => (part, false),
                Said::Unknown => return Err(Refused::Unknown),
                Said::Moved => return Err(Refused::Moved),
                Said::Closed => return Err(Refused::Closed),
                Said::Busy => return Err(Refused::Busy),
            };
            if whole.len() + part.len() > LARGEST {
                return Err(Refused::Unavailable);
            }
            whole.extend_from_slice(&part);
            if last {
                return Ok(whole.freeze());
            }
            said = self.ask(Verb::Rest, number, Bytes::new(), MARGIN).await?;
        }
    }

    pub(super) async fn post(&self, body: Bytes) -> Result<(), Refused> {
        let within = self.engine.options.ping_timeout + MARGIN;
        let outcome = match self.ask(Verb::Post, 0, body, within).await {
            Ok(said) => self.collect(0, said).await.map(drop),
            Err(refused) => Err(refused),
        };
        self.count(&outcome);
        outcome
    }

    pub(super) async fn misuse(&self) {
        // If it is over, all the better.
        let _ = self.ask(Verb::Misuse, 0, Bytes::new(), MARGIN).await;
    }

    /// Tells the session's node something that it need not answer.
    pub(super) async fn tell(self, verb: Verb, number: u64) {
        // It would have ended by itself in time.
        let _ = self.ask(verb, number, Bytes::new(), MARGIN).await;
    }

    /// Says something to the client, whose session has gone to the other node.
    pub(super) async fn say(&self, frames: Bytes) -> Result<(), Refused> {
        match self.ask(Verb::Say, 0, frames, MARGIN).await? {
            Said::Done(_) => Ok(()),
            Said::Part(_) | Said::Unknown | Said::Moved | Said::Closed | Said::Busy => Err(Refused::Unknown),
        }
    }

    async fn ask(&self, verb: Verb, number: u64, body: Bytes, within: Duration) -> Result<Said, Refused> {
        let requests = self.engine.backplane.requests().ok_or(Refused::NoNode)?;
        let headers = Word { session: self.sid.session, verb, number }.headers();
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        match requests.request(&subject(self.sid.node), &headers, body, within).await {
            Ok(answer) => Said::decode(answer.body).ok_or(Refused::Unavailable),
            Err(RequestError::NoResponder(_)) => Err(Refused::NoNode),
            Err(RequestError::Timeout(_)) => Err(Refused::Timeout),
            Err(RequestError::TooLarge { limit }) => Err(Refused::TooLarge { limit }),
            Err(RequestError::Unavailable(_)) => Err(Refused::Unavailable),
        }
    }

    fn count<T>(&self, outcome: &Result<T, Refused>) {
        let result = match outcome {
            Ok(_) => Forwarded::Done,
            Err(Refused::Moved) => Forwarded::Moved,
            Err(Refused::Closed) => Forwarded::Closed,
            Err(Refused::Unknown) => Forwarded::UnknownSession,
            Err(Refused::NoNode) => Forwarded::UnknownNode,
            Err(Refused::Busy) => Forwarded::Busy,
            Err(Refused::TooLarge { .. }) => Forwarded::TooLarge,
            Err(Refused::Timeout) => Forwarded::Timeout,
            Err(Refused::Unavailable) => Forwarded::Unavailable,
        };
        self.engine.telemetry.clients.forwarded.of(result).increment(1);
    }
}

/// A WebSocket that may take a session of another node here. Dropped before it has, another may try.
pub struct Claim {
    remote: Remote,
    number: u64,
    kept: bool,
}

impl Remote {
    /// Lets a WebSocket of this node try to take the session here; `None` where another does, or did.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn claim(&self) -> Result<Option<Claim>, Refused> {
        let claim = Claim { remote: self.clone(), number: rand::random(), kept: false };
        match self.ask(Verb::Claim, claim.number, Bytes::new(), MARGIN).await? {
            Said::Done(_) => Ok(Some(claim)),
            Said::Unknown => Err(Refused::Unknown),
            Said::Part(_) | Said::Moved | Said::Closed | Said::Busy => Ok(None),
        }
    }
}

impl Claim {
    pub(super) const fn session(&self) -> Uuid {
        self.remote.sid.session
    }

    pub(super) async fn probed(&self) -> Result<(), Refused> {
        self.bring(Verb::Probed, Bytes::new()).await.map(drop)
    }

    pub(super) async fn pack(&self) -> Result<Bytes, Refused> {
        self.bring(Verb::Pack, Bytes::new()).await
    }

    /// Takes the session to this node, with what it has. Where that fails ask whether it [has left](Self::give_up) all the
    /// same: its node may have answered too late.
    pub(super) async fn depart(&mut self) -> Result<Bytes, Refused> {
        let here = self.remote.engine.sessions.node();
        let handover = self.bring(Verb::Depart, Bytes::copy_from_slice(here.as_bytes())).await;
        self.kept = handover.is_ok();
        handover
    }

    /// Lets go of the session; whether its node has it still, or has ended it itself.
    pub(super) async fn give_up(mut self) -> bool {
        self.kept = true;
        match self.remote.ask(Verb::Release, self.number, Bytes::new(), MARGIN).await {
            Ok(Said::Done(_) | Said::Part(_) | Said::Unknown | Said::Closed | Said::Busy) => true,
            Ok(Said::Moved) | Err(_) => false,
        }
    }

    async fn bring(&self, verb: Verb, body: Bytes) -> Result<Bytes, Refused> {
        let said = self.remote.ask(verb, self.number, body, MARGIN).await?;
        self.remote.collect(self.number, said).await
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.kept {
            self.remote.engine.give_up(self.remote.sid, Verb::Release, self.number);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over {
            self.remote.engine.give_up(self.remote.sid, Verb::BreakOff, self.number);
        }
    }
}
