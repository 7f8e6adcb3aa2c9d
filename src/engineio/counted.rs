//! What sessions count.

use std::time::Duration;

use super::{CloseReason, Engine};
use crate::protocol::centrifuge::Format;
use crate::protocol::centrifuge::codes::Disconnect;
use crate::telemetry::{CloseCode, LimitScope, Overflow};

const FORMAT: Format = Format::SocketIo;

impl Engine {
    pub(super) fn count_open(&self) {
        let http = &self.telemetry.http;
        let labels = (FORMAT.into(), FORMAT.into());
        http.connections_opened.of(labels).increment(1);
        http.connections.of(labels).increment(1.0);
    }

    /// A session came from another node, where it was opened.
    pub(super) fn count_arrival(&self) {
        self.telemetry.http.connections.of((FORMAT.into(), FORMAT.into())).increment(1.0);
    }

    /// A session goes on at another node, where it will be closed.
    pub(super) fn count_departure(&self) {
        self.telemetry.http.connections.of((FORMAT.into(), FORMAT.into())).decrement(1.0);
    }

    pub(super) fn count_close(&self, reason: &CloseReason, lasted: Duration) {
        self.count_departure();
        self.count_end(reason, lasted);
    }

    /// A session is over that was on its way from another node to this one.
    pub(super) fn count_end(&self, reason: &CloseReason, lasted: Duration) {
        let http = &self.telemetry.http;
        let transport = FORMAT.into();
        http.connections_closed.of((transport, CloseCode::from(reason.code()))).increment(1);
        http.connection_duration.of(transport).record(lasted);
    }

    pub(super) fn count_received(&self, bytes: usize) {
        let clients = &self.telemetry.clients;
        clients.received_messages.of(FORMAT.into()).increment(1);
        clients.received_bytes.of(FORMAT.into()).increment(bytes as u64);
    }

    pub(super) fn count_limited(&self) {
        self.telemetry.http.rate_limited.of(LimitScope::ConnectionBytes).increment(1);
    }

    pub(super) fn count_pong(&self, took: Duration) {
        self.telemetry.clients.ping_rtt.of(FORMAT.into()).record(took);
    }

    pub(super) fn count_closing(&self, disconnect: &Disconnect) {
        self.telemetry.clients.count_closing(disconnect);
    }

    pub(super) fn count_overrun(&self) {
        self.telemetry.queues.overflows.of(Overflow::Controls).increment(1);
    }
}
