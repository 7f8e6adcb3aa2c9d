//! What a session does that may wait for others, and what is seen to in between and meanwhile.
//!
//! A client says how many commands stand in one message, so nothing that others want may wait for its end: it is done
//! between two commands. And a command may wait for an application or for NATS: meanwhile pings go out, and whoever is to
//! go goes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use super::Failure;
use super::commands::is_limited;
use super::rate::Allowance;
use super::run::{Connection, End, heart, ping};
use super::state::Session;
use super::transport::Transport;
use crate::hub::{Flushed, Order};
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode};
use crate::protocol::centrifuge::{Command, Method};

/// How long what is under way may go on once the connection is to end: what takes a moment is still answered.
const COURTESY: Duration = Duration::from_millis(200);

/// Something that may wait for others.
enum Work {
    Command(Command),
    /// Asking the application about what has expired.
    Refresh,
    /// What a backend wants.
    Order(Arc<Order>),
    /// Giving parked subscriptions what they missed.
    CatchUp,
}

/// What others asked of a session, and takes time.
#[derive(Default)]
pub(super) struct Owed {
    /// What backends want.
    pub(super) orders: Vec<Arc<Order>>,
    /// What parked subscriptions missed.
    pub(super) catch_up: bool,
}

impl<T: Transport> Connection<T> {
    /// Handles the commands of one message, in order, and between them what is owed to others.
    pub(super) async fn message(&mut self, message: Bytes) -> Result<(), End> {
        let size = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let commands = self.session.commands(message).map_err(End::Disconnect)?;
        let too_much = match self.session.spend(Allowance::Bytes(size)) {
            Ok(()) => None,
            Err(Failure::Error(error)) => Some(error),
            Err(Failure::Disconnect(disconnect)) => return Err(End::Disconnect(disconnect)),
        };
        for (number, command) in commands.into_iter().enumerate() {
            if number > 0 {
                self.settle(false).await?;
            }
            // After an error in reply to connect whatever came with it is dropped.
            if self.session.is_refused() && number > 0 {
                return Ok(());
            }
            if matches!(command.method, Method::Pong) && self.session.client().is_some() {
                self.session.pong(&mut self.heart)?;
                continue;
            }
            if let Some(error) = &too_much
                && is_limited(&command.method)
            {
                self.session.refuse(&command, Failure::Error(error.clone())).map_err(End::Disconnect)?;
                continue;
            }
            if brings_much(&command.method) {
                self.room().await?;
            }
            self.serve(Work::Command(command)).await?;
        }
        Ok(())
    }

    /// Does what others asked of the session, and what is due.
    pub(super) async fn settle(&mut self, quiet: bool) -> Result<(), End> {
        let Owed { orders, catch_up } = self.see_to(quiet)?;
        if catch_up {
            Box::pin(self.serve(Work::CatchUp)).await?;
        }
        for order in orders {
            Box::pin(self.serve(Work::Order(order))).await?;
        }
        if self.session.owes_refresh(Instant::now()) {
            Box::pin(self.serve(Work::Refresh)).await?;
        }
        Ok(())
    }

    /// Waits until the client has read most of what waits for it. Whoever comes back to many channels asks for all of them
    /// at once: it must not be closed as slow for what it asked. But it does have to read.
    async fn room(&mut self) -> Result<(), End> {
        let outbox = Arc::clone(&self.session.outbox);
        let settings = &self.session.services.client;
        let patience = settings.ping_interval + settings.pong_timeout.unwrap_or_default();
        let until = Instant::now() + patience;
        while !outbox.has_ample_room() {
            if Instant::now() >= until {
                let slow = Disconnect::from(DisconnectCode::Slow);
                self.session.services.telemetry.clients.count_closing(&slow);
                return Err(End::Disconnect(slow));
            }
            self.remind();
            tokio::select! {
                biased;
                writable = self.transport.writable(), if outbox.is_blocked() => {
                    if writable.is_err() || outbox.flush_writable() == Flushed::Gone {
                        return Err(End::Gone);
                    }
                }
                () = outbox.attention() => self.settle(false).await?,
            }
        }
        Ok(())
    }

    /// Does something that may wait for the backplane or the application, longer perhaps than a client waits for a sign of
    /// life: meanwhile a full socket is still written to and pings still go out. It is dropped where the connection is to
    /// end.
    async fn serve(&mut self, work: Work) -> Result<(), End> {
        let outbox = Arc::clone(&self.session.outbox);
        let services = Arc::clone(&self.session.services);
        let frame_pings = self.session.peer.frame_pings;
        let bearer = self.session.bearer();
        let connected = bearer.is_some();
        let mut leave_by = None;
        let mut attended = false;
        let outcome = {
            let Self { transport, session, heart, .. } = self;
            let mut work = pin!(session.work(work));
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
                    outcome = &mut work => break Some(outcome),
                    writable = transport.writable(), if blocked => {
                        if writable.is_err() || outbox.flush_writable() == Flushed::Gone {
                            return Err(End::Gone);
                        }
                    }
                    () = outbox.attention() => {
                        // What else was asked for is still there when the work is done.
                        attended = true;
                        if outbox.is_gone() {
                            return Err(End::Gone);
                        }
                        let now = Instant::now();
                        if let Some((user, token)) = &bearer
                            && outbox.is_doubted()
                            && services.revocations.refuses(token, user, "")
                        {
                            debug!(user = &**user, "closing: the connection token was revoked");
                            return Err(End::Disconnect(DisconnectCode::InvalidToken.into()));
                        }
                        if outbox.is_closing() && now >= *leave_by.get_or_insert(now + COURTESY) {
                            break None;
                        }
                        if connected && heart.ping_due(now) {
                            outbox.reply(ping(&outbox, frame_pings));
                            outbox.flush();
                        }
                        let next = heart.next_ping();
                        services.pulse.remind_at(&outbox, leave_by.map_or(next, |by| next.min(by)));
                    }
                }
            }
        };
        if attended {
            // The clock was asked for other times meanwhile, and what was asked of the session is not done yet.
            outbox.remind();
        }
        let Some(outcome) = outcome else {
            debug!(client = %self.session.id, "dropped what was under way: the connection is to end");
            return self.see_to(false).map(drop);
        };
        if !connected && self.session.client().is_some() {
            self.heart = heart(&services, outbox.format());
        }
        outcome.map_err(End::Disconnect)
    }
}

impl Session {
    async fn work(&mut self, work: Work) -> Result<(), Disconnect> {
        match work {
            Work::Command(command) => self.command(command).await,
            Work::Refresh => self.refresh_by_hooks().await,
            Work::Order(order) => self.obey(&order).await,
            Work::CatchUp => {
                self.catch_up().await;
                Ok(())
            }
        }
    }
}

/// Whether the answer may be so large that the client has to read what waits for it first.
fn brings_much(method: &Method) -> bool {
    match method {
        Method::Subscribe(request) => request.recover,
        Method::History(_) | Method::Presence(_) | Method::Rpc(_) => true,
        _ => false,
    }
}
