//! A socket with its two buffers: operations come out, bytes go in.

use std::future::{Future as _, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::parser::{Malformed, Op, Parser};

/// Room for one read.
const READ: usize = 64 * 1024;
/// Room for one read while a large message comes in.
const LARGEST_READ: usize = 1024 * 1024;

/// Either a bare or an encrypted socket.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Why there is no next operation.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

pub(super) struct Wire<S> {
    socket: S,
    parser: Parser,
    input: BytesMut,
    /// What is still to be written.
    pub(super) output: BytesMut,
    flushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, parser: Parser::default(), input: BytesMut::new(), output: BytesMut::new(), flushed: true }
    }

    /// The bare socket again; bytes that were read beyond the last operation are an error.
    pub(super) fn into_socket(self) -> io::Result<S> {
        if self.input.is_empty() {
            Ok(self.socket)
        } else {
            Err(io::Error::new(ErrorKind::InvalidData, "more than INFO before TLS"))
        }
    }

    /// The next operation that is already here.
    pub(super) fn next(&mut self) -> Result<Option<Op>, Malformed> {
        self.parser.next(&mut self.input)
    }

    /// Writes what can be written and, if `reading`, waits for bytes: how many came, 0 at the end of the stream.
    /// Without `reading` it only ends in an error. Nothing is lost when it is dropped.
    pub(super) async fn turn(&mut self, reading: bool) -> io::Result<usize> {
        poll_fn(|cx| {
            self.poll_write(cx)?;
            if reading { self.poll_read(cx) } else { Poll::Pending }
        })
        .await
    }

    /// Waits for the next operation.
    pub(super) async fn read_op(&mut self) -> Result<Op, ReadError> {
        loop {
            if let Some(op) = self.next()? {
                return Ok(op);
            }
            if self.turn(true).await? == 0 {
                return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.output.has_remaining() {
            self.flushed = false;
            match pin!(self.socket.write_buf(&mut self.output)).poll(cx) {
                Poll::Ready(Ok(0)) => return Err(ErrorKind::WriteZero.into()),
                Poll::Ready(written) => written.map(drop)?,
                Poll::Pending => return Ok(()),
            }
        }
        if !self.flushed
            && let Poll::Ready(flushed) = pin!(self.socket.flush()).poll(cx)
        {
            flushed?;
            self.flushed = true;
            // What a burst of subscriptions needed is not kept for good.
            self.output = BytesMut::new();
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let missing = self.parser.missing(&self.input);
        self.input.reserve(missing.clamp(READ, LARGEST_READ));
        pin!(self.socket.read_buf(&mut self.input)).poll(cx)
    }
}
