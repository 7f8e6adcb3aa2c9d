//! What a session needs of the socket below it: messages in, and word when bytes go out again. What goes out goes
//! through the outbox and its [`Wire`](crate::hub::Wire).

use std::future::{Future, poll_fn};
use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

/// One connection's socket as the session sees it.
///
/// Both directions may be waited for at once from one task (`poll_fn` over both polls); each remembers the waker of its
/// latest poll only.
pub trait Transport: Send + Sync + 'static {
    /// The next inbound message; `None` when the peer is gone, with or without an error. Nothing follows an error.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Inbound, TransportError>>>;

    /// Ready once the socket takes bytes again.
    ///
    /// # Errors
    /// When the socket can never take bytes again.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// As [`poll_next`](Self::poll_next). Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<Result<Inbound, TransportError>>> + Send {
        poll_fn(|cx| self.poll_next(cx))
    }

    /// As [`poll_writable`](Self::poll_writable). Cancel safe.
    fn writable(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        poll_fn(|cx| self.poll_writable(cx))
    }

    /// Whatever comes first: a message, or, if `blocked`, room in the socket. Cancel safe.
    fn event(&mut self, blocked: bool) -> impl Future<Output = Event> + Send {
        poll_fn(move |cx| {
            if blocked && let Poll::Ready(outcome) = self.poll_writable(cx) {
                return Poll::Ready(outcome.map_or(Event::Gone, |()| Event::Writable));
            }
            self.poll_next(cx).map(|next| next.map_or(Event::Gone, Event::Inbound))
        })
    }
}

/// What a socket has to say.
#[derive(Debug)]
pub enum Event {
    Inbound(Result<Inbound, TransportError>),
    /// The socket takes bytes again.
    Writable,
    /// The peer is gone.
    Gone,
}

/// A whole message of the peer, fragments put together, or a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// Proven UTF-8.
    Text(Bytes),
    Binary(Bytes),
    /// To be answered with a pong that carries the same bytes.
    Ping(Bytes),
    Pong,
    /// The peer closes, with its status code if it gave one (RFC 6455, 5.5.1).
    Close(Option<u16>),
}

/// Why nothing more can be read from a socket.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("message of more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("text that is not UTF-8")]
    NotUtf8,
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    #[error("read from the socket")]
    Io(#[source] io::Error),
}

impl TransportError {
    /// The WebSocket status code that says so to the peer (RFC 6455, 7.4.1); `None` when nobody is there to read it.
    #[must_use]
    pub const fn close_code(&self) -> Option<u16> {
        match self {
            Self::TooLarge { .. } => Some(1009),
            Self::NotUtf8 => Some(1007),
            Self::Malformed(_) => Some(1002),
            Self::Io(_) => None,
        }
    }
}
