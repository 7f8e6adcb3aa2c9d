//! The live feed's connection: a NATS client that only listens.
//!
//! It subscribes, unsubscribes and hands on what comes, and knows nothing of channels. What it promises:
//!
//! - a subscription counts once the server has taken it, and a refusal is told by name;
//! - nothing is thrown away here: events leave in order through a bounded queue, and a full queue stops the reading, so
//!   that TCP pushes back on the server;
//! - loss is an event in that same queue: [`LiveEvent::Disconnected`], then [`LiveEvent::Connected`] once every
//!   subscription is back, and no message between the two;
//! - a subscription costs about its subject and 90 bytes (measured with 100,000).
//!
//! One task owns the socket and all state (`owner`, which runs one `session` after the other over a `wire`); handles put
//! `commands` into its queue. `connect`, with `servers`, `auth` and `tls`, makes the next connection.

mod auth;
mod barrier;
mod commands;
mod connect;
mod headers;
mod info;
mod interest;
mod options;
mod owner;
mod parser;
mod servers;
mod session;
mod tls;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use auth::{AuthError, check_auth};
pub use connect::ConnectError;
pub use headers::{Headers, Status};
pub use info::ServerInfo;
pub use options::LiveOptions;
pub use parser::{Malformed, Message, Op, Parser};
pub use tls::{TlsError, check_tls};

use crate::causes::causes;

use commands::{Commands, Unanswered};
use connect::Connector;
use interest::Interest;
use owner::Owner;

use super::refusals::TakenBack;

/// Bytes in a subject. A server closes the connection for a control line of more than 4 KiB.
const LONGEST_SUBJECT: usize = 4000;

/// The number of a subscription. Never used twice by one [`Live`], also not after a reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid(pub u64);

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the connection has to tell, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    Message {
        sid: Sid,
        subject: Bytes,
        /// The raw block with its status line; empty if there is none. [`Headers`] reads it.
        headers: Bytes,
        payload: Bytes,
    },
    /// The connection is gone; everything since the last message may be missing.
    Disconnected { why: String },
    /// It is back, and the server has taken every subscription again. What was delivered in between is lost.
    Connected { server: String },
    /// The server has taken back a subscription: no messages of it come until it is granted again, which is asked for now and
    /// then.
    Refused { sid: Sid, why: String },
    /// The server takes a subscription again that it had taken back. What was delivered in between is lost.
    Granted { sid: Sid },
}

impl LiveEvent {
    fn message(message: Message) -> Self {
        let Message { sid, subject, headers, payload } = message;
        Self::Message { sid, subject, headers, payload }
    }
}

/// How the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveState {
    /// Connected, and every subscription is in place.
    Connected {
        server: String,
        info: Arc<ServerInfo>,
    },
    /// Trying to come back.
    Disconnected {
        why: String,
    },
    Closed,
}

/// Why there is no subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LiveSubscribeError {
    /// `why` is the server's own word: `Permissions Violation for Subscription to "x"`.
    #[error("subscription to {subject:?} refused: {why}")]
    Refused { subject: String, why: String },
    #[error("no answer to the subscription to {subject:?}: {why}")]
    Unavailable { subject: String, why: String },
}

/// A handle to the connection. The connection ends when it is [closed](Self::close), or when all handles or the
/// receiver of its events are gone.
#[derive(Clone)]
pub struct Live(Arc<Handle>);

struct Handle {
    commands: Arc<Commands>,
    last_sid: AtomicU64,
    state: watch::Receiver<LiveState>,
    taken_back: watch::Receiver<TakenBack>,
    patience: Duration,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Live {
    /// Connects; from then on the connection is kept up for good. Events go to `events`; none is sent for this first
    /// connection.
    ///
    /// # Errors
    /// When no server takes the connection, with each one's reason.
    pub async fn start(options: LiveOptions, events: mpsc::Sender<LiveEvent>) -> Result<Self, ConnectError> {
        let patience = options.connect_timeout;
        let mut connector = Connector::new(options)?;
        let link = connector.connect_any().await?;
        let (state, seen) = watch::channel(link.state());
        let commands = Arc::new(Commands::new());
        let stop = CancellationToken::new();
        let (refused, taken_back) = watch::channel(TakenBack::default());
        let interest = Interest::default();
        let owner = Owner { connector, interest, commands: Arc::clone(&commands), events, state, refused };
        tokio::spawn(owner.run(link, stop.clone()));
        let _stop = stop.clone().drop_guard();
        let last_sid = AtomicU64::new(0);
        Ok(Self(Arc::new(Handle { commands, last_sid, state: seen, taken_back, patience, stop, _stop })))
    }

    /// Subscribes; returns once the server has taken it. Calls at the same time share one round trip. Who stops waiting
    /// has unsubscribed.
    ///
    /// # Errors
    /// When the server refuses, or has not answered within the connect timeout, for instance while it is away.
    pub async fn subscribe(&self, subject: &str) -> Result<Sid, LiveSubscribeError> {
        let sid = self.new_sid();
        self.subscribe_as(sid, subject).await?;
        Ok(sid)
    }

    /// A number for [`subscribe_as`](Self::subscribe_as).
    #[must_use]
    pub fn new_sid(&self) -> Sid {
        Sid(self.0.last_sid.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// As [`subscribe`](Self::subscribe) with a number that the caller knows before the first message can come. Each
    /// number may be used once; it may be unsubscribed once this has returned.
    ///
    /// # Errors
    /// As of `subscribe`.
    pub async fn subscribe_as(&self, sid: Sid, subject: &str) -> Result<(), LiveSubscribeError> {
        let refused = |why: String| LiveSubscribeError::Refused { subject: subject.to_owned(), why };
        let unavailable = |why: String| LiveSubscribeError::Unavailable { subject: subject.to_owned(), why };
        check_subject(subject).map_err(|why| refused(why.to_owned()))?;
        match timeout(self.0.patience, self.0.commands.subscribe(sid, subject)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Unanswered::Refused(why))) => Err(refused(why)),
            Ok(Err(Unanswered::Closed)) => Err(unavailable("the connection was closed".to_owned())),
            Err(_) => Err(unavailable(match &*self.0.state.borrow() {
                LiveState::Disconnected { why } => format!("not connected: {why}"),
                LiveState::Connected { .. } | LiveState::Closed => format!("none within {:?}", self.0.patience),
            })),
        }
    }

    /// Ends a subscription; messages of it that are on their way may still come. Never waits, also not while the
    /// connection is away.
    pub fn unsubscribe(&self, sid: Sid) {
        self.0.commands.unsubscribe(sid);
    }

    /// How the connection stands, now and from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LiveState> {
        self.0.state.clone()
    }

    /// What the server has taken back, now and from now on.
    #[must_use]
    pub fn taken_back(&self) -> watch::Receiver<TakenBack> {
        self.0.taken_back.clone()
    }

    /// What the connected server says of itself.
    #[must_use]
    pub fn server_info(&self) -> Option<Arc<ServerInfo>> {
        match &*self.0.state.borrow() {
            LiveState::Connected { info, .. } => Some(Arc::clone(info)),
            LiveState::Disconnected { .. } | LiveState::Closed => None,
        }
    }

    /// Ends the connection; returns once it is gone.
    pub async fn close(&self) {
        self.0.stop.cancel();
        let _ = self.0.state.clone().wait_for(|state| *state == LiveState::Closed).await;
    }
}

/// Why there is no connection, with all that led to it, on one line.
#[must_use]
pub fn described(error: &ConnectError) -> String {
    causes(error)
}

/// What a server would answer with an error that names nothing, or by closing the connection.
fn check_subject(subject: &str) -> Result<(), &'static str> {
    if subject.len() > LONGEST_SUBJECT {
        return Err("the subject is too long");
    }
    if subject.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
        return Err("a subject holds no spaces or control characters");
    }
    let mut levels = subject.split('.').peekable();
    while let Some(level) = levels.next() {
        if level.is_empty() {
            return Err("a subject has no empty levels");
        }
        if level == ">" && levels.peek().is_some() {
            return Err("> is the last level of a subject");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_subject;

    #[test]
    fn subjects_that_break_a_connection_never_reach_it() {
        for good in ["a", "a.b-%20.c", "a.*.c", ">", "a.>", "$JS.EVENT.x", "_INBOX.a"] {
            assert_eq!(check_subject(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\r\nPUB x 0\r\n", "a.>.b", "a\u{7f}"] {
            assert!(check_subject(bad).is_err(), "{bad}");
        }
        assert!(check_subject(&"x".repeat(5000)).is_err());
    }
}
