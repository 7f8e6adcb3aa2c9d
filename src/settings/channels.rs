//! Channels as they are configured: the namespaces and their options.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::protocol::Channel;

/// The namespace of the delivery canary; no other may have its name.
pub const CANARY_NAMESPACE: &str = "_canary";

#[derive(Debug, Clone)]
pub struct Channels {
    /// Bytes in a channel's name.
    pub max_length: usize,
    pub namespaces: Namespaces,
}

/// The registry of namespaces, by name; the default one has the name `""`.
#[derive(Debug, Clone)]
pub struct Namespaces(pub HashMap<String, Arc<Namespace>>);

/// The channel's namespace is not configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown namespace {0:?}")]
pub struct UnknownNamespace(pub String);

impl Namespaces {
    /// The options of the namespace that `channel` belongs to.
    ///
    /// # Errors
    /// When no such namespace is configured.
    pub fn of(&self, channel: &Channel) -> Result<&Arc<Namespace>, UnknownNamespace> {
        let name = channel.namespace();
        self.0.get(name).ok_or_else(|| UnknownNamespace(name.to_owned()))
    }

    /// Whether any namespace records who is there.
    #[must_use]
    pub fn record_presence(&self) -> bool {
        self.iter().any(|namespace| namespace.presence || namespace.join_leave)
    }

    /// The names of those that are delivered in one order.
    pub fn ordered(&self) -> impl Iterator<Item = Arc<str>> {
        self.iter().filter(|namespace| namespace.ordered).map(|namespace| Arc::clone(&namespace.name))
    }

    /// Every namespace, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.0.values()
    }
}

/// The options of one namespace, with Centrifugo's names and meanings.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// `""` for the default namespace.
    pub name: Arc<str>,
    /// `None` where neither `history_size` nor `history_ttl` is set.
    pub history: Option<HistoryOptions>,
    pub force_recovery: bool,
    pub allow_recovery: bool,
    pub recovery_mode: RecoveryMode,
    pub auto_cache_recover: bool,
    pub force_positioning: bool,
    pub allow_positioning: bool,
    pub allow_subscribe_for_client: bool,
    pub allow_subscribe_for_anonymous: bool,
    pub allow_publish_for_client: bool,
    pub allow_publish_for_subscriber: bool,
    pub allow_publish_for_anonymous: bool,
    pub allow_history_for_client: bool,
    pub allow_history_for_subscriber: bool,
    pub allow_history_for_anonymous: bool,
    /// Whoever subscribes is recorded.
    pub presence: bool,
    /// Subscribers may be told who comes and goes.
    pub join_leave: bool,
    /// All subscribers are told.
    pub force_push_join_leave: bool,
    /// A user who is back within this time never left; zero tells of every client.
    pub leave_delay: Duration,
    pub allow_presence_for_client: bool,
    pub allow_presence_for_subscriber: bool,
    pub allow_presence_for_anonymous: bool,
    pub allow_user_limited_channels: bool,
    pub channel_regex: Option<Regex>,
    pub publication_data_format: DataFormat,
    /// What subscribers may ask for.
    pub allowed_delta_types: Vec<DeltaType>,
    /// Every publication may be sent as a patch to those who read patches, not only those that ask for it.
    pub delta_publish: bool,
    pub allow_tags_filter: bool,
    pub slow_reader: SlowReader,
    pub subscribe_hook: bool,
    pub publish_hook: bool,
    pub sub_refresh_hook: bool,
    /// The namespace of Socket.IO whose rooms its channels are.
    pub socketio: Option<Arc<str>>,
    /// All its channels are delivered in one order: clients of that namespace know how far they are by one offset.
    pub ordered: bool,
}

impl Namespace {
    /// An option of it, in the words in which it is set.
    #[must_use]
    pub fn option(&self, key: &str) -> String {
        match &*self.name {
            "" => format!("channel.without_namespace.{key}"),
            name => format!("{key} of namespace {name:?}"),
        }
    }

    /// One that no client may use.
    #[must_use]
    pub fn closed(name: &str, history: HistoryOptions) -> Self {
        Self {
            name: name.into(),
            history: Some(history),
            force_recovery: false,
            allow_recovery: false,
            recovery_mode: RecoveryMode::default(),
            auto_cache_recover: false,
            force_positioning: false,
            allow_positioning: false,
            allow_subscribe_for_client: false,
            allow_subscribe_for_anonymous: false,
            allow_publish_for_client: false,
            allow_publish_for_subscriber: false,
            allow_publish_for_anonymous: false,
            allow_history_for_client: false,
            allow_history_for_subscriber: false,
            allow_history_for_anonymous: false,
            presence: false,
            join_leave: false,
            force_push_join_leave: false,
            leave_delay: Duration::ZERO,
            allow_presence_for_client: false,
            allow_presence_for_subscriber: false,
            allow_presence_for_anonymous: false,
            allow_user_limited_channels: false,
            channel_regex: None,
            publication_data_format: DataFormat::default(),
            allowed_delta_types: Vec::new(),
            delta_publish: false,
            allow_tags_filter: false,
            slow_reader: SlowReader::default(),
            subscribe_hook: false,
            publish_hook: false,
            sub_refresh_hook: false,
            socketio: None,
            ordered: false,
        }
    }
}

/// How much of a namespace is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Publications a reader may get of one channel.
    pub size: usize,
    /// How long a publication may be read.
    pub ttl: Duration,
    /// How long it is kept to prove that nothing was missed (`history_meta_ttl`); at least `ttl`.
    pub horizon: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecoveryMode {
    /// Everything that was missed, or a refusal.
    #[default]
    Stream,
    /// The latest publication only.
    Cache,
}

/// A kind of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaType {
    Fossil,
}

/// What happens to a subscriber that reads more slowly than publications come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowReader {
    /// Its connection is closed.
    #[default]
    Close,
    /// Only the newest publication of a channel waits for it.
    Conflate,
    /// It gets what it missed from history, once it has read what waits.
    Recover,
}

/// What a publication's data must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataFormat {
    /// Anything but empty (JSON where JSON clients publish it).
    #[default]
    NotEmpty,
    Json,
    JsonObject,
    /// Anything, empty too.
    Binary,
}
