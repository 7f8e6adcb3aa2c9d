//! A socket that waits for its peer, but not for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream whose peer takes something of what is written to it within `patience`; then writing fails as timed out.
pub struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Since a write found no room. Boxed, since hardly any ever finds none.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    #[must_use]
    pub const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, blocked: None }
    }

    #[must_use]
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// What a write came to; any that got on begins the time anew.
    fn wait(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let patience = self.patience;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(patience)));
        blocked.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wait(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wait(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const ROOM: usize = 4;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_read_was_written_to_for_ever() {
        let (stream, _peer) = duplex(ROOM);
        let error = Patient::new(stream, PATIENCE).write_all(&[0; ROOM + 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_gets_everything() {
        let (stream, mut peer) = duplex(ROOM);
        let mut stream = Patient::new(stream, PATIENCE);
        let written = tokio::spawn(async move { stream.write_all(&[0; 5 * ROOM]).await });
        for _ in 0..5 {
            sleep(PATIENCE - Duration::from_secs(1)).await;
            peer.read_exact(&mut [0; ROOM]).await.unwrap();
        }
        written.await.unwrap().unwrap();
    }
}
