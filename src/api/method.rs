//! The methods by name.

/// A method of the server API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    Publish,
    Broadcast,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Refresh,
    Presence,
    PresenceStats,
    History,
    HistoryRemove,
    Channels,
    Connections,
    BusiestChannels,
    Namespaces,
    Info,
    Rpc,
    RevokeToken,
    InvalidateUserTokens,
    SocketIoEmit,
    SocketIoJoin,
    SocketIoLeave,
    SocketIoDisconnect,
    SocketIoSockets,
    Batch,
}

/// Methods of Centrifugo, and of Centrifugo PRO, for what midplane does not have: user statuses and blocks, push
/// notifications, map channels, shared polls.
const ABSENT: [&str; 23] = [
    "block_user",
    "cancel_push",
    "delete_user_status",
    "device_list",
    "device_register",
    "device_remove",
    "device_topic_list",
    "device_topic_update",
    "device_update",
    "get_user_status",
    "map_clear",
    "map_publish",
    "map_read_state",
    "map_read_stream",
    "map_remove",
    "map_stats",
    "send_push_notification",
    "shared_poll_publish",
    "unblock_user",
    "update_push_status",
    "update_user_status",
    "user_topic_list",
    "user_topic_update",
];

impl Method {
    /// Every method.
    pub const ALL: [Self; 24] = [
        Self::Publish,
        Self::Broadcast,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Disconnect,
        Self::Refresh,
        Self::Presence,
        Self::PresenceStats,
        Self::History,
        Self::HistoryRemove,
        Self::Channels,
        Self::Connections,
        Self::BusiestChannels,
        Self::Namespaces,
        Self::Info,
        Self::Rpc,
        Self::RevokeToken,
        Self::InvalidateUserTokens,
        Self::SocketIoEmit,
        Self::SocketIoJoin,
        Self::SocketIoLeave,
        Self::SocketIoDisconnect,
        Self::SocketIoSockets,
        Self::Batch,
    ];

    /// The name in paths, subjects and batches.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Disconnect => "disconnect",
            Self::Refresh => "refresh",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::History => "history",
            Self::HistoryRemove => "history_remove",
            Self::Channels => "channels",
            Self::Connections => "connections",
            Self::BusiestChannels => "busiest_channels",
            Self::Namespaces => "namespaces",
            Self::Info => "info",
            Self::Rpc => "rpc",
            Self::RevokeToken => "revoke_token",
            Self::InvalidateUserTokens => "invalidate_user_tokens",
            Self::SocketIoEmit => "socketio_emit",
            Self::SocketIoJoin => "socketio_join",
            Self::SocketIoLeave => "socketio_leave",
            Self::SocketIoDisconnect => "socketio_disconnect",
            Self::SocketIoSockets => "socketio_sockets",
            Self::Batch => "batch",
        }
    }

    /// Whether it changes nothing. A service may change something for who calls it; a batch may hold anything.
    #[must_use]
    pub const fn only_looks(self) -> bool {
        match self {
            Self::Presence
            | Self::PresenceStats
            | Self::History
            | Self::Channels
            | Self::Connections
            | Self::BusiestChannels
            | Self::Namespaces
            | Self::Info
            | Self::SocketIoSockets => true,
            Self::Publish
            | Self::Broadcast
            | Self::Subscribe
            | Self::Unsubscribe
            | Self::Disconnect
            | Self::Refresh
            | Self::HistoryRemove
            | Self::Rpc
            | Self::RevokeToken
            | Self::InvalidateUserTokens
            | Self::SocketIoEmit
            | Self::SocketIoJoin
            | Self::SocketIoLeave
            | Self::SocketIoDisconnect
            | Self::Batch => false,
        }
    }

    /// The method of this name, exactly.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Whether Centrifugo has a method of this name that is not here: whoever calls it has not misspelt it.
    pub(super) fn is_absent(name: &str) -> bool {
        ABSENT.contains(&name)
    }

    /// The method of this number in the legacy form of a command, where those that came later have none.
    pub(super) const fn of_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Publish,
            1 => Self::Broadcast,
            2 => Self::Unsubscribe,
            3 => Self::Disconnect,
            4 => Self::Presence,
            5 => Self::PresenceStats,
            6 => Self::History,
            7 => Self::HistoryRemove,
            8 => Self::Channels,
            9 => Self::Info,
            10 => Self::Rpc,
            11 => Self::Subscribe,
            12 => Self::Refresh,
            _ => return None,
        })
    }
}
