//! Channels: the registry of namespaces.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use config::ValueKind;
use regex::Regex;

use super::super::channels::{
    CANARY_NAMESPACE, Channels, HistoryOptions, Namespace, Namespaces, RecoveryMode, SlowReader,
};
use super::super::section::Section;
use super::super::unknown;
use super::foreign::{is_foreign, refuse_foreign};

/// With the longest `nats.prefix` it still fits into the name of a stream, which may have 255 bytes.
const LONGEST_NAME: usize = 128;

pub(super) fn read(section: &Section<'_>) -> Channels {
    let horizon = section.take("history_meta_ttl");
    let max_length: usize = section.take("max_length");
    if !(1..=255).contains(&max_length) {
        section.refuse("max_length", "not between 1 and 255");
    }
    let without_namespace = section.section("without_namespace");
    let mut namespaces = HashMap::new();
    namespaces.insert(String::new(), Arc::new(namespace(&without_namespace, "", horizon)));
    for section in section.list("namespaces", "without_namespace") {
        unknown_options(&section);
        let name = name(&section, max_length);
        let namespace = Arc::new(namespace(&section, &name, horizon));
        if namespaces.insert(name.clone(), namespace).is_some() && !name.is_empty() {
            section.refuse("name", "two namespaces have this name");
        }
    }
    Channels { max_length, namespaces: Namespaces(namespaces) }
}

fn unknown_options(section: &Section<'_>) {
    let given = section.given().map(|(key, value)| (key.to_owned(), value.clone())).collect();
    let elsewhere = |path: &str, key: &str| key == "name" || is_foreign(path, key);
    unknown::find(section.path(), &given, section.defaults(), section.findings(), &elsewhere);
}

fn name(section: &Section<'_>, max_length: usize) -> String {
    let name = section.value("name").map(|value| match &value.kind {
        ValueKind::String(name) => name.clone(),
        _ => String::new(),
    });
    match name {
        Some(name) if name == CANARY_NAMESPACE => {
            section.refuse("name", "the nodes' own (try another)");
            String::new()
        }
        // A channel has a boundary behind it, and something behind that.
        Some(name) if is_name(&name) && name.len() + 2 > max_length => {
            section.refuse("name", "no name of a channel in it would be within channel.max_length");
            String::new()
        }
        Some(name) if is_name(&name) => name,
        Some(_) => {
            section.refuse("name", "not a namespace's name (two to 128 letters, digits, \"-\" and \"_\")");
            String::new()
        }
        None => {
            section.refuse("name", "not set (options of channels without a namespace are [channel.without_namespace])");
            String::new()
        }
    }
}

fn is_name(name: &str) -> bool {
    (2..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn namespace(section: &Section<'_>, name: &str, horizon: Duration) -> Namespace {
    refuse_foreign(section);
    let namespace = Namespace {
        name: name.into(),
        history: history(section, horizon),
        force_recovery: section.take("force_recovery"),
        allow_recovery: section.take("allow_recovery"),
        recovery_mode: section.take("force_recovery_mode"),
        auto_cache_recover: section.take("auto_cache_recover"),
        force_positioning: section.take("force_positioning"),
        allow_positioning: section.take("allow_positioning"),
        allow_subscribe_for_client: section.take("allow_subscribe_for_client"),
        allow_subscribe_for_anonymous: section.take("allow_subscribe_for_anonymous"),
        allow_publish_for_client: section.take("allow_publish_for_client"),
        allow_publish_for_subscriber: section.take("allow_publish_for_subscriber"),
        allow_publish_for_anonymous: section.take("allow_publish_for_anonymous"),
        allow_history_for_client: section.take("allow_history_for_client"),
        allow_history_for_subscriber: section.take("allow_history_for_subscriber"),
        allow_history_for_anonymous: section.take("allow_history_for_anonymous"),
        presence: section.take("presence"),
        join_leave: section.take("join_leave"),
        force_push_join_leave: section.take("force_push_join_leave"),
        leave_delay: section.take("leave_delay"),
        allow_presence_for_client: section.take("allow_presence_for_client"),
        allow_presence_for_subscriber: section.take("allow_presence_for_subscriber"),
        allow_presence_for_anonymous: section.take("allow_presence_for_anonymous"),
        allow_user_limited_channels: section.take("allow_user_limited_channels"),
        channel_regex: section.take::<Option<Regex>>("channel_regex"),
        publication_data_format: section.take("publication_data_format"),
        allowed_delta_types: section.take("allowed_delta_types"),
        delta_publish: section.take("delta_publish"),
        allow_tags_filter: section.take("allow_tags_filter"),
        slow_reader: section.take("slow_reader"),
        subscribe_hook: section.take("subscribe_proxy_enabled"),
        publish_hook: section.take("publish_proxy_enabled"),
        sub_refresh_hook: section.take("sub_refresh_proxy_enabled"),
        socketio: None,
        ordered: false,
    };
    check_recovery(section, &namespace);
    check_presence(section, &namespace);
    check_slow_reader(section, &namespace);
    namespace
}

fn history(section: &Section<'_>, horizon: Duration) -> Option<HistoryOptions> {
    let size: usize = section.take("history_size");
    let ttl: Duration = section.take("history_ttl");
    let own: Duration = section.take("history_meta_ttl");
    match (size > 0, ttl.is_zero()) {
        (true, true) => section.refuse("history_size", "history needs history_ttl as well (try \"5m\")"),
        (false, false) => section.refuse("history_ttl", "history needs history_size as well (try 100)"),
        _ => {}
    }
    if size == 0 || ttl.is_zero() {
        return None;
    }
    let horizon = if own.is_zero() { horizon } else { own };
    if horizon < ttl {
        let (horizon, ttl) = (humantime::format_duration(horizon), humantime::format_duration(ttl));
        section.refuse("history_meta_ttl", format!("{horizon} is shorter than history_ttl = \"{ttl}\""));
    }
    Some(HistoryOptions { size, ttl, horizon })
}

/// Nobody who was promised everything may be sent less without a word.
fn check_slow_reader(section: &Section<'_>, namespace: &Namespace) {
    match namespace.slow_reader {
        SlowReader::Close => {}
        SlowReader::Recover if namespace.history.is_some() => {}
        SlowReader::Recover => {
            section.refuse("slow_reader", "recovers from history (set history_size and history_ttl)");
        }
        SlowReader::Conflate => {
            let recovers = namespace.force_recovery || namespace.allow_recovery;
            let positions = namespace.force_positioning || namespace.allow_positioning;
            if recovers && namespace.recovery_mode == RecoveryMode::Stream {
                section.refuse("slow_reader", "leaves publications out, which recovery promises not to (try \"recover\", or force_recovery_mode = \"cache\")");
            } else if positions && namespace.recovery_mode == RecoveryMode::Stream {
                section.refuse("slow_reader", "leaves publications out without a word, and positioning promises a word (try \"recover\" or \"close\")");
            }
        }
    }
}

fn check_recovery(section: &Section<'_>, namespace: &Namespace) {
    if namespace.history.is_none() {
        for (key, set) in [("force_recovery", namespace.force_recovery), ("allow_recovery", namespace.allow_recovery)] {
            if set {
                section.refuse(key, "recovery needs history (set history_size and history_ttl)");
            }
        }
    }
    let cache = namespace.force_recovery && namespace.recovery_mode == RecoveryMode::Cache;
    if namespace.auto_cache_recover && !cache {
        section.refuse("auto_cache_recover", "needs force_recovery = true and force_recovery_mode = \"cache\"");
    }
}

fn check_presence(section: &Section<'_>, namespace: &Namespace) {
    if !namespace.presence && !namespace.join_leave {
        for (key, set) in [
            ("allow_presence_for_client", namespace.allow_presence_for_client),
            ("allow_presence_for_subscriber", namespace.allow_presence_for_subscriber),
        ] {
            if set {
                section.refuse(key, "there is nothing to see without presence or join_leave");
            }
        }
    }
    if !namespace.join_leave {
        for (key, set) in [
            ("force_push_join_leave", namespace.force_push_join_leave),
            ("leave_delay", !namespace.leave_delay.is_zero()),
        ] {
            if set {
                section.refuse(key, "needs join_leave = true");
            }
        }
    }
}
