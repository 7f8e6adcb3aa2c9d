//! Namespaces for tests.

use std::sync::Arc;
use std::time::Duration;

use midplane::settings::{DeltaType, HistoryOptions, Namespace, Namespaces, RecoveryMode, SlowReader};

/// A namespace that allows everything to everybody.
pub fn open(name: &str, history_size: Option<usize>) -> Namespace {
    Namespace {
        name: name.into(),
        history: history_size.map(|size| HistoryOptions {
            size,
            ttl: Duration::from_secs(600),
            horizon: Duration::from_secs(3600),
        }),
        force_recovery: history_size.is_some(),
        allow_recovery: history_size.is_some(),
        recovery_mode: RecoveryMode::Stream,
        auto_cache_recover: false,
        force_positioning: history_size.is_some(),
        allow_positioning: true,
        allow_subscribe_for_client: true,
        allow_subscribe_for_anonymous: true,
        allow_publish_for_client: true,
        allow_publish_for_subscriber: true,
        allow_publish_for_anonymous: true,
        allow_history_for_client: true,
        allow_history_for_subscriber: true,
        allow_history_for_anonymous: true,
        presence: true,
        join_leave: true,
        force_push_join_leave: false,
        leave_delay: Duration::ZERO,
        allow_presence_for_client: true,
        allow_presence_for_subscriber: true,
        allow_presence_for_anonymous: true,
        allow_user_limited_channels: true,
        channel_regex: None,
        publication_data_format: midplane::settings::DataFormat::NotEmpty,
        allowed_delta_types: vec![DeltaType::Fossil],
        delta_publish: true,
        allow_tags_filter: true,
        slow_reader: SlowReader::Close,
        subscribe_hook: false,
        publish_hook: false,
        sub_refresh_hook: false,
        socketio: None,
        ordered: false,
    }
}

/// A registry of those.
pub fn registry(namespaces: impl IntoIterator<Item = Namespace>) -> Namespaces {
    Namespaces(namespaces.into_iter().map(|namespace| (namespace.name.to_string(), Arc::new(namespace))).collect())
}
