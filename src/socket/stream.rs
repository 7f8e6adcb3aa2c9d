//! The transport of streams: a response body without end, on a bare TCP stream.
//!
//! HTTP is over when the session begins: the request is read, the response's head is written, and whatever follows is
//! its body up to the end of the connection. What a client has to say after its request comes over an [`Inbox`].

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::hub::{Inbox, Wire};
use crate::session::{Inbound, Transport, TransportError};

thread_local! {
    /// For what nobody reads.
    static SINK: RefCell<[u8; 512]> = const { RefCell::new([0; 512]) };
}

/// What a client says to its stream: first the request that opened it, then what is posted.
pub struct StreamTransport {
    socket: OwnedReadHalf,
    request: Option<Bytes>,
    /// `None` for a client that only listens.
    inbox: Option<Inbox>,
}

/// The body of a stream's response. Dropping it ends the response.
pub struct StreamWire(OwnedWriteHalf);

impl StreamTransport {
    /// Takes over `stream` behind the head of its response. `request` is the client's first message.
    #[must_use]
    pub fn open(stream: TcpStream, request: Bytes, inbox: Option<Inbox>) -> (Self, StreamWire) {
        let (socket, wire) = stream.into_split();
        (Self { socket, request: Some(request), inbox }, StreamWire(wire))
    }

    /// Ready once the peer is gone. A client that asks for more on this connection gets no answer.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        SINK.with_borrow_mut(|sink| {
            loop {
                let mut sink = ReadBuf::new(sink);
                ready!(Pin::new(&mut self.socket).poll_read(cx, &mut sink))?;
                if sink.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }
}

impl Transport for StreamTransport {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Inbound, TransportError>>> {
        if let Some(request) = self.request.take() {
            return Poll::Ready(Some(Ok(Inbound::Binary(request))));
        }
        if let Poll::Ready(gone) = self.poll_gone(cx) {
            return Poll::Ready(gone.err().map(|error| Err(TransportError::Io(error))));
        }
        match &mut self.inbox {
            Some(inbox) => inbox.poll_take(cx).map(|message| Some(Ok(Inbound::Binary(message)))),
            None => Poll::Pending,
        }
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.as_ref().poll_write_ready(cx)
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whoever posts from here on is told that the session is over.
        self.inbox = None;
        self.poll_gone(cx).map(|_| ())
    }
}

impl Wire for StreamWire {
    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        match frames {
            [frame] => self.0.try_write(frame),
            frames => self.0.try_write_vectored(frames),
        }
    }
}
