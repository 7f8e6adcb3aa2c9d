//! The transport on a bare TCP stream.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::hub::Wire;
use crate::protocol::websocket::Parser;
use crate::session::{Inbound, Transport, TransportError};

/// Bytes read at once. One buffer serves all connections of a thread, so its size costs nothing per connection.
const READ_BUFFER: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into_boxed_slice());
}

/// The reading half of a WebSocket, and the word when its socket takes bytes again.
pub struct RawTransport {
    socket: OwnedReadHalf,
    parser: Parser,
    /// Read from the socket but not parsed yet: what came with the upgrade request, or behind the latest message.
    ahead: Bytes,
}

/// The writing half of a WebSocket.
pub struct RawWire(Option<OwnedWriteHalf>);

impl RawTransport {
    /// Takes over `stream` once it speaks WebSocket, as `parser` reads it. `ahead` was read from it already.
    #[must_use]
    pub fn open(stream: TcpStream, ahead: Bytes, parser: Parser) -> (Self, RawWire) {
        let (socket, wire) = stream.into_split();
        (Self { socket, parser, ahead }, RawWire(Some(wire)))
    }

    /// The first message in `ahead`, if a whole one is there.
    fn parse_ahead(&mut self) -> Option<Result<Inbound, TransportError>> {
        let mut rest = &self.ahead[..];
        let parsed = self.parser.next(&mut rest);
        let left = rest.len();
        self.ahead.advance(self.ahead.len() - left);
        if left == 0 {
            // An empty `Bytes` would pin its buffer for as long as the connection is idle.
            self.ahead = Bytes::new();
        }
        parsed.map_err(TransportError::from).transpose()
    }

    /// Reads once and parses from the thread's buffer; only what lies behind the first message is copied.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            // Unlike `readable` and `try_read`, this clears readiness on a short read: one system call less per message.
            match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => Poll::Ready(Read::End),
                Ok(()) => {
                    let mut rest = buffer.filled();
                    let parsed = self.parser.next(&mut rest);
                    if !rest.is_empty() {
                        self.ahead = Bytes::copy_from_slice(rest);
                    }
                    match parsed {
                        Ok(None) => Poll::Ready(Read::Nothing),
                        Ok(Some(message)) => Poll::Ready(Read::Item(Ok(message))),
                        Err(error) => Poll::Ready(Read::Item(Err(error.into()))),
                    }
                }
                Err(error) => Poll::Ready(Read::Item(Err(TransportError::Io(error)))),
            }
        })
    }
}

/// What one read of the socket gave.
enum Read {
    Item(Result<Inbound, TransportError>),
    /// Bytes, but no whole message yet.
    Nothing,
    End,
}

impl Transport for RawTransport {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Inbound, TransportError>>> {
        loop {
            if !self.ahead.is_empty()
                && let Some(item) = self.parse_ahead()
            {
                return Poll::Ready(Some(item));
            }
            match ready!(self.poll_read(cx)) {
                Read::Item(item) => return Poll::Ready(Some(item)),
                Read::Nothing => {}
                Read::End => return Poll::Ready(None),
            }
        }
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.as_ref().poll_write_ready(cx)
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(Ok(message)) = ready!(self.poll_next(cx)) {
            if matches!(message, Inbound::Close(_)) {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl Wire for RawWire {
    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(socket) = &self.0 else { return Err(io::ErrorKind::NotConnected.into()) };
        match frames {
            [frame] => socket.try_write(frame),
            frames => socket.try_write_vectored(frames),
        }
    }
}

impl Drop for RawWire {
    fn drop(&mut self) {
        // Both halves end together. Shutting down the one that goes first would be a system call for nothing: the close
        // that follows tells the peer.
        if let Some(socket) = self.0.take() {
            socket.forget();
        }
    }
}
