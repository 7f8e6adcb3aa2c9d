//! The loop of a connection.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
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
use super::{Peer, Services, seen};
use crate::hub::{Control, Flushed, Order, Outbox, Wire};
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode};
use crate::protocol::centrifuge::{Format, Push, Reply, framed, is_pong, pushed};
use crate::protocol::websocket;

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

/// Runs a connection to its end.
pub async fn run<T: Transport>(mut transport: T, wire: impl Wire + 'static, peer: Peer, services: Arc<Services>) {
    let outbox = Outbox::new(peer.format, services.client.queue_max_size, Arc::clone(services.connections.backlog()));
    outbox.attach(Box::new(wire));
    services.counted_open(peer.format);
    let handshake = Handshake::begin(&services.telemetry);
    let _registered = services.connections.register(Arc::clone(&outbox));
    let mut heart = heart(&services, peer.format);
    let mut session = Session {
        services,
        outbox: Arc::clone(&outbox),
        id: Uuid::new_v4(),
        peer: Box::new(peer),
        opened: Instant::now(),
        phase: Phase::Opening(handshake),
        subscriptions: Vec::new(),
    };
    let end = live(&mut transport, &mut session, &mut heart).await;
    Box::pin(close(&mut transport, session, end)).await;
    outbox.abandon();
}

fn heart(services: &Services, format: Format) -> Heart {
    let settings = &services.client;
    let first = rand::rng().random::<f64>();
    // Who only listens cannot answer, but by WebSocket pongs.
    let answers = format.is_websocket() || !format.is_unidirectional();
    Heart::new(settings.ping_interval, settings.pong_timeout.filter(|_| answers), Instant::now(), first)
}

async fn live<T: Transport>(transport: &mut T, session: &mut Session, heart: &mut Heart) -> End {
    let outbox = Arc::clone(&session.outbox);
    let mut reminder: Option<Instant> = None;
    loop {
        remind(session, heart, &mut reminder);
        let event = tokio::select! {
            biased;
            // Before deadlines: a pong may wait in the socket while we were busy.
            event = transport.event(outbox.is_blocked()) => Some(event),
            () = outbox.attention() => None,
        };
        let quiet = event.is_none();
        let outcome = match event {
            // What an idle client says twice a minute goes the short way.
            Some(Event::Inbound(Ok(Inbound::Text(data) | Inbound::Binary(data))))
                if session.client().is_some() && session.is_pong(&data) =>
            {
                session.count_received(data.len());
                session.pong(heart)
            }
            Some(Event::Inbound(Ok(Inbound::Text(data) | Inbound::Binary(data)))) => {
                let outcome = Box::pin(serve(transport, session, heart, Work::Message(data))).await;
                // The clock was asked for other times meanwhile.
                reminder = None;
                outcome
            }
            Some(event) => handle(session, heart, event),
            None => Ok(()),
        };
        let mut outcome = match outcome.and_then(|()| see_to(session, heart, &mut reminder, quiet)) {
            Ok(owed) if owed.orders.is_empty() && !owed.catch_up => Ok(()),
            Ok(owed) => {
                let outcome = Box::pin(serve(transport, session, heart, Work::Owed(owed))).await;
                reminder = None;
                outcome
            }
            Err(end) => Err(end),
        };
        if outcome.is_ok() && session.owes_refresh(Instant::now()) {
            outcome = Box::pin(serve(transport, session, heart, Work::Refresh)).await;
            reminder = None;
        }
        if let Err(end) = outcome {
            return end;
        }
        if outbox.flush() == Flushed::Gone {
            return End::Gone;
        }
    }
}

/// Tells the clock the session's next deadline where it is another than before.
fn remind(session: &Session, heart: &Heart, reminder: &mut Option<Instant>) {
    let next = session.next_deadline(heart);
    if *reminder != Some(next) {
        session.services.pulse.remind_at(&session.outbox, next);
        *reminder = Some(next);
    }
}

/// What a session does that may wait for others.
enum Work {
    /// The commands of one message.
    Message(Bytes),
    /// Asking the application about what has expired.
    Refresh,
    Owed(Owed),
}

/// What others asked of a session.
#[derive(Default)]
struct Owed {
    /// What backends want.
    orders: Vec<Arc<Order>>,
    /// What parked subscriptions missed.
    catch_up: bool,
}

/// Does something that may wait for the backplane or the application, longer perhaps than a client waits for a sign of
/// life: meanwhile a full socket is still written to and pings still go out.
async fn serve<T: Transport>(
    transport: &mut T,
    session: &mut Session,
    heart: &mut Heart,
    work: Work,
) -> Result<(), End> {
    let outbox = Arc::clone(&session.outbox);
    let services = Arc::clone(&session.services);
    let frame_pings = session.peer.frame_pings;
    let connected = session.client().is_some();
    let mut pongs = 0;
    let outcome = {
        let mut work = pin!(async {
            match work {
                Work::Message(data) => session.commands(data, &mut pongs).await,
                Work::Refresh => session.refresh_by_hooks().await,
                Work::Owed(Owed { orders, catch_up }) => {
                    if catch_up {
                        session.catch_up().await;
                    }
                    session.obey(&orders).await
                }
            }
        });
        // What is answered already goes out while the rest waits.
        let mut work = poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            if polled.is_pending() {
                outbox.flush();
            }
            polled
        });
        loop {
            let blocked = outbox.is_blocked();
            tokio::select! {
                biased;
                outcome = &mut work => break outcome,
                writable = transport.writable(), if blocked => {
                    if writable.is_err() || outbox.flush_writable() == Flushed::Gone {
                        return Err(End::Gone);
                    }
                }
                () = outbox.attention() => {
                    // Whatever else was asked for is still there when the work is done.
                    if connected && heart.ping_due(Instant::now()) {
                        outbox.reply(ping(&outbox, frame_pings));
                        outbox.flush();
                    }
                    services.pulse.remind_at(&outbox, heart.next_ping());
                }
            }
        }
    };
    if !connected && session.client().is_some() {
        *heart = self::heart(&session.services, outbox.format());
    }
    for _ in 0..pongs {
        session.pong(heart)?;
    }
    outcome.map_err(End::Disconnect)
}

fn handle(session: &mut Session, heart: &mut Heart, event: Event) -> Result<(), End> {
    match event {
        Event::Inbound(Ok(Inbound::Ping(data))) => {
            session.outbox.reply(websocket::server_frame(websocket::Opcode::Pong, &data));
            Ok(())
        }
        Event::Inbound(Ok(Inbound::Pong)) if session.peer.frame_pings => session.pong(heart),
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

/// Does what others asked of the session, and what is due; what takes time is returned. Only when it is `quiet`, with nothing to read, is a pong that
/// did not come really missing: it may stand behind other messages, and those have waited for the backplane.
fn see_to(session: &mut Session, heart: &mut Heart, reminder: &mut Option<Instant>, quiet: bool) -> Result<Owed, End> {
    let (controls, due) = session.outbox.take_requests();
    let mut owed = Owed::default();
    for control in controls {
        match control {
            Control::Close(disconnect) => return Err(End::Disconnect(disconnect)),
            Control::Lost(channel) => session.lost(&channel).map_err(End::Disconnect)?,
            Control::Obey(order) => owed.orders.push(order),
            Control::Drained => owed.catch_up = true,
        }
    }
    if !due {
        return Ok(owed);
    }
    *reminder = None;
    let now = Instant::now();
    // Before it is connected a client is not pinged: the connect result must be the first thing it hears.
    if session.client().is_some() {
        match heart.beat(now) {
            Beat::Ping => session.outbox.reply(ping(&session.outbox, session.peer.frame_pings)),
            Beat::NoPong if quiet => return Err(End::Disconnect(DisconnectCode::NoPong.into())),
            Beat::NoPong | Beat::Rest => {}
        }
    }
    session.deadlines(now).map_err(End::Disconnect)?;
    Ok(owed)
}

fn ping(outbox: &Outbox, frame_pings: bool) -> Bytes {
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

    fn pong(&self, heart: &mut Heart) -> Result<(), End> {
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
async fn close<T: Transport>(transport: &mut T, session: Session, end: End) {
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
    if !write_out(transport, &outbox).await || matches!(end, End::Closed(_)) {
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
