//! Channel names: parsed once at the edge, valid everywhere behind it.

use std::fmt;
use std::sync::Arc;

/// What separates a namespace from the rest of the name.
pub const NAMESPACE_BOUNDARY: char = ':';
/// Leads the names of channels that need a subscription token.
pub const PRIVATE_PREFIX: char = '$';
/// Stands before the list of users that a channel is limited to.
pub const USER_BOUNDARY: char = '#';
/// Separates the users in that list.
pub const USER_SEPARATOR: char = ',';

/// The rest of the name of a channel that nobody can name: [`Channel::parse`] refuses it.
const OF_EVENTS: &str = "\u{1}events";
const OF_MARKS: &str = "\u{1}marks";

/// A channel's whole name, as clients write it: `namespace:rest`, or `rest` in the default namespace.
///
/// Cheap to clone: hub, relay and sessions share one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(Arc<str>);

/// Why a name is not a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    #[error("channel name is empty")]
    Empty,
    #[error("channel name is {length} bytes long, at most {limit} are allowed")]
    TooLong { length: usize, limit: usize },
    #[error("channel name has nothing behind its namespace")]
    NoRest,
    #[error("channel name holds the control character U+{0:04X}")]
    Control(u32),
}

impl Channel {
    /// Parses a name of at most `max_length` bytes.
    ///
    /// Whether the namespace exists and the name satisfies its `channel_regex` is for
    /// [`Namespaces`](crate::settings::Namespaces) to say.
    ///
    /// # Errors
    /// Empty, too long, nothing behind the namespace, or control characters (which no wire could carry safely).
    pub fn parse(name: &str, max_length: usize) -> Result<Self, ChannelError> {
        if name.is_empty() {
            return Err(ChannelError::Empty);
        }
        if name.len() > max_length {
            return Err(ChannelError::TooLong { length: name.len(), limit: max_length });
        }
        if let Some(control) = name.chars().find(|c| c.is_control()) {
            return Err(ChannelError::Control(control as u32));
        }
        let channel = Self(name.into());
        if channel.rest().is_empty() { Err(ChannelError::NoRest) } else { Ok(channel) }
    }

    /// The channel of a namespace for events that are for more than one of its channels. Neither clients nor the server API
    /// can name it.
    #[must_use]
    pub fn of_events(namespace: &str) -> Self {
        Self::unnameable(namespace, OF_EVENTS)
    }

    /// What stands for whatever is stored in a namespace and is in none of its channels.
    #[must_use]
    pub fn of_marks(namespace: &str) -> Self {
        Self::unnameable(namespace, OF_MARKS)
    }

    fn unnameable(namespace: &str, rest: &str) -> Self {
        match namespace {
            "" => Self(rest.into()),
            namespace => Self(format!("{namespace}{NAMESPACE_BOUNDARY}{rest}").into()),
        }
    }

    /// Whether it is one of those.
    #[must_use]
    pub fn is_of_events(&self) -> bool {
        self.rest() == OF_EVENTS
    }

    /// Takes a name as it stands in the backplane: one that can be parsed, or that of events.
    #[must_use]
    pub fn stored(name: &str) -> Option<Self> {
        Self::parse(name, usize::MAX).ok().or_else(|| Some(Self(name.into())).filter(Self::is_of_events))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace's name, `""` for the default one. A leading `$` does not belong to it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        let name = self.bare();
        name.split_once(NAMESPACE_BOUNDARY).map_or("", |(namespace, _)| namespace)
    }

    /// What stands behind the namespace.
    #[must_use]
    pub fn rest(&self) -> &str {
        let name = self.bare();
        name.split_once(NAMESPACE_BOUNDARY).map_or(name, |(_, rest)| rest)
    }

    /// Whether only a subscription token opens it (`$` in front).
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.0.starts_with(PRIVATE_PREFIX)
    }

    /// The users it is limited to: those behind the last `#`; `None` for a channel without `#`.
    #[must_use]
    pub fn limited_to(&self) -> Option<impl Iterator<Item = &str>> {
        self.0.rsplit_once(USER_BOUNDARY).map(|(_, users)| users.split(USER_SEPARATOR))
    }

    fn bare(&self) -> &str {
        self.0.strip_prefix(PRIVATE_PREFIX).unwrap_or(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name, 255).expect("a valid name")
    }

    #[test]
    fn a_namespace_ends_at_the_first_colon_and_leaves_out_the_private_prefix() {
        for (name, namespace, rest) in [
            ("news", "", "news"),
            ("chat:room.1", "chat", "room.1"),
            ("chat:a:b", "chat", "a:b"),
            ("$chat:room", "chat", "room"),
            ("$room", "", "room"),
        ] {
            assert_eq!((channel(name).namespace(), channel(name).rest()), (namespace, rest), "{name}");
        }
    }

    #[test]
    fn users_stand_behind_the_last_hash() {
        let users: Vec<_> = channel("a#b#42,43").limited_to().expect("limited").map(str::to_owned).collect();
        assert_eq!(users, ["42", "43"]);
        assert!(channel("open").limited_to().is_none());
    }

    #[test]
    fn the_channel_of_events_is_one_that_nobody_can_name() {
        for namespace in ["", "chat"] {
            let events = Channel::of_events(namespace);
            assert_eq!((events.namespace(), events.is_of_events()), (namespace, true));
            assert!(Channel::parse(events.as_str(), 255).is_err());
            assert_eq!(Channel::stored(events.as_str()), Some(events));
        }
        assert!(!channel("chat:events").is_of_events());
        assert_eq!(Channel::stored("chat:\u{1}other"), None);
    }

    #[test]
    fn what_no_wire_can_carry_is_refused() {
        assert_eq!(Channel::parse("", 255), Err(ChannelError::Empty));
        assert_eq!(Channel::parse("chat:", 255), Err(ChannelError::NoRest));
        assert_eq!(Channel::parse("$", 255), Err(ChannelError::NoRest));
        assert_eq!(Channel::parse("a\nb", 255), Err(ChannelError::Control(10)));
        assert_eq!(Channel::parse("abcd", 3), Err(ChannelError::TooLong { length: 4, limit: 3 }));
    }
}
