//! Tokens that are good no more.

use std::sync::Arc;

use tracing::debug;

use super::state::Session;
use super::subscription::SubscriptionToken;
use crate::hub::Borne;
use crate::protocol::Channel;
use crate::protocol::centrifuge::Push;
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode, UnsubscribeCode};
use crate::revocation::Token;

impl Session {
    /// Has this connection found when its token is revoked.
    pub(super) fn bear(&self, token: Token) -> Option<Box<Borne>> {
        token.id.map(|id| Box::new(self.services.revocations.bear(id, &self.outbox)))
    }

    /// Has it found when the token of a subscription is.
    pub(super) fn hold_token(&self, token: Token) -> Box<SubscriptionToken> {
        let borne = token.id.map(|id| self.services.revocations.bear(id, &self.outbox));
        Box::new(SubscriptionToken { issued_at: token.issued_at, borne })
    }

    /// Ends whatever a token still gives that is revoked.
    pub(super) fn recheck(&mut self) -> Result<(), Disconnect> {
        self.recheck_connection()?;
        let user = self.client().map_or("", |client| &client.user);
        let revoked = self.subscriptions.iter().filter(|subscription| {
            subscription.token.as_ref().is_some_and(|held| {
                let token = Token { id: held.borne.as_ref().map(Borne::id), issued_at: held.issued_at };
                self.services.revocations.refuses(&token, user, subscription.channel().as_str())
            })
        });
        let channels: Vec<Channel> = revoked.map(|subscription| subscription.channel().clone()).collect();
        for channel in channels {
            debug!(client = %self.id, %channel, "unsubscribing: the subscription token was revoked");
            self.leave(&channel);
            self.push(Push::Unsubscribe { channel, code: UnsubscribeCode::Server });
        }
        Ok(())
    }

    /// The user, and the token that the connection stands on. For whoever cannot wait for the session.
    pub(super) fn bearer(&self) -> Option<(Arc<str>, Token)> {
        let client = self.client()?;
        let token = Token { id: client.borne.as_ref().map(|borne| borne.id()), issued_at: client.issued_at };
        Some((Arc::clone(&client.user), token))
    }

    /// Ends the connection if its token is revoked.
    pub(super) fn recheck_connection(&self) -> Result<(), Disconnect> {
        let Some((user, token)) = self.bearer() else { return Ok(()) };
        if self.services.revocations.refuses(&token, &user, "") {
            debug!(client = %self.id, "closing: the connection token was revoked");
            return Err(DisconnectCode::InvalidToken.into());
        }
        Ok(())
    }
}
