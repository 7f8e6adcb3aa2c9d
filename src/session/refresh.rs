//! Renewing what expires.

use super::Failure;
use super::commands::Answer;
use super::connect::{same_channels, token_failure};
use super::state::Session;
use super::subscription::{Expiry, Refresher, moment, remaining};
use crate::protocol::centrifuge::codes::{DisconnectCode, ErrorCode};
use crate::protocol::centrifuge::{
    RefreshRequest, RefreshResult, ReplyResult, SubRefreshRequest, SubRefreshResult, ttl,
};
use crate::revocation::Token;

impl Session {
    pub(super) async fn refresh(&mut self, request: RefreshRequest) -> Answer {
        if request.token.is_empty() || !self.client_refreshes() {
            return Err(DisconnectCode::BadRequest.into());
        }
        let Some(verifier) = &self.services.connection_tokens else { return Err(DisconnectCode::InvalidToken.into()) };
        let grant = self.services.believe(verifier, &request.token).await;
        let grant = grant.map_err(|error| match token_failure(&error) {
            Some(_) if error.is_expired() => DisconnectCode::Expired.into(),
            Some(temporary) => temporary,
            None => DisconnectCode::InvalidToken.into(),
        })?;
        let token = Token::new(grant.token_id.as_deref(), grant.issued_at);
        let borne = self.bear(token);
        let Some(client) = self.client_mut() else { return Err(DisconnectCode::BadRequest.into()) };
        if grant.user != *client.user {
            return Err(DisconnectCode::InvalidToken.into());
        }
        if !same_channels(&client.token_channels, &grant.subs) {
            // The client connects again and gets the new set.
            return Err(DisconnectCode::InsufficientState.into());
        }
        client.issued_at = token.issued_at;
        client.borne = borne;
        client.info = grant.info;
        client.meta = grant.meta;
        client.expiry = grant.expires_at.map(|at| Expiry { at: moment(at), by: Refresher::Client });
        self.recheck_connection()?;
        self.show_changes();
        Ok(Some(ReplyResult::Refresh(RefreshResult {
            client: self.client_id(),
            version: self.services.node.version.clone(),
            expires: grant.expires_at.is_some(),
            ttl: grant.expires_at.map_or(0, |at| ttl(remaining(at))),
        })))
    }

    pub(super) async fn sub_refresh(&mut self, request: SubRefreshRequest) -> Answer {
        let (channel, _) = self.channel(&request.channel)?;
        let Some(index) = self.position_of(&channel) else { return Err(ErrorCode::PermissionDenied.into()) };
        if request.token.is_empty() {
            return Err(ErrorCode::BadRequest.into());
        }
        let by_server = self.subscriptions[index].expiry.is_some_and(|expiry| expiry.by == Refresher::Server);
        if by_server {
            return Err(DisconnectCode::BadRequest.into());
        }
        let Some(verifier) = self.services.subscription_verifier() else {
            return Err(DisconnectCode::InvalidToken.into());
        };
        let grant = verifier.subscription(&request.token).await.map_err(|error| match token_failure(&error) {
            Some(_) if error.is_expired() => Failure::from(DisconnectCode::SubscriptionExpired),
            Some(temporary) => temporary,
            None => DisconnectCode::InvalidToken.into(),
        })?;
        let user = self.client().map_or("", |client| &client.user);
        let foreign_client = grant.client.as_ref().is_some_and(|client| *client != self.client_id());
        if grant.channel != channel.as_str() || grant.user != user || foreign_client {
            return Err(DisconnectCode::InvalidToken.into());
        }
        let token = Token::new(grant.token_id.as_deref(), grant.issued_at);
        let held = self.hold_token(token);
        if self.services.revocations.refuses(&token, user, channel.as_str()) {
            return Err(DisconnectCode::InvalidToken.into());
        }
        let subscription = &mut self.subscriptions[index];
        subscription.token = Some(held);
        subscription.info = grant.info;
        subscription.expiry = grant.expires_at.map(|at| Expiry { at: moment(at), by: Refresher::Client });
        self.show_changes();
        Ok(Some(ReplyResult::SubRefresh(SubRefreshResult {
            expires: grant.expires_at.is_some(),
            ttl: grant.expires_at.map_or(0, |at| ttl(remaining(at))),
            ..SubRefreshResult::default()
        })))
    }
}
