//! The transport of streams: a response body without end, on a bare TCP stream.
//!
//! HTTP is over when the session begins: the request is read, the response's head is written, and whatever follows is
//! its body up to the end of the connection. What a client has to say after its request comes over an [`Inbox`].

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
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
    /// Takes over `stream` behind the head of its response. `request` is the client's first message. Without an inbox no
    /// pong can come: then a peer that does not acknowledge for `patience` what was sent is gone.
    #[must_use]
    pub fn open(stream: TcpStream, request: Bytes, inbox: Option<Inbox>, patience: Duration) -> (Self, StreamWire) {
        if inbox.is_none() {
            // The kernel's own patience is a quarter of an hour. Where it cannot be changed that is what holds.
            let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(patience));
        }
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::mem::size_of;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::hub::{Inboxes, NotTaken};
    use crate::session::{self, Peer, Services};

    const PATIENCE: Duration = Duration::from_secs(8);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    async fn message(transport: &mut StreamTransport) -> Bytes {
        match transport.next().await {
            Some(Ok(Inbound::Binary(message))) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    #[tokio::test]
    async fn the_request_comes_first_then_what_is_posted_until_the_peer_is_gone() {
        let (mut client, server) = pair().await;
        let inboxes = Inboxes::new(100);
        let inbox = inboxes.open();
        let session = inbox.session();
        inboxes.post(session, "second".into()).unwrap();
        let (mut transport, wire) = StreamTransport::open(server, "first".into(), Some(inbox), PATIENCE);
        assert_eq!(message(&mut transport).await, "first");
        assert_eq!(message(&mut transport).await, "second");
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        inboxes.post(session, "third".into()).unwrap();
        assert_eq!(message(&mut transport).await, "third", "what comes on the socket is nobody's");
        drop(client);
        assert!(transport.next().await.is_none());
        drop((transport, wire));
        assert_eq!(inboxes.post(session, "late".into()), Err(NotTaken::Unknown));
    }

    #[tokio::test]
    async fn the_body_ends_with_the_wire_and_posts_end_with_the_farewell() {
        let (mut client, server) = pair().await;
        let inboxes = Inboxes::new(100);
        let inbox = inboxes.open();
        let session = inbox.session();
        let (mut transport, wire) = StreamTransport::open(server, Bytes::new(), Some(inbox), PATIENCE);
        let wrote = wire.try_write_vectored(&[IoSlice::new(b"by"), IoSlice::new(b"e")]).unwrap();
        assert_eq!(wrote, 3);
        drop(wire);
        let mut body = String::new();
        client.read_to_string(&mut body).await.unwrap();
        assert_eq!(body, "bye");
        drop(client);
        poll_fn(|cx| transport.poll_farewell(cx)).await;
        assert_eq!(inboxes.post(session, "late".into()), Err(NotTaken::Unknown));
    }

    #[tokio::test]
    async fn who_cannot_answer_pings_must_acknowledge_what_is_sent() {
        for (inbox, patience) in [(None, Some(PATIENCE)), (Some(Inboxes::new(1).open()), None)] {
            let (_client, server) = pair().await;
            let (transport, _wire) = StreamTransport::open(server, Bytes::new(), inbox, PATIENCE);
            assert_eq!(SockRef::from(transport.socket.as_ref()).tcp_user_timeout().unwrap(), patience);
        }
    }

    #[test]
    fn an_idle_session_stays_small() {
        fn size<F>(_: impl Fn(StreamTransport, StreamWire, Peer, Arc<Services>) -> F) -> usize {
            size_of::<F>()
        }
        let session = size(session::run);
        println!("session {session} B, transport {} B", size_of::<StreamTransport>());
        assert!(session <= 800, "{session}");
    }
}
