//! Who may listen to what, and what the reply says of it.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::Failure;
use super::commands::Answer;
use super::connect::token_failure;
use super::permissions::{belongs_to, fits};
use super::rate::Allowance;
use super::state::Session;
use super::subscription::{Expiry, Refresher, Subscription, SubscriptionToken, moment, remaining};
use crate::auth::Overrides;
use crate::backplane::Stored;
use crate::hub::{self, Hold};
use crate::protocol::centrifuge::codes::{DisconnectCode, ErrorCode};
use crate::protocol::centrifuge::{Encoding, Filter, FilterNode, ReplyResult, SubscribeRequest, SubscribeResult, ttl};
use crate::protocol::{Channel, Offset};
use crate::relay::{JoinError, Joined, Outcome, Since, Wish, patched, publication};
use crate::revocation::Token;
use crate::settings::{DeltaType, Namespace, RecoveryMode, SlowReader};

/// Bit 2 of a subscribe request's flag: error 112 in place of `recovered: false`.
const FLAG_UNRECOVERABLE_IS_ERROR: i64 = 2;

/// The epoch of positioned subscriptions to channels without history.
const EPOCH_WITHOUT_HISTORY: &str = "live";

/// What entitles a client to a subscription, and what comes with it.
#[derive(Default)]
pub(super) struct Grant {
    pub(super) info: Option<Bytes>,
    pub(super) data: Option<Bytes>,
    /// Unix seconds.
    pub(super) expires_at: Option<u64>,
    pub(super) refreshed_by_server: bool,
    pub(super) overrides: Overrides,
    /// Bytes that recovery may bring, where that is less than for a subscription by itself.
    pub(super) room: Option<usize>,
    /// The token that grants it, if one does.
    pub(super) token: Option<Box<SubscriptionToken>>,
}

impl Session {
    pub(super) async fn subscribe(&mut self, id: u32, request: SubscribeRequest) -> Answer {
        if request.channel.is_empty() || !matches!(request.delta.as_str(), "" | "fossil") {
            return Err(DisconnectCode::BadRequest.into());
        }
        if request.channel.len() > self.services.channel.max_length {
            return Err(ErrorCode::BadRequest.into());
        }
        if self.subscription(&request.channel).is_some() {
            return Err(ErrorCode::AlreadySubscribed.into());
        }
        if self.subscriptions.len() >= self.services.client.channel_limit {
            return Err(ErrorCode::LimitExceeded.into());
        }
        self.spend(Allowance::Subscribe)?;
        let (channel, namespace) = self.channel(&request.channel)?;
        if !fits(&channel, &namespace) {
            return Err(ErrorCode::BadRequest.into());
        }
        if request.r#type != 0 {
            return Err(ErrorCode::PermissionDenied.into());
        }
        let grant = self.entitle(&channel, &namespace, &request).await?;
        let (result, hold) = self.join(&channel, &namespace, Some(&request), grant, false).await?;
        self.reply(id, ReplyResult::Subscribe(result));
        drop(hold);
        Ok(None)
    }

    /// What gives the client the right to subscribe.
    async fn entitle(
        &self,
        channel: &Channel,
        namespace: &Namespace,
        request: &SubscribeRequest,
    ) -> Result<Grant, Failure> {
        if !request.token.is_empty() {
            return self.entitle_by_token(channel, &request.token).await;
        }
        if channel.is_private() {
            return Err(ErrorCode::PermissionDenied.into());
        }
        let user = self.client().map_or("", |client| &client.user);
        if let Some(belongs) = belongs_to(channel, namespace, user) {
            return if belongs { Ok(Grant::default()) } else { Err(ErrorCode::PermissionDenied.into()) };
        }
        if namespace.subscribe_hook {
            return self.ask_before_subscribe(channel, request).await;
        }
        if self.asker(channel).may_subscribe(namespace) {
            return Ok(Grant::default());
        }
        Err(ErrorCode::PermissionDenied.into())
    }

    async fn entitle_by_token(&self, channel: &Channel, token: &str) -> Result<Grant, Failure> {
        let Some(verifier) = self.services.subscription_verifier() else {
            return Err(ErrorCode::PermissionDenied.into());
        };
        let grant = verifier.subscription(token).await.map_err(|error| {
            debug!(client = %self.id, %channel, "subscription token refused: {error}");
            token_failure(&error).unwrap_or_else(|| ErrorCode::PermissionDenied.into())
        })?;
        let user = self.client().map_or("", |client| &client.user);
        let foreign_client = grant.client.as_ref().is_some_and(|client| *client != self.client_id());
        if grant.channel != channel.as_str() || grant.user != user || foreign_client {
            debug!(client = %self.id, %channel, "closing: the subscription token is for another channel, user or client");
            return Err(DisconnectCode::InvalidToken.into());
        }
        let token = Token::new(grant.token_id.as_deref(), grant.issued_at);
        let held = self.hold_token(token);
        if self.services.revocations.refuses(&token, user, channel.as_str()) {
            debug!(client = %self.id, %channel, "the subscription token is revoked");
            return Err(ErrorCode::PermissionDenied.into());
        }
        Ok(Grant {
            info: grant.info,
            data: grant.data,
            expires_at: grant.expires_at,
            refreshed_by_server: false,
            overrides: grant.overrides,
            room: None,
            token: Some(held),
        })
    }

    /// Joins the channel and enters the subscription. The hold keeps publications back until the reply is queued.
    pub(super) async fn join(
        &mut self,
        channel: &Channel,
        namespace: &Arc<Namespace>,
        asked: Option<&SubscribeRequest>,
        grant: Grant,
        server_side: bool,
    ) -> Result<(SubscribeResult, Hold), Failure> {
        let offered = Offered::new(namespace, grant.overrides, asked);
        let filter = asked.and_then(|asked| asked.tf.as_ref());
        let filter = filter.map(|filter| self.filter(channel, namespace, filter)).transpose()?;
        let wish = Wish { filter, ..self.wish(namespace, offered, asked, grant.room) };
        let was_recovering = wish.since.is_some() && asked.is_some_and(|asked| asked.recover);
        let joined = self.services.relay.join(channel, namespace, &wish, &self.outbox).await;
        let joined = joined.map_err(|error| self.join_failure(channel, &error))?;
        let stands = joined.position.as_ref().map_or(Offset::NONE, |position| position.offset);
        debug!(client = %self.id, %channel, since = ?wish.since, %stands, outcome = %joined.outcome, "subscribed");
        if let Outcome::Refused(_) = &joined.outcome {
            let as_error = asked.is_some_and(|asked| asked.flag & FLAG_UNRECOVERABLE_IS_ERROR != 0);
            if as_error && was_recovering {
                return Err(ErrorCode::UnrecoverablePosition.into());
            }
        }
        if let Outcome::Recovered(messages) = &joined.outcome {
            self.check_carried(channel, messages)?;
        }
        let by = if grant.refreshed_by_server { Refresher::Server } else { Refresher::Client };
        let by_client = grant.expires_at.filter(|_| !grant.refreshed_by_server);
        let result = SubscribeResult {
            expires: by_client.is_some(),
            ttl: by_client.map_or(0, |at| ttl(remaining(at))),
            recoverable: offered.recoverable,
            positioned: offered.positioned || offered.recoverable,
            data: grant.data.unwrap_or_default(),
            delta: offered.patches,
            ..described(&joined, asked, was_recovering, offered, self.outbox.format().encoding())
        };
        self.enter(Subscription {
            membership: joined.membership,
            server_side,
            info: grant.info,
            expiry: grant.expires_at.map(|at| Expiry { at: moment(at), by }),
            attendance: None,
            token: grant.token,
        });
        self.attend(channel, namespace, grant.overrides, asked, server_side).await;
        Ok((result, joined.hold))
    }

    /// As where such publications come live: who cannot be given them is told so, and not given something else.
    pub(super) fn check_carried(&self, channel: &Channel, messages: &[Stored]) -> Result<(), Failure> {
        match self.services.relay.can_carry(channel, self.outbox.format().encoding(), messages) {
            true => Ok(()),
            false => Err(DisconnectCode::InappropriateProtocol.into()),
        }
    }

    fn wish(
        &self,
        namespace: &Namespace,
        offered: Offered,
        asked: Option<&SubscribeRequest>,
        room: Option<usize>,
    ) -> Wish {
        let recovering = asked.filter(|asked| asked.recover && offered.recoverable);
        let mut since = recovering.map(|asked| Since { offset: Offset(asked.offset), epoch: asked.epoch.clone() });
        if since.is_none() && namespace.auto_cache_recover && namespace.recovery_mode == RecoveryMode::Cache {
            since = Some(Since { offset: Offset::NONE, epoch: String::new() });
        }
        Wish {
            waits: false,
            since,
            positioned: offered.positioned || offered.recoverable,
            mode: namespace.recovery_mode,
            max_publications: self.services.client.recovery_max_publication_limit,
            // The reply must leave room for what is published meanwhile: a client that is closed as slow for its own
            // recovery would come back and ask the same.
            max_bytes: room.unwrap_or(self.services.client.queue_max_size / 2),
            patches: offered.patches,
            filter: None,
            slow: slow_reader(namespace, offered),
        }
    }

    fn filter(&self, channel: &Channel, namespace: &Namespace, asked: &FilterNode) -> Result<Arc<Filter>, Failure> {
        if !namespace.allow_tags_filter {
            debug!(client = %self.id, %channel, "subscription refused: the namespace does not set allow_tags_filter");
            return Err(ErrorCode::BadRequest.into());
        }
        Filter::of(asked).map(Arc::new).map_err(|error| {
            debug!(client = %self.id, %channel, "subscription refused: the filter is wrong: {error}");
            ErrorCode::BadRequest.into()
        })
    }

    fn join_failure(&self, channel: &Channel, error: &JoinError) -> Failure {
        debug!(client = %self.id, %channel, "could not subscribe: {error}");
        // All pass by themselves; the client tries again.
        match error {
            JoinError::Busy(_) => ErrorCode::TooManyRequests.into(),
            JoinError::Subscribe(_) | JoinError::History(_) | JoinError::Timeout(_) => ErrorCode::Internal.into(),
        }
    }
}

/// What the namespace, the grant and the request make of a subscription together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered {
    recoverable: bool,
    positioned: bool,
    patches: bool,
}

impl Offered {
    fn new(namespace: &Namespace, overrides: Overrides, asked: Option<&SubscribeRequest>) -> Self {
        let has_history = namespace.history.is_some();
        let wants = |wanted: fn(&SubscribeRequest) -> bool| asked.is_some_and(wanted);
        let recoverable = overrides.force_recovery.unwrap_or(namespace.force_recovery)
            || (namespace.allow_recovery && wants(|asked| asked.recoverable || asked.recover));
        let positioned = overrides.force_positioning.unwrap_or(namespace.force_positioning)
            || (namespace.allow_positioning && wants(|asked| asked.positioned));
        let patches =
            wants(|asked| asked.delta == "fossil") && namespace.allowed_delta_types.contains(&DeltaType::Fossil);
        Self { recoverable: recoverable && has_history, positioned, patches }
    }
}

/// A subscription that was promised everything, or a word, is never conflated: a grant can promise more than its namespace.
fn slow_reader(namespace: &Namespace, offered: Offered) -> hub::SlowReader {
    let promised = (offered.recoverable || offered.positioned) && namespace.recovery_mode == RecoveryMode::Stream;
    match namespace.slow_reader {
        SlowReader::Conflate if !promised => hub::SlowReader::Conflate,
        SlowReader::Close | SlowReader::Conflate => hub::SlowReader::Close,
        SlowReader::Recover => hub::SlowReader::Recover,
    }
}

/// The part of the result that says where the subscriber stands, and what it missed.
fn described(
    joined: &Joined,
    asked: Option<&SubscribeRequest>,
    was_recovering: bool,
    offered: Offered,
    encoding: Encoding,
) -> SubscribeResult {
    let positioned = offered.positioned || offered.recoverable;
    let position = joined.position.as_ref().filter(|_| positioned);
    let mut result = SubscribeResult {
        was_recovering,
        epoch: match position {
            Some(position) => position.epoch.to_string(),
            // Without history positions are never compared; an epoch must be there all the same.
            None if positioned => EPOCH_WITHOUT_HISTORY.to_owned(),
            None => String::new(),
        },
        offset: position.map_or(0, |position| position.offset.0),
        ..SubscribeResult::default()
    };
    if let Outcome::Recovered(messages) = &joined.outcome {
        result.recovered = true;
        result.publications = match offered.patches {
            true => patched(encoding, messages),
            false => messages.iter().filter(|message| !message.meta.tombstone).map(publication).collect(),
        };
        // The client advances by the publications that follow, from where it asked. Where its filter lets none pass it
        // stands at the top: it would ask again from ever further back otherwise.
        let none_passed = messages.is_empty() && asked.is_some_and(|asked| asked.tf.is_some());
        result.offset = asked.filter(|_| was_recovering && !none_passed).map_or(result.offset, |asked| asked.offset);
    }
    result
}
