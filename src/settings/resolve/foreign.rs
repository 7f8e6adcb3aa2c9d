//! Options that Centrifugo has and that are refused here with a reason. Harmless where they are off.

use config::{Value, ValueKind};

use super::super::section::Section;

/// By the beginning of their tables' paths, with what to say about them.
const FOREIGN: [(&str, &str, &str); 12] = [
    (NAMESPACES, "subscribe_proxy_name", ONE_HOOK),
    (NAMESPACES, "publish_proxy_name", ONE_HOOK),
    (NAMESPACES, "sub_refresh_proxy_name", ONE_HOOK),
    (NAMESPACES, "subscribe_stream_proxy_enabled", NO_STREAMS),
    (NAMESPACES, "subscribe_stream_proxy_name", NO_STREAMS),
    (NAMESPACES, "subscribe_stream_proxy_bidirectional", NO_STREAMS),
    (NAMESPACES, "subscription_type", ONE_KIND),
    (NAMESPACES, "map", ONE_KIND),
    (NAMESPACES, "shared_poll", ONE_KIND),
    (NAMESPACES, "map_clients_presence_channel_prefix", ONE_KIND),
    (NAMESPACES, "map_users_presence_channel_prefix", ONE_KIND),
    (
        "client.subscribe_to_user_personal_channel",
        "single_connection",
        "not an option here (set client.user_connection_limit = 1 with client.user_connection_overflow = \"replace\")",
    ),
];
const NAMESPACES: &str = "channel.";
const ONE_HOOK: &str = "there is one hook of each kind, in [hooks]; leave it \"default\"";
const NO_STREAMS: &str = "subscription streams of a proxy are not supported";
const ONE_KIND: &str = "only the ordinary kind of channel is supported";

/// Whether `key` in the table at `path` is one of them.
pub(in super::super) fn is_foreign(path: &str, key: &str) -> bool {
    foreign(path, key).is_some()
}

fn foreign(path: &str, key: &str) -> Option<&'static str> {
    let found = FOREIGN.iter().find(|(table, name, _)| path.starts_with(table) && *name == key);
    found.map(|(.., why)| *why)
}

/// Refuses those that are set in a table.
pub(super) fn refuse_foreign(section: &Section<'_>) {
    let given = section.given();
    let mut found: Vec<_> =
        given.filter_map(|(key, value)| Some((key, value, foreign(section.path(), key)?))).collect();
    found.sort_by_key(|(key, ..)| *key);
    for (key, value, why) in found {
        if !is_off(value) {
            section.refuse(key, why);
        }
    }
}

/// Whether an option that we do not have is set to what it is anyway.
fn is_off(value: &Value) -> bool {
    match &value.kind {
        ValueKind::Nil => true,
        ValueKind::Boolean(on) => !on,
        ValueKind::String(text) => matches!(text.as_str(), "" | "default" | "false"),
        ValueKind::I64(number) => *number == 0,
        ValueKind::Array(values) => values.is_empty(),
        ValueKind::Table(table) => table.values().all(is_off),
        ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) | ValueKind::Float(_) => false,
    }
}
