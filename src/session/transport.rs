//! What a session needs of the socket below it: messages in, and word when bytes go out again. What goes out goes
//! through the outbox and its [`Wire`](crate::hub::Wire).

use std::future::{Future, poll_fn};
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::hub::{Flushed, Outbox};
pub use crate::protocol::websocket::Event as Inbound;
use crate::protocol::websocket::FrameError;

/// How long what is queued may take to go out before a close.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// One connection's socket as the session sees it.
///
/// Both directions may be waited for at once from one task (`poll_fn` over both polls); each remembers the waker of its
/// latest poll only.
pub trait Transport: Send + Sync + 'static {
    /// The next inbound message; `None` when the peer is gone.
    ///
    /// After an error or a close no message follows: what still comes is thrown away until the peer is gone. Waiting for
    /// that, for a while, keeps the kernel from answering it with a reset that overtakes our close frame.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Inbound, TransportError>>>;

    /// Ready once the socket takes bytes again.
    ///
    /// # Errors
    /// When the socket can never take bytes again.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// After everything was written and the [`Wire`](crate::hub::Wire) was dropped: ready once the peer has answered our
    /// close, or is gone. Whatever else it still says is of no interest.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()>;

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

/// Why nothing more can be read from a socket.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("read from the socket")]
    Io(#[source] io::Error),
}

impl TransportError {
    /// The WebSocket status code that says so to the peer (RFC 6455, 7.4.1); `None` when nobody is there to read it.
    #[must_use]
    pub const fn close_code(&self) -> Option<u16> {
        match self {
            Self::Frame(error) => Some(error.close_code()),
            Self::Io(_) => None,
        }
    }
}

/// Writes everything that is queued, within a time limit. Returns whether it went out.
pub async fn write_out<T: Transport>(transport: &mut T, outbox: &Outbox) -> bool {
    let deadline = Instant::now() + WRITE_TIMEOUT;
    loop {
        match outbox.flush_writable() {
            Flushed::Empty => return true,
            Flushed::Gone => return false,
            Flushed::Blocked => match timeout_at(deadline, transport.writable()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return false,
            },
        }
    }
}
