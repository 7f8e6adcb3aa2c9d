//! The loop of a connection.

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use tokio::time::{Instant, timeout_at};
use tracing::debug;
use uuid::Uuid;

use super::counted::Handshake;
use super::heart::{Beat, Heart};
use super::state::{Phase, Session};
use super::transport::{Event, Inbound, Transport, TransportError, write_out};
use super::work::Owed;
use super::{Peer, Services, seen};
use crate::hub::{Control, Flushed, Outbox, Wire};
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode};
use crate::protocol::centrifuge::{Format, Push, Reply, framed, is_pong, pushed};
use crate::protocol::websocket;
use crate::telemetry::Overflow;

/// How long a client may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The peer is gone, or a write failed.
    Gone,
    /// The peer closed; it is answered.
    Closed(Option<u16>),
    /// We close, with one of the protocol's codes.
    Disconnect(Disconnect),
    /// We close, since the WebSocket itself was misused.
    Broken { code: u16 },
}

/// A connection, and what its task knows beside the session.
pub(super) struct Connection<T> {
    pub(super) transport: T,
    pub(super) session: Session,
    pub(super) heart: Heart,
    /// What the clock was asked for, as far as that is known.
    reminder: Option<Instant>,
    /// What a busy session has read already.
    ahead: Option<Event>,
}

/// Runs a connection to its end.
pub async fn run<T: Transport>(transport: T, wire: impl Wire + 'static, peer: Peer, services: Arc<Services>) {
    let outbox = Outbox::new(peer.format, services.client.queue_max_size, Arc::clone(services.connections.backlog()));
    outbox.attach(Box::new(wire));
    services.counted_open(peer.format);
    let handshake = Handshake::begin(&services.telemetry);
    let _registered = services.connections.register(Arc::clone(&outbox));
    let heart = heart(&services, peer.format);
    let session = Session {
        services,
        outbox: Arc::clone(&outbox),
        id: Uuid::new_v4(),
        peer: Box::new(peer),
        opened: Instant::now(),
        phase: Phase::Opening(handshake),
        subscriptions: Vec::new(),
    };
    let mut connection = Connection { transport, session, heart, reminder: None, ahead: None };
    let end = connection.live().await;
    Box::pin(close(connection, end)).await;
    outbox.abandon();
}

pub(super) fn heart(services: &Services, format: Format) -> Heart {
    let settings = &services.client;
    let first = rand::rng().random::<f64>();
    // Who only listens cannot answer, but by WebSocket pongs.
    let answers = format.is_websocket() || !format.is_unidirectional();
    Heart::new(settings.ping_interval, settings.pong_timeout.filter(|_| answers), Instant::now(), first)
}

impl<T: Transport> Connection<T> {
    async fn live(&mut self) -> End {
        let outbox = Arc::clone(&self.session.outbox);
        loop {
            self.remind();
            let event = tokio::select! {
                biased;
                Some(ahead) = ready(self.ahead.take()) => Some(ahead),
                // Before deadlines: a pong may wait in the socket while we were busy.
                event = self.transport.event(outbox.is_blocked()) => Some(event),
                () = outbox.attention() => None,
            };
            let quiet = event.is_none();
            let outcome = match event {
                Some(Event::Inbound(Ok(Inbound::Text(data) | Inbound::Binary(data)))) => self.take(data).await,
                Some(event) => self.handle(event),
                None => Ok(()),
            };
            let outcome = match outcome {
                Ok(()) => self.settle(quiet).await,
                Err(end) => Err(end),
            };
            if let Err(end) = outcome {
                return end;
            }
            if outbox.flush() == Flushed::Gone {
                return End::Gone;
            }
        }
    }

    async fn take(&mut self, message: Bytes) -> Result<(), End> {
        self.session.count_received(message.len());
        // What an idle client says twice a minute goes the short way.
        if self.session.client().is_some() && self.session.is_pong(&message) {
            return self.session.pong(&mut self.heart);
        }
        Box::pin(self.message(message)).await
    }

    /// Tells the clock the session's next deadline where it is another than before.
    pub(super) fn remind(&mut self) {
        let next = self.session.next_deadline(&self.heart);
        if self.reminder != Some(next) {
            self.session.services.pulse.remind_at(&self.session.outbox, next);
            self.reminder = Some(next);
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), End> {
        let session = &self.session;
        match event {
            Event::Inbound(Ok(Inbound::Ping(data))) => {
                session.outbox.reply(websocket::server_frame(websocket::Opcode::Pong, &data));
                Ok(())
            }
            Event::Inbound(Ok(Inbound::Pong)) if session.peer.frame_pings => session.pong(&mut self.heart),
            Event::Inbound(Ok(Inbound::Close(code))) => Err(End::Closed(code)),
            Event::Inbound(Err(error)) => {
                debug!(client = %session.id, "connection broken: {error}");
                Err(match &error {
                    TransportError::Io(_) => End::Gone,
                    _ => error.close_code().map_or(End::Gone, |code| End::Broken { code }),
                })
            }
            Event::Inbound(Ok(Inbound::Pong | Inbound::Text(_) | Inbound::Binary(_))) => Ok(()),
            Event::Writable => match session.outbox.flush_writable() {
                Flushed::Gone => Err(End::Gone),
                Flushed::Empty | Flushed::Blocked => Ok(()),
            },
            Event::Gone => Err(End::Gone),
        }
    }

    /// Does what others asked of the session, and what is due; what takes time is returned. Only when it is `quiet`,
    /// with nothing to read, is a pong that did not come at once missing: it may stand behind other messages, and those have
    /// waited for the backplane.
    pub(super) fn see_to(&mut self, quiet: bool) -> Result<Owed, End> {
        if self.session.outbox.is_gone() {
            return Err(End::Gone);
        }
        let session = &mut self.session;
        let (controls, due) = session.outbox.take_requests();
        let mut owed = Owed::default();
        for control in controls {
            match control {
                Control::Close(disconnect) => {
                    session.services.telemetry.clients.count_closing(&disconnect);
                    return Err(End::Disconnect(disconnect));
                }
                Control::Overrun => {
                    session.services.telemetry.queues.overflows.of(Overflow::Controls).increment(1);
                    return Err(End::Disconnect(DisconnectCode::ForceReconnect.into()));
                }
                Control::Lost(channel) => session.lost(&channel).map_err(End::Disconnect)?,
                Control::Obey(order) => owed.orders.push(order),
                Control::Drained => owed.catch_up = true,
            }
        }
        if !due {
            return Ok(owed);
        }
        self.reminder = None;
        let now = Instant::now();
        // Before it is connected a client is not pinged: the connect result must be the first thing it hears.
        if self.session.client().is_some() {
            match self.heart.beat(now) {
                Beat::Ping => self.ping(),
                Beat::NoPong if quiet || self.is_silent(now)? => {
                    return Err(End::Disconnect(DisconnectCode::NoPong.into()));
                }
                Beat::NoPong if self.heart.ping_due(now) => self.ping(),
                Beat::NoPong | Beat::Rest => {}
            }
        }
        self.session.deadlines(now).map_err(End::Disconnect)?;
        Ok(owed)
    }
}

impl<T: Transport> Connection<T> {
    fn ping(&self) {
        let Session { outbox, peer, .. } = &self.session;
        outbox.reply(ping(outbox, peer.frame_pings));
    }

    /// Whether the client of a busy session has been silent for so long that no pong of it is under way, nor stands behind
    /// what is still to be read, or to be written.
    fn is_silent(&mut self, now: Instant) -> Result<bool, End> {
        if self.ahead.is_some() || self.session.outbox.is_blocked() || !self.heart.missed_two(now) {
            return Ok(false);
        }
        match self.transport.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Ok(true),
            Poll::Ready(None) => Err(End::Gone),
            Poll::Ready(Some(Ok(Inbound::Close(code)))) => Err(End::Closed(code)),
            Poll::Ready(Some(inbound)) => {
                self.ahead = Some(Event::Inbound(inbound));
                Ok(false)
            }
        }
    }
}

pub(super) fn ping(outbox: &Outbox, frame_pings: bool) -> Bytes {
    let frame = || websocket::server_frame(websocket::Opcode::Ping, &[]);
    let message = || framed(outbox.format(), &Reply::PING);
    match (frame_pings, outbox.format()) {
        // The frame is what its client answers, the message what a page can see.
        (true, format) if format.is_unidirectional() => [message(), frame()].concat().into(),
        (true, _) => frame(),
        (false, _) => message(),
    }
}

impl Session {
    fn is_pong(&self, message: &[u8]) -> bool {
        let format = self.outbox.format();
        !format.is_unidirectional() && is_pong(format.encoding(), message)
    }

    pub(super) fn pong(&self, heart: &mut Heart) -> Result<(), End> {
        match heart.pong() {
            Ok(pinged) => {
                if let Some(pinged) = pinged {
                    self.services.counted_pong(self.outbox.format(), pinged.elapsed());
                }
                Ok(())
            }
            Err(_) => Err(End::Disconnect(DisconnectCode::BadRequest.into())),
        }
    }
}

/// Says goodbye: what is queued goes out first, then the close frame, then the peer gets time to answer.
async fn close<T: Transport>(connection: Connection<T>, end: End) {
    let Connection { mut transport, session, .. } = connection;
    let Session { outbox, services, id, opened, phase, subscriptions, .. } = session;
    if let Phase::Connected(client) = &phase {
        seen::gone(&services, (&client.user, id), &subscriptions, (end_label(&end), reason(&end)));
    }
    drop(subscriptions);
    let connected = matches!(phase, Phase::Connected(_));
    // Its place is free from here on: the client may come again before it has answered our close.
    drop(phase);
    debug!(client = %id, ?end, connected, "connection ends");
    services.counted_close(outbox.format(), end_label(&end), opened.elapsed());
    let frame = match &end {
        End::Gone => return,
        End::Closed(code) => websocket::close_frame(code.unwrap_or(1000), ""),
        End::Disconnect(disconnect) => goodbye(outbox.format(), disconnect),
        End::Broken { code } => websocket::close_frame(*code, ""),
    };
    outbox.finish(Some(frame));
    if !write_out(&mut transport, &outbox).await || matches!(end, End::Closed(_)) {
        return;
    }
    // A stream ends where its wire is dropped.
    outbox.abandon();
    let farewell = poll_fn(|cx| transport.poll_farewell(cx));
    // Whoever does not answer is left all the same.
    let _ = timeout_at(Instant::now() + CLOSE_TIMEOUT, farewell).await;
}

/// The last that a client hears: a close frame, where there are frames, or else a push.
fn goodbye(format: Format, disconnect: &Disconnect) -> Bytes {
    let close = || websocket::close_frame(disconnect.code(), disconnect.reason());
    let push = || pushed(format, Push::Disconnect(disconnect.clone()));
    match (format.is_websocket(), format.is_unidirectional()) {
        (true, false) => close(),
        // A page cannot tell close codes from the cause of its trouble where it only reads messages.
        (true, true) => [push(), close()].concat().into(),
        (false, _) => push(),
    }
}

/// What is said of the end of a connection to who watches it.
fn reason(end: &End) -> &str {
    match end {
        End::Gone => "the connection is gone",
        End::Closed(_) => "the client closed it",
        End::Disconnect(disconnect) => disconnect.reason(),
        End::Broken { .. } => "the WebSocket was misused",
    }
}

/// The close code that the connection is counted under.
fn end_label(end: &End) -> u16 {
    match end {
        End::Gone => DisconnectCode::ConnectionClosed.code(),
        End::Closed(code) => code.unwrap_or(1005),
        End::Disconnect(disconnect) => disconnect.code(),
        End::Broken { code } => *code,
    }
}
