//! What sessions count.

use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use super::commands::Answer;
use super::services::Services;
use super::state::Session;
use crate::auth::TokenError;
use crate::protocol::centrifuge::{Format, Method};
use crate::telemetry::{CloseCode, Command, Outcome, Rejection, Telemetry, Verdict};

impl Session {
    pub(super) fn count_received(&self, bytes: usize) {
        let clients = &self.services.telemetry.clients;
        let transport = self.outbox.format().into();
        clients.received_messages.of(transport).increment(1);
        clients.received_bytes.of(transport).increment(bytes as u64);
    }

    /// Counts a client that did not say who it is, or not to our liking; not where nobody could tell.
    pub(super) fn count_unidentified(&self, failure: &Failure) {
        let passes = matches!(failure, Failure::Error(error) if error.temporary());
        if !passes {
            self.services.telemetry.http.handshakes_rejected.of(Rejection::Auth).increment(1);
        }
    }

    pub(super) fn count_command(&self, command: Command, took: Duration, answer: &Answer) {
        let outcome = match answer {
            Ok(_) => Outcome::Ok,
            Err(Failure::Error(_)) => Outcome::Error,
            Err(Failure::Disconnect(_)) => Outcome::Disconnect,
        };
        let clients = &self.services.telemetry.clients;
        clients.commands.of((self.outbox.format().into(), command, outcome)).increment(1);
        clients.command_duration.of(command).record(took);
    }
}

/// A connection that has not connected yet.
pub(super) struct Handshake(Arc<Telemetry>);

impl Handshake {
    pub(super) fn begin(telemetry: &Arc<Telemetry>) -> Self {
        telemetry.http.handshakes_inflight.increment(1.0);
        Self(Arc::clone(telemetry))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.http.handshakes_inflight.decrement(1.0);
    }
}

impl Services {
    pub(super) fn counted_connect(&self, format: Format, took: Duration) {
        self.telemetry.http.handshake_duration.of(format.into()).record(took);
    }

    pub(super) fn counted_pong(&self, format: Format, took: Duration) {
        self.telemetry.clients.ping_rtt.of(format.into()).record(took);
    }

    pub(super) fn counted_open(&self, format: Format) {
        let http = &self.telemetry.http;
        let labels = (format.into(), format.into());
        http.connections_opened.of(labels).increment(1);
        http.connections.of(labels).increment(1.0);
    }

    pub(super) fn counted_close(&self, format: Format, code: u16, lasted: Duration) {
        let http = &self.telemetry.http;
        let transport = format.into();
        http.connections.of((transport, format.into())).decrement(1.0);
        http.connections_closed.of((transport, CloseCode::from(code))).increment(1);
        http.connection_duration.of(transport).record(lasted);
    }

    pub(super) fn counted_token(&self, error: Option<&TokenError>) {
        let verdict = error.map_or(Verdict::Ok, TokenError::verdict);
        self.telemetry.clients.auth.of(verdict).increment(1);
    }
}

/// The label of a command.
pub(super) const fn kind(method: &Method) -> Command {
    match method {
        Method::Connect(_) => Command::Connect,
        Method::Subscribe(_) => Command::Subscribe,
        Method::Unsubscribe(_) => Command::Unsubscribe,
        Method::Publish(_) => Command::Publish,
        Method::Presence(_) => Command::Presence,
        Method::PresenceStats(_) => Command::PresenceStats,
        Method::History(_) => Command::History,
        Method::Rpc(_) => Command::Rpc,
        Method::Send(_) => Command::Send,
        Method::Refresh(_) => Command::Refresh,
        Method::SubRefresh(_) => Command::SubRefresh,
        Method::Ping => Command::Ping,
        Method::Pong => Command::Pong,
    }
}
