//! The loop of a session.

mod work;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::debug;

use super::departure::Leaving;
use super::door::{Ask, Departure};
use super::farewell::{close_polling, close_websocket};
use super::heartbeat::Heartbeat;
use super::polling::Polling;
use super::sessions::Entry;
use super::{CloseReason, Engine, Handler};
use crate::hub::{Flushed, Outbox};
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::socketio::{EnginePacket, Message, payload};
use crate::protocol::websocket;
use crate::session::{Bucket, Event, Inbound, Transport, TransportError};
use crate::socket::{RawTransport, RawWire};

/// What carries a session now.
pub(super) enum Link {
    Polling(Box<Polling>),
    WebSocket(RawTransport),
}

/// One session.
pub(super) struct Session {
    engine: Arc<Engine>,
    outbox: Arc<Outbox>,
    link: Link,
    heartbeat: Heartbeat,
    opened: Instant,
    /// The next time that a request has to be answered.
    flush_at: Option<Instant>,
    /// Kept where it has moved.
    moved: Option<Entry>,
    /// It came from another node.
    arrived: bool,
    /// What waited when another node first heard of the session.
    known: usize,
    departs: Option<Departure>,
    /// What its client may send.
    bytes: Option<Bucket>,
}

/// How a session ends on this node.
enum End {
    Closed(CloseReason),
    /// It goes on at another one.
    Departs(Departure),
}

/// What happened.
enum Happened {
    Socket(Event),
    Asked(Ask),
    /// The client broke off a request that waited, or did what no client may.
    Over(CloseReason),
    /// Somebody wants attention.
    Attention,
    /// The handler has gone on by itself.
    Progress(Result<(), CloseReason>),
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>, outbox: &Arc<Outbox>, link: Link) -> Self {
        let now = Instant::now();
        let heartbeat = Heartbeat::new(engine.options.ping_interval, engine.options.ping_timeout, now);
        let bytes = engine.options.bytes_rate.map(|rate| Bucket::new(rate, now));
        Self {
            engine,
            outbox: Arc::clone(outbox),
            link,
            heartbeat,
            opened: now,
            flush_at: None,
            moved: None,
            arrived: false,
            known: 0,
            departs: None,
            bytes,
        }
    }

    /// One that comes from another node.
    pub(super) fn arrived(
        engine: Arc<Engine>,
        outbox: &Arc<Outbox>,
        transport: RawTransport,
        ping_in: Duration,
    ) -> Self {
        let mut session = Self::new(engine, outbox, Link::WebSocket(transport));
        session.heartbeat = session.heartbeat.resumed(Instant::now() + ping_in);
        session.arrived = true;
        session
    }
}

/// Runs a session to its end.
pub(super) async fn run<H: Handler>(mut session: Session, mut handler: H) {
    let engine = Arc::clone(&session.engine);
    let outbox = Arc::clone(&session.outbox);
    if session.arrived {
        engine.count_arrival()
    } else {
        engine.count_open()
    }
    let registered = engine.connections.register(Arc::clone(&outbox));
    let reason = match live(&mut session, &mut handler).await {
        End::Closed(reason) => reason,
        End::Departs(departure) => {
            engine.count_departure();
            let Link::Polling(polling) = session.link else { return };
            let leaving = Leaving {
                engine,
                outbox,
                entry: polling.leave(),
                known: session.known,
                ping_at: session.heartbeat.ping_at(),
            };
            return Box::pin(leaving.depart(handler, departure, registered)).await;
        }
    };
    debug!(reason = reason.name(), ?reason, "session ends");
    let opened = session.opened;
    // Its client may have come again meanwhile: who takes its session waits until what it held in rooms is let go.
    Box::pin(handler.closed(&reason)).await;
    engine.count_close(&reason, opened.elapsed());
    Box::pin(session.close(reason)).await;
    outbox.abandon();
    drop(registered);
}

async fn live<H: Handler>(session: &mut Session, handler: &mut H) -> End {
    let mut reminder: Option<Instant> = None;
    loop {
        session.remind(handler, &mut reminder, true);
        let happened = session.next(handler).await;
        let quiet = match &happened {
            Happened::Attention => true,
            // It may bring the pong.
            Happened::Asked(Ask::Post(..)) => false,
            Happened::Asked(_) => session.has_no_more_asks(),
            Happened::Socket(_) | Happened::Over(_) | Happened::Progress(_) => false,
        };
        let outcome = match happened {
            _ if quiet && session.heartbeat.is_over(Instant::now(), true) => Err(CloseReason::PingTimeout),
            Happened::Attention => Ok(()),
            Happened::Progress(outcome) => outcome,
            Happened::Over(reason) => Err(reason),
            Happened::Socket(event) => session.on_socket(event, handler, &mut reminder).await,
            Happened::Asked(ask) => session.on_ask(ask, handler, &mut reminder).await,
        };
        let outcome = match outcome {
            Ok(()) => session.see_to(handler, &mut reminder).await,
            Err(reason) => Err(reason),
        };
        if let Err(reason) = outcome {
            return End::Closed(reason);
        }
        if let Some(departure) = session.departs.take().filter(|departure| session.lets_go(departure)) {
            return End::Departs(departure);
        }
        if let Err(reason) = session.flush() {
            return End::Closed(reason);
        }
    }
}

impl Session {
    /// Tells the clock the next deadline where it is another than before.
    fn remind(&self, handler: &impl Handler, reminder: &mut Option<Instant>, quiet: bool) {
        let leave_by = match &self.link {
            Link::Polling(polling) => polling.leave_by(),
            Link::WebSocket(_) => None,
        };
        let others = handler.next_deadline().into_iter().chain(self.flush_at).chain(leave_by);
        let next = others.fold(self.heartbeat.next(quiet), Instant::min);
        if *reminder != Some(next) {
            self.engine.pulse.remind_at(&self.outbox, next);
            *reminder = Some(next);
        }
    }

    /// Whatever happens next. Cancel safe.
    async fn next(&mut self, handler: &mut impl Handler) -> Happened {
        let Self { outbox, link, .. } = self;
        let link = async {
            match link {
                Link::WebSocket(transport) => Happened::Socket(transport.event(outbox.is_blocked()).await),
                Link::Polling(polling) => polling.next().await.map_or_else(Happened::Over, Happened::Asked),
            }
        };
        tokio::select! {
            biased;
            happened = link => happened,
            () = outbox.attention() => Happened::Attention,
            outcome = handler.progress() => Happened::Progress(outcome),
        }
    }

    fn has_no_more_asks(&self) -> bool {
        matches!(&self.link, Link::Polling(polling) if polling.mailbox.is_empty())
    }

    async fn on_socket(
        &mut self,
        event: Event,
        handler: &mut impl Handler,
        reminder: &mut Option<Instant>,
    ) -> Result<(), CloseReason> {
        match event {
            Event::Inbound(Ok(Inbound::Text(text))) => {
                self.received(text.len())?;
                let packet = EnginePacket::decode(&text)?;
                self.take(packet, handler, reminder).await
            }
            Event::Inbound(Ok(Inbound::Binary(binary))) => {
                self.received(binary.len())?;
                self.take(EnginePacket::Message(Message::Binary(binary)), handler, reminder).await
            }
            Event::Inbound(Ok(Inbound::Ping(data))) => {
                self.outbox.reply(websocket::server_frame(websocket::Opcode::Pong, &data));
                Ok(())
            }
            Event::Inbound(Ok(Inbound::Pong)) => Ok(()),
            Event::Inbound(Ok(Inbound::Close(code))) => Err(CloseReason::TransportClose(code)),
            Event::Inbound(Err(TransportError::Frame(error))) => {
                Err(CloseReason::ParseError { why: error.to_string(), code: error.close_code() })
            }
            Event::Inbound(Err(TransportError::Io(_))) => Err(CloseReason::TransportError("the connection broke")),
            Event::Gone => Err(CloseReason::TransportClose(None)),
            Event::Writable => match self.outbox.flush_writable() {
                Flushed::Gone => Err(CloseReason::TransportError("a write failed")),
                Flushed::Empty | Flushed::Blocked => Ok(()),
            },
        }
    }

    async fn on_ask(
        &mut self,
        ask: Ask,
        handler: &mut impl Handler,
        reminder: &mut Option<Instant>,
    ) -> Result<(), CloseReason> {
        let Link::Polling(polling) = &mut self.link else { return Ok(()) };
        match ask {
            Ask::Poll(answer) => match polling.wait(answer, Instant::now()) {
                true => Ok(()),
                false => Err(CloseReason::TransportError("two requests wait at a time")),
            },
            Ask::MayMove(answer) => {
                let _ = answer.send(handler.may_move());
                Ok(())
            }
            Ask::Probed => {
                if polling.is_waiting() {
                    polling.flush(&self.outbox, Instant::now());
                    polling.end_waiting(payload::NOOP);
                }
                Ok(())
            }
            Ask::Post(body, answer) => self.on_post(&body, answer, handler, reminder).await,
            Ask::Upgrade(transport, wire) => {
                self.move_to(transport, wire);
                Ok(())
            }
            Ask::Pack(answer) => {
                self.known = self.outbox.waiting();
                // Whoever asked may be gone.
                let _ = answer.send(handler.pack().into());
                Ok(())
            }
            Ask::Depart(departure) => {
                self.departs = Some(departure);
                Ok(())
            }
        }
    }

    /// Whether the session leaves now. Where its WebSocket was given up meanwhile it stays.
    fn lets_go(&self, departure: &Departure) -> bool {
        matches!(&self.link, Link::Polling(polling) if polling.door().let_go(departure.number))
    }

    /// Takes every packet of a body before it is answered: what comes next must not overtake it.
    async fn on_post(
        &mut self,
        body: &Bytes,
        answer: oneshot::Sender<()>,
        handler: &mut impl Handler,
        reminder: &mut Option<Instant>,
    ) -> Result<(), CloseReason> {
        if let Link::Polling(polling) = &mut self.link {
            polling.begin_post(answer);
        }
        let outcome = match self.received(body.len()) {
            Ok(()) => self.take_all(body, handler, reminder).await,
            Err(reason) => Err(reason),
        };
        self.heartbeat.hold_up(Instant::now());
        if let Link::Polling(polling) = &mut self.link {
            polling.end_post(matches!(&outcome, Ok(()) | Err(CloseReason::TransportClose(_) | CloseReason::Forced(_))));
        }
        outcome
    }

    /// Counts what came, and takes it from what the client may send.
    fn received(&mut self, bytes: usize) -> Result<(), CloseReason> {
        self.engine.count_received(bytes);
        let tokens = u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.bytes.as_mut().is_none_or(|bucket| bucket.take(tokens, Instant::now())) {
            return Ok(());
        }
        self.engine.count_limited();
        debug!("closing: too many bytes (client.bytes_rate)");
        Err(DisconnectCode::TooManyRequests.into())
    }

    /// From here on the session is on a WebSocket. What waits goes there, in order.
    fn move_to(&mut self, transport: RawTransport, wire: RawWire) {
        self.outbox.attach(Box::new(wire));
        self.flush_at = None;
        if let Link::Polling(polling) = std::mem::replace(&mut self.link, Link::WebSocket(transport)) {
            self.moved = Some(polling.leave());
        }
        self.outbox.flush_writable();
    }

    /// Lets out what waits, as far as its transport takes it.
    fn flush(&mut self) -> Result<(), CloseReason> {
        match &mut self.link {
            Link::Polling(polling) => self.flush_at = polling.flush(&self.outbox, Instant::now()),
            Link::WebSocket(_) => {
                if self.outbox.flush() == Flushed::Gone {
                    return Err(CloseReason::TransportError("a write failed"));
                }
            }
        }
        Ok(())
    }

    /// Says goodbye, in a way that makes clients come again: what is queued goes out first.
    async fn close(self, reason: CloseReason) {
        let Self { outbox, link, moved, .. } = self;
        drop(moved);
        match link {
            Link::Polling(polling) => close_polling(*polling, &outbox, &reason).await,
            Link::WebSocket(transport) => close_websocket(transport, &outbox, &reason).await,
        }
    }
}
