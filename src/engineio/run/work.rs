//! What a session does with what its client says, and what is seen to in between: a client says how much stands in one
//! message or body, so nothing that others want may wait for its end.

use std::future::pending;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Link, Session};
use crate::engineio::{CloseReason, Handler};
use crate::hub::Control;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::socketio::{EnginePacket, payload};
use crate::session::Transport;

impl Session {
    /// A body may hold any number of packets, each with its wait for others: nobody may put off an end by many.
    pub(super) async fn take_all(
        &mut self,
        body: &Bytes,
        handler: &mut impl Handler,
        reminder: &mut Option<Instant>,
    ) -> Result<(), CloseReason> {
        for packet in payload::packets(body)? {
            self.take(packet?, handler, reminder).await?;
            self.see_to(handler, reminder).await?;
        }
        Ok(())
    }

    pub(super) async fn take(
        &mut self,
        packet: EnginePacket,
        handler: &mut impl Handler,
        reminder: &mut Option<Instant>,
    ) -> Result<(), CloseReason> {
        match packet {
            EnginePacket::Message(message) => {
                if handler.is_full() {
                    Box::pin(self.room(handler, reminder)).await?;
                }
                Box::pin(handler.take(message)).await
            }
            EnginePacket::Pong(_) => {
                if let Some(took) = self.heartbeat.pong(Instant::now()) {
                    self.engine.count_pong(took);
                }
                Ok(())
            }
            EnginePacket::Ping(_) => {
                Err(CloseReason::ParseError { why: "a ping of the client".to_owned(), code: 1003 })
            }
            EnginePacket::Close => Err(CloseReason::TransportClose(None)),
            EnginePacket::Open(_) | EnginePacket::Upgrade | EnginePacket::Noop => Ok(()),
        }
    }

    /// Waits until the handler takes another message. What it has to say meanwhile goes out, and whoever is gone or is to
    /// go goes.
    async fn room(&mut self, handler: &mut impl Handler, reminder: &mut Option<Instant>) -> Result<(), CloseReason> {
        while handler.is_full() {
            self.flush()?;
            self.remind(handler, reminder, false);
            let Self { outbox, link, .. } = self;
            let link = async {
                match link {
                    Link::Polling(polling) => polling.trouble().await,
                    // That it takes nothing any more the flush finds out.
                    Link::WebSocket(transport) if outbox.is_blocked() => {
                        let _ = transport.writable().await;
                        outbox.flush_writable();
                    }
                    Link::WebSocket(_) => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = link => {}
                () = outbox.attention() => {}
                outcome = handler.progress() => outcome?,
            }
            self.see_to(handler, reminder).await?;
        }
        Ok(())
    }

    /// Does what others asked of the session, and what is due; ends it where its client is gone.
    pub(super) async fn see_to(
        &mut self,
        handler: &mut impl Handler,
        reminder: &mut Option<Instant>,
    ) -> Result<(), CloseReason> {
        let (controls, due) = self.outbox.take_requests();
        for control in controls {
            match control {
                Control::Close(disconnect) => {
                    self.engine.count_closing(&disconnect);
                    return Err(CloseReason::Forced(disconnect));
                }
                Control::Overrun => {
                    self.engine.count_overrun();
                    return Err(CloseReason::Forced(DisconnectCode::ForceReconnect.into()));
                }
                Control::Lost(channel) => handler.lost(channel)?,
                Control::Obey(order) => Box::pin(handler.obey(order)).await?,
                Control::Drained => {}
            }
        }
        if due {
            *reminder = None;
        }
        let now = Instant::now();
        if self.heartbeat.is_over(now, false) {
            return Err(CloseReason::PingTimeout);
        }
        if let Link::Polling(polling) = &mut self.link {
            polling.verify(now)?;
        }
        if self.heartbeat.ping_due(now) {
            self.outbox.reply(EnginePacket::Ping(Bytes::new()).frame());
            self.flush()?;
        }
        if handler.next_deadline().is_some_and(|deadline| now >= deadline) {
            handler.on_deadline(now)?;
        }
        Ok(())
    }
}
