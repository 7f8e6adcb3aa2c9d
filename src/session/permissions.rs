//! What a namespace's options allow a client, as pure questions.

use crate::protocol::Channel;
use crate::settings::Namespace;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    /// `""` for an anonymous user.
    pub(super) user: &'a str,
    /// It listens to the channel already.
    pub(super) subscribed: bool,
}

impl Asker<'_> {
    const fn passes(self, for_client: bool, for_subscriber: bool, for_anonymous: bool) -> bool {
        let granted = for_client || (for_subscriber && self.subscribed);
        granted && (for_anonymous || !self.user.is_empty())
    }

    /// Whether it may publish without anybody being asked.
    pub(super) const fn may_publish(self, namespace: &Namespace) -> bool {
        self.passes(
            namespace.allow_publish_for_client,
            namespace.allow_publish_for_subscriber,
            namespace.allow_publish_for_anonymous,
        )
    }

    /// Whether it may read history.
    pub(super) const fn may_read_history(self, namespace: &Namespace) -> bool {
        self.passes(
            namespace.allow_history_for_client,
            namespace.allow_history_for_subscriber,
            namespace.allow_history_for_anonymous,
        )
    }

    /// Whether it may see who is there, and ask to be told who comes and goes.
    pub(super) const fn may_see_presence(self, namespace: &Namespace) -> bool {
        self.passes(
            namespace.allow_presence_for_client,
            namespace.allow_presence_for_subscriber,
            namespace.allow_presence_for_anonymous,
        )
    }

    /// Whether it may subscribe without a token and without anybody being asked.
    pub(super) const fn may_subscribe(self, namespace: &Namespace) -> bool {
        self.passes(namespace.allow_subscribe_for_client, false, namespace.allow_subscribe_for_anonymous)
    }
}

/// Whether a channel limited to users (`#`) is limited to this one; `None` for a channel that is not limited.
pub(super) fn belongs_to(channel: &Channel, namespace: &Namespace, user: &str) -> Option<bool> {
    if !namespace.allow_user_limited_channels {
        return None;
    }
    let mut users = channel.limited_to()?;
    Some(!user.is_empty() && users.any(|limited| limited == user))
}

/// Whether a user may come into a channel by name at all, where some rule lets it in: the name is one of the namespace's, and not
/// that of others, nor one that only a subscription token opens.
pub fn is_open_to(channel: &Channel, namespace: &Namespace, user: &str) -> bool {
    let named = namespace.channel_regex.as_ref().is_none_or(|regex| regex.is_match(channel.rest()));
    named && !channel.is_private() && belongs_to(channel, namespace, user).unwrap_or(true)
}

/// Whether the part behind the namespace is one that the namespace accepts. Without a regex: ASCII only.
pub(super) fn fits(channel: &Channel, namespace: &Namespace) -> bool {
    match &namespace.channel_regex {
        Some(regex) => regex.is_match(channel.rest()),
        None => channel.as_str().is_ascii(),
    }
}
