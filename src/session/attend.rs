//! Presence: whom a subscription shows, whom it is told of, and who asks.

use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::commands::Answer;
use super::state::Session;
use super::subscription::Attendance;
use crate::auth::Overrides;
use crate::backplane::PresenceError;
use crate::presence::Present;
use crate::protocol::Channel;
use crate::protocol::centrifuge::codes::ErrorCode;
use crate::protocol::centrifuge::{PresenceResult, PresenceStatsResult, ReplyResult, SubscribeRequest};
use crate::settings::Namespace;

/// How long a subscriber waits until it is known who is there.
const PATIENCE: Duration = Duration::from_millis(800);

impl Session {
    /// Has the subscription that was just entered seen by others, and told of them, as far as its channel wants that.
    pub(super) async fn attend(
        &mut self,
        channel: &Channel,
        namespace: &Arc<Namespace>,
        overrides: Overrides,
        asked: Option<&SubscribeRequest>,
        server_side: bool,
    ) {
        let join_leave = overrides.join_leave.unwrap_or(namespace.join_leave);
        let recorded = overrides.presence.unwrap_or(namespace.presence) || join_leave;
        let forced = join_leave && overrides.force_push_join_leave.unwrap_or(namespace.force_push_join_leave);
        let told = forced
            || (join_leave
                && asked.is_some_and(|asked| asked.join_leave)
                && self.asker(channel).may_see_presence(namespace));
        if !recorded && !told {
            return;
        }
        let presence = &self.services.presence;
        // A connect may have many of them: one waiting after the other would be too long for its client.
        let patience = if server_side { Duration::ZERO } else { PATIENCE };
        // First the view: whoever is told of others is told of itself as well.
        let listening = match told {
            true => Some(presence.listen(channel, namespace.leave_delay, &self.outbox, patience).await),
            false => None,
        };
        let stay = recorded.then(|| presence.enter(channel, self.id, &self.info(channel)));
        if let Some(index) = self.position_of(channel) {
            self.subscriptions[index].attendance = Some(Box::new(Attendance { stay, listening }));
        }
    }

    /// Others see what is new about this client.
    pub(super) fn show_changes(&self) {
        for subscription in &self.subscriptions {
            let stay = subscription.attendance.as_ref().and_then(|attendance| attendance.stay.as_ref());
            stay.into_iter().for_each(|stay| stay.update(&self.info(subscription.channel())));
        }
    }

    pub(super) async fn presence(&self, channel: &str) -> Answer {
        let present = self.present(channel).await?;
        Ok(Some(ReplyResult::Presence(PresenceResult { presence: present.clients() })))
    }

    pub(super) async fn presence_stats(&self, channel: &str) -> Answer {
        let (clients, users) = self.present(channel).await?.counts();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let stats = PresenceStatsResult { num_clients: number(clients), num_users: number(users) };
        Ok(Some(ReplyResult::PresenceStats(stats)))
    }

    async fn present(&self, channel: &str) -> Result<Present, super::Failure> {
        let (channel, namespace) = self.channel(channel)?;
        if !namespace.presence {
            return Err(ErrorCode::NotAvailable.into());
        }
        if !self.asker(&channel).may_see_presence(&namespace) {
            return Err(ErrorCode::PermissionDenied.into());
        }
        self.services.presence.list(&channel).await.map_err(|error: PresenceError| {
            debug!(client = %self.id, %channel, "{error}");
            ErrorCode::Internal.into()
        })
    }
}
