//! Clients: who may connect, from where, and their limits.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::super::channels::Channels;
use super::super::model::{Bounds, Client, ConnectionLimit, OriginPattern};
use super::super::section::{Section, Table};
use super::super::value::{ByteLimit, Bytes, FromValue, Limit, Positive, WebAddress};
use super::foreign::refuse_foreign;
use super::{at, token};

/// Whether anything says who a client is, or that nobody cares.
pub(super) fn told_apart(values: &Table) -> bool {
    let anonymous = at(values, &["client", "allow_anonymous_connect_without_token"])
        .is_some_and(|value| bool::from_value(value) == Ok(true));
    let key = token::KEYS.iter().any(|key| at(values, &["client", "token", key]).is_some());
    anonymous || key || at(values, &["hooks", "connect", "endpoint"]).is_some()
}

pub(super) fn read(section: &Section<'_>, channels: &Channels, development: bool) -> Client {
    let ping_interval: Duration = section.take("ping_interval");
    let pong_timeout = pong_timeout(section, ping_interval);
    let positive = |key| {
        let limit: usize = section.take(key);
        if limit == 0 {
            section.refuse(key, "nothing would pass (try a number from 1 on)");
        }
        limit
    };
    Client {
        allowed_origins: allowed_origins(section),
        allow_anonymous_connect_without_token: section.take("allow_anonymous_connect_without_token"),
        disallow_anonymous_connection_tokens: section.take("disallow_anonymous_connection_tokens"),
        token: token::connection(&section.section("token"), development),
        subscription_token: token::subscription(&section.section("subscription_token"), development),
        ping_interval,
        pong_timeout,
        stale_close_delay: section.take::<Positive>("stale_close_delay").0,
        expired_close_delay: section.take("expired_close_delay"),
        expired_sub_close_delay: section.take("expired_sub_close_delay"),
        channel_limit: positive("channel_limit"),
        queue_max_size: size(section, "queue_max_size"),
        message_size_limit: size(section, "message_size_limit"),
        publish_rate: section.take::<Limit>("publish_rate").0,
        subscribe_rate: section.take::<Limit>("subscribe_rate").0,
        command_rate: section.take::<Limit>("command_rate").0,
        bytes_rate: section.take::<ByteLimit>("bytes_rate").0,
        connects: bounds(&section.section("connects")),
        recoveries: bounds(&section.section("recoveries")),
        user_connection_limit: connection_limit(section),
        user_connect_rate: section.take::<Limit>("user_connect_rate").0,
        user_publish_rate: section.take::<Limit>("user_publish_rate").0,
        user_command_rate: section.take::<Limit>("user_command_rate").0,
        connect_include_server_time: section.take("connect_include_server_time"),
        history_max_publication_limit: positive("history_max_publication_limit"),
        recovery_max_publication_limit: positive("recovery_max_publication_limit"),
        user_personal_channel: personal_channel(&section.section("subscribe_to_user_personal_channel"), channels),
    }
}

fn bounds(section: &Section<'_>) -> Bounds {
    let concurrency = section.take("concurrency");
    if concurrency == 0 {
        section.refuse("concurrency", "nothing would pass (try a number from 1 on)");
    }
    Bounds { concurrency, queue: section.take("queue"), wait: section.take::<Positive>("wait").0 }
}

fn connection_limit(section: &Section<'_>) -> Option<ConnectionLimit> {
    let overflow = section.take("user_connection_overflow");
    NonZeroUsize::new(section.take("user_connection_limit")).map(|most| ConnectionLimit { most, overflow })
}

fn size(section: &Section<'_>, key: &'static str) -> usize {
    let Bytes(size) = section.take(key);
    if size < 1024 {
        section.refuse(key, "too small for a message (try \"64KiB\")");
    }
    size
}

fn pong_timeout(section: &Section<'_>, ping_interval: Duration) -> Option<Duration> {
    if ping_interval < Duration::from_secs(1) {
        section.refuse("ping_interval", "shorter than a second, which is the unit that clients are told (try \"25s\")");
    }
    let Pong(timeout) = section.take("pong_timeout");
    if timeout.is_some_and(|timeout| timeout >= ping_interval) {
        let interval = humantime::format_duration(ping_interval);
        section.refuse("pong_timeout", format!("not shorter than client.ping_interval = \"{interval}\""));
    }
    timeout
}

/// A duration, or "off".
struct Pong(Option<Duration>);

impl FromValue for Pong {
    fn from_value(value: &config::Value) -> Result<Self, String> {
        if String::from_value(value).is_ok_and(|text| text == "off") {
            return Ok(Self(None));
        }
        let timeout = Duration::from_value(value)?;
        Ok(Self((!timeout.is_zero()).then_some(timeout)))
    }
}

fn allowed_origins(section: &Section<'_>) -> Vec<OriginPattern> {
    let mut origins: Vec<OriginPattern> = section.take("allowed_origins");
    for WebAddress(page) in section.take::<Vec<WebAddress>>("frontend_url") {
        let origin = OriginPattern(page.origin().ascii_serialization());
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    origins
}

impl FromValue for OriginPattern {
    fn from_value(value: &config::Value) -> Result<Self, String> {
        let pattern = String::from_value(value)?;
        let host = pattern.split_once("://").map(|(_, host)| host);
        let whole = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']));
        if pattern == "*" || whole {
            Ok(Self(pattern.to_ascii_lowercase()))
        } else {
            Err("not an origin (try \"https://app.example.com\", without a path)".to_owned())
        }
    }
}

fn personal_channel(section: &Section<'_>, channels: &Channels) -> Option<String> {
    refuse_foreign(section);
    let namespace: String = section.take("personal_channel_namespace");
    if !section.take::<bool>("enabled") {
        return None;
    }
    if !channels.namespaces.0.contains_key(&namespace) {
        section.refuse("personal_channel_namespace", "no such namespace in channel.namespaces");
    }
    Some(namespace)
}
