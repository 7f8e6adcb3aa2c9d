//! What operators who watch see of a session.

use uuid::Uuid;

use super::services::Services;
use super::state::Session;
use super::subscription::Subscription;
use crate::watch::What;

impl Session {
    /// Tells who watches what happens to the client. While nobody watches it costs a look at a flag.
    pub(super) fn seen(&self, what: impl FnOnce() -> What) {
        let watch = &self.services.watch;
        if watch.is_on()
            && let Some(client) = self.client()
        {
            watch.saw(&client.user, self.id, what());
        }
    }
}

/// Tells who watches that a client's connection has ended, and with it its subscriptions.
pub(super) fn gone(
    services: &Services,
    (user, client): (&str, Uuid),
    subscriptions: &[Subscription],
    (code, reason): (u16, &str),
) {
    if !services.watch.is_on() {
        return;
    }
    for subscription in subscriptions {
        let channel = subscription.channel().to_string();
        services.watch.saw(user, client, What::Left { channel, code, reason: reason.to_owned() });
    }
    services.watch.saw(user, client, What::Closed { code, reason: reason.to_owned() });
}
