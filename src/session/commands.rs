//! From commands to replies.

use bytes::Bytes;
use tokio::time::Instant;

use super::Failure;
use super::counted::kind;
use super::rate::Allowance;
use super::state::{Phase, Session};
use crate::backplane::{Meta, Outgoing, PublishError};
use crate::protocol::Channel;
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode, ErrorCode};
use crate::protocol::centrifuge::{
    Command, HistoryRequest, HistoryResult, Method, PingResult, PublishRequest, PublishResult, Push, Reply,
    ReplyResult, RpcRequest, RpcResult, UnsubscribeRequest, UnsubscribeResult, decode, framed, pushed,
};
use crate::protocol::{ChannelError, Offset};
use crate::relay::{HistoryQuery, HistoryQueryError, Since, fitting};
use crate::settings::Namespace;
use crate::telemetry::{LimitScope, Source};
use std::sync::Arc;

/// Commands in one message: an SDK that comes back batches one for each of its channels.
const COMMANDS: usize = 1024;

/// What a command leads to: a reply, or none.
pub(super) type Answer = Result<Option<ReplyResult>, Failure>;

impl Session {
    /// The commands of one message, in order.
    pub(super) fn commands(&self, message: Bytes) -> Result<Vec<Command>, Disconnect> {
        if self.is_unidirectional() {
            return self.introduction(&message);
        }
        let most = COMMANDS.max(2 * self.services.client.channel_limit);
        decode(self.outbox.format().encoding(), &message, most).map_err(|error| {
            tracing::debug!(client = %self.id, "closing: {error}");
            Disconnect::from(DisconnectCode::BadRequest)
        })
    }

    pub(super) async fn command(&mut self, command: Command) -> Result<(), Disconnect> {
        let Command { id, method } = command;
        match (&self.phase, &method) {
            (Phase::Opening(_), Method::Connect(_)) => {}
            (Phase::Opening(_) | Phase::Refused { .. }, _) | (Phase::Connected(_), Method::Connect(_)) => {
                return Err(DisconnectCode::BadRequest.into());
            }
            (Phase::Connected(_), _) => {}
        }
        let kind = kind(&method);
        let started = Instant::now();
        if let Err(failure) = self.spend_on(&method) {
            return self.answer(id, kind, started, Err(failure));
        }
        let answer = match method {
            Method::Connect(request) => Box::pin(self.connect(id, *request)).await,
            // It could be read, so it gets an error of its own: a close by 1009 would end an official client for good.
            Method::Publish(PublishRequest { data, .. }) | Method::Rpc(RpcRequest { data, .. })
                if self.too_large(&data) =>
            {
                Err(ErrorCode::BadRequest.into())
            }
            Method::Subscribe(request) => Box::pin(self.subscribe(id, *request)).await,
            Method::Unsubscribe(request) => self.unsubscribe(&request),
            Method::Publish(request) => self.publish(request).await,
            Method::History(request) => self.history(&request).await,
            Method::Rpc(request) => self.rpc(request).await,
            // There is no handler for messages without a reply: they would vanish without a word.
            Method::Send(_) => Err(DisconnectCode::NotAvailable.into()),
            Method::Refresh(request) => self.refresh(request).await,
            Method::SubRefresh(request) => self.sub_refresh(request).await,
            Method::Presence(request) => self.presence(&request.channel).await,
            Method::PresenceStats(request) => self.presence_stats(&request.channel).await,
            Method::Ping => Ok(Some(ReplyResult::Ping(PingResult {}))),
            // Of the heart, not of the session.
            Method::Pong => Ok(None),
        };
        self.answer(id, kind, started, answer)
    }

    fn answer(
        &mut self,
        id: u32,
        kind: crate::telemetry::Command,
        started: Instant,
        answer: Answer,
    ) -> Result<(), Disconnect> {
        self.count_command(kind, started.elapsed(), &answer);
        match answer {
            Ok(Some(result)) => self.reply(id, result),
            Ok(None) => {}
            Err(Failure::Error(error)) => self.reply(id, ReplyResult::Error(error)),
            Err(Failure::Disconnect(disconnect)) => return Err(disconnect),
        }
        Ok(())
    }

    /// Answers a command of a message that was more than its client may send.
    pub(super) fn refuse(&mut self, command: &Command, failure: Failure) -> Result<(), Disconnect> {
        self.answer(command.id, kind(&command.method), Instant::now(), Err(failure))
    }

    /// Takes from what the connection may do in all.
    fn spend_on(&mut self, method: &Method) -> Result<(), Failure> {
        if is_limited(method) { self.spend(Allowance::Command) } else { Ok(()) }
    }

    fn too_large(&self, data: &Bytes) -> bool {
        data.len() > self.services.client.message_size_limit
    }

    pub(super) fn reply(&self, id: u32, result: ReplyResult) {
        self.outbox.reply(framed(self.outbox.format(), &Reply { id, result }));
    }

    pub(super) fn push(&self, push: Push) {
        self.outbox.reply(pushed(self.outbox.format(), push));
    }

    /// The channel of that name and its namespace's options.
    pub(super) fn channel(&self, name: &str) -> Result<(Channel, Arc<Namespace>), Failure> {
        if name.is_empty() {
            return Err(DisconnectCode::BadRequest.into());
        }
        let settings = &self.services.channel;
        let channel = Channel::parse(name, settings.max_length).map_err(|error| match error {
            ChannelError::Empty | ChannelError::TooLong { .. } | ChannelError::NoRest | ChannelError::Control(_) => {
                Failure::from(ErrorCode::BadRequest)
            }
        })?;
        let namespace = settings.namespaces.of(&channel).map_err(|_| Failure::from(ErrorCode::UnknownChannel))?;
        Ok((channel, Arc::clone(namespace)))
    }

    /// Leaving what one never was in succeeds.
    fn unsubscribe(&mut self, request: &UnsubscribeRequest) -> Answer {
        if request.channel.is_empty() {
            return Err(DisconnectCode::BadRequest.into());
        }
        if let Some(channel) = self.subscription(&request.channel).map(|subscription| subscription.channel().clone()) {
            self.leave(&channel);
        }
        Ok(Some(ReplyResult::Unsubscribe(UnsubscribeResult {})))
    }

    async fn publish(&mut self, request: PublishRequest) -> Answer {
        let (channel, namespace) = self.channel(&request.channel)?;
        if request.r#type != 0 || !request.key.is_empty() || request.removed {
            return Err(ErrorCode::PermissionDenied.into());
        }
        self.spend(Allowance::Publish)?;
        let allowed = self.asker(&channel).may_publish(&namespace);
        let mut message = Outgoing { data: request.data, ..Outgoing::default() };
        if namespace.publish_hook {
            message = self.ask_before_publish(&channel, message).await?;
        } else if !allowed {
            return Err(ErrorCode::PermissionDenied.into());
        }
        message.data = fitting(namespace.publication_data_format, self.outbox.format().encoding(), message.data)
            .ok_or(ErrorCode::BadRequest)?;
        let info = serde_json::to_vec(&self.info(&channel)).map_err(|_| ErrorCode::Internal)?;
        message.meta = Meta { info: Some(info.into()), ..message.meta };
        match self.services.relay.publish(&channel, message, Source::Client).await {
            Ok(_) => Ok(Some(ReplyResult::Publish(PublishResult {}))),
            Err(error) => Err(self.publish_failure(&channel, &error)),
        }
    }

    fn publish_failure(&self, channel: &Channel, error: &PublishError) -> Failure {
        tracing::debug!(client = %self.id, %channel, "publication failed: {error}");
        match error {
            PublishError::TooLarge { .. } => ErrorCode::LimitExceeded.into(),
            PublishError::Refused(_) => ErrorCode::NotAvailable.into(),
            PublishError::Unavailable(_) | PublishError::Unknown(_) => ErrorCode::Internal.into(),
        }
    }

    async fn history(&mut self, request: &HistoryRequest) -> Answer {
        let (channel, namespace) = self.channel(&request.channel)?;
        if namespace.history.is_none() {
            return Err(ErrorCode::NotAvailable.into());
        }
        if !self.asker(&channel).may_read_history(&namespace) {
            return Err(ErrorCode::PermissionDenied.into());
        }
        if request.reverse && request.since.as_ref().is_some_and(|since| since.offset == 0) {
            return Err(ErrorCode::BadRequest.into());
        }
        let cap = self.services.client.history_max_publication_limit;
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).min(cap);
        let since = request.since.as_ref();
        let since = since.map(|since| Since { offset: Offset(since.offset), epoch: since.epoch.clone() });
        let query = HistoryQuery { limit: Some(limit), since, reverse: request.reverse };
        match self.services.relay.history(&channel, &namespace, &query).await {
            Ok(page) => {
                self.check_carried(&channel, &page.publications)?;
                Ok(Some(ReplyResult::History(HistoryResult {
                    publications: page.publications.iter().map(crate::relay::publication).collect(),
                    epoch: page.position.epoch.to_string(),
                    offset: page.position.offset.0,
                })))
            }
            Err(HistoryQueryError::Absent(_)) => Err(ErrorCode::NotAvailable.into()),
            Err(HistoryQueryError::Unrecoverable) => Err(ErrorCode::UnrecoverablePosition.into()),
            Err(HistoryQueryError::Unavailable(_)) => Err(ErrorCode::Internal.into()),
            Err(HistoryQueryError::Busy(_)) => Err(ErrorCode::TooManyRequests.into()),
        }
    }

    async fn rpc(&mut self, request: RpcRequest) -> Answer {
        let data = self.call(&request.method, request.data).await?;
        Ok(Some(ReplyResult::Rpc(RpcResult { data })))
    }

    /// Takes from what the connection may do, and from what its user may.
    pub(super) fn spend(&mut self, what: Allowance) -> Result<(), Failure> {
        let Self { services, phase, .. } = self;
        let Phase::Connected(client) = phase else { return Ok(()) };
        let Some(rates) = &mut client.rates else { return Ok(()) };
        let of_user = services.limits.users.of(what).filter(|_| !client.user.is_empty());
        let meter = rates.meter(what);
        let scope = match meter.take(what) {
            None if of_user.is_none() => return Ok(()),
            Some(false) => what.scope(),
            _ if of_user.is_some_and(|rate| !rate.admits(&client.user)) => LimitScope::User,
            _ => {
                meter.passed();
                return Ok(());
            }
        };
        services.telemetry.http.rate_limited.of(scope).increment(1);
        let patience_ends = meter.refuse();
        if patience_ends { Err(DisconnectCode::TooManyErrors.into()) } else { Err(ErrorCode::TooManyRequests.into()) }
    }
}

/// Whether a limit may refuse it. Without its connect and refreshes a connection would be none; what ends it anyway has no
/// reply that could say so.
pub(super) const fn is_limited(method: &Method) -> bool {
    !matches!(method, Method::Connect(_) | Method::Refresh(_) | Method::SubRefresh(_) | Method::Send(_) | Method::Pong)
}
