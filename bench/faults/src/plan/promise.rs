//! What channels of a namespace promise (`world/node.toml`).

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// History that holds the whole run.
    Kept,
    /// The same, and who reads too slowly is parked, and gets what it missed from history.
    Parked,
    /// History that holds little: who is away for long is refused.
    Short,
    /// At most once.
    Plain,
    /// The same, and who reads too slowly gets only the newest.
    Latest,
    /// The same, and who may have missed something is told.
    Watched,
    /// Presence, joins and leaves.
    Room,
    /// The same of users, who may be away for a moment.
    Lounge,
}

impl Promise {
    pub const ALL: [Self; 8] =
        [Self::Kept, Self::Parked, Self::Short, Self::Plain, Self::Latest, Self::Watched, Self::Room, Self::Lounge];

    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Parked => "parked",
            Self::Short => "short",
            Self::Plain => "plain",
            Self::Latest => "latest",
            Self::Watched => "watched",
            Self::Room => "room",
            Self::Lounge => "lounge",
        }
    }

    /// What a channel's name says.
    pub fn of(channel: &str) -> Option<Self> {
        let (namespace, _) = channel.split_once(':')?;
        Self::ALL.into_iter().find(|promise| promise.namespace() == namespace)
    }

    pub const fn recovers(self) -> bool {
        matches!(self, Self::Kept | Self::Parked | Self::Short)
    }

    /// Whether nobody can have missed more than its history holds.
    pub const fn holds_all(self) -> bool {
        matches!(self, Self::Kept | Self::Parked)
    }

    /// Whether who missed little is never refused besides: as much as fits into one reply. Heavy publications do not.
    pub const fn refuses_nobody(self) -> bool {
        matches!(self, Self::Kept)
    }

    pub const fn is_at_most_once(self) -> bool {
        matches!(self, Self::Plain | Self::Latest | Self::Watched)
    }

    /// Whether joins and leaves are told in it, and nothing is published.
    pub const fn has_presence(self) -> bool {
        matches!(self, Self::Room | Self::Lounge)
    }

    /// Whether its publications are large enough to fill the queue of who does not read.
    pub const fn is_heavy(self) -> bool {
        matches!(self, Self::Parked | Self::Latest)
    }
}
