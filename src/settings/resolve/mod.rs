//! From values to settings: reads each section, then checks what holds between them.

mod channel;
mod client;
mod foreign;
mod hooks;
mod http;
mod nats;
mod node;
mod redis;
mod scaling;
mod socketio;
mod token;
mod transports;

use std::time::Duration;

use config::{Value, ValueKind};

use super::channels::Channels;
use super::fingerprint::fingerprint;
use super::model::{Canary, Client, Cluster, Embedded, Log, Settings, Transports};
use super::nats::Nats;
use super::refusal::{Refusal, Refusals};
use super::section::{Findings, Section, Table};
use super::socketio::SocketIo;
use super::sources::Sources;
use super::unknown;
use super::value::Bytes;

const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(50);
const SHORTEST_CANARY: Duration = Duration::from_millis(100);
const SMALLEST_HISTORY: usize = 1 << 20;

pub(super) use foreign::is_foreign;

/// The settings, and the merged values that they were read from.
///
/// # Errors
/// What `findings` held before, and everything else that is wrong.
pub(super) fn resolve(sources: &Sources, findings: Findings) -> Result<(Settings, Table), Refusals> {
    let plain = sources.merged(false);
    let development = node::development(&plain, &sources.defaults);
    let values = if development { sources.merged(true) } else { plain };
    unknown::find("", &values, &sources.defaults, &findings, &is_foreign);

    let root = Section::root(&values, &sources.defaults, &findings);
    let clients_told_apart = client::told_apart(&values);
    let http = http::read(&root.section("http"), development, clients_told_apart);
    let mut nats = nats::read(&root.section("nats"));
    let embedded = embedded(&root.section("embedded"));
    let mut channel = channel::read(&root.section("channel"));
    let socketio = socketio::read(&root.section("socketio"), &mut channel);
    let mut notes_of_redis = Vec::new();
    let redis = redis::read(&root.section("redis"), &socketio, &mut notes_of_redis);
    check_retries(&root.section("nats"), nats.as_ref(), &channel);
    let hooks = hooks::read(&root.section("hooks"), nats.is_some(), &channel, &findings);
    let client = client::read(&root.section("client"), &channel, development);
    if let Some(nats) = &mut nats {
        nats.record_users = client.user_connection_limit.is_some();
    }
    if development && !client.allow_anonymous_connect_without_token && client.token.is_none() && hooks.connect.is_none()
    {
        let why = "nobody could connect: there is no token key and no connect hook either";
        root.section("client").refuse("allow_anonymous_connect_without_token", why);
    }
    let transports = transports::read(&root);
    check_bytes_rate(&root.section("client"), &client, &transports, &socketio);
    let http_api = http::api(&root.section("http_api"), &http, development);
    let console = http::console(&root.section("console"), &http_api, development);
    let log = log(&root.section("log"));
    let cluster = cluster(&root.section("cluster"));
    let mut settings = Settings {
        node: node::read(&root.section("node")),
        http,
        client,
        transports,
        socketio,
        channel,
        http_api,
        console,
        hooks,
        embedded,
        nats,
        redis,
        cluster,
        scaling: scaling::read(&root.section("scaling")),
        canary: canary(&root.section("canary")),
        log,
        development,
        notes: sources.environment.notes.clone(),
        fingerprint: fingerprint(&values),
    };
    if let Some(nats) = &mut settings.nats {
        nats.node.clone_from(&settings.node.name);
    }
    settings.notes.extend(notes_of_redis);
    settings.notes.extend(notes(&settings));

    let mut refusals = findings.into_refusals();
    refusals.dedup();
    if refusals.is_empty() { Ok((settings, values)) } else { Err(Refusals(refusals)) }
}

/// A stream remembers the ids of messages no longer than the messages.
fn check_retries(section: &Section<'_>, nats: Option<&Nats>, channel: &Channels) {
    let Some(nats) = nats else { return };
    let horizons = channel.namespaces.iter().filter_map(|namespace| {
        let horizon = namespace.history.as_ref()?.horizon;
        (horizon <= nats.publish_timeout).then_some((&namespace.name, horizon))
    });
    if let Some((name, horizon)) = horizons.min() {
        let horizon = humantime::format_duration(horizon);
        let why = format!(
            "not shorter than the history_meta_ttl of namespace {name:?} ({horizon}), so a retry could be stored twice"
        );
        section.refuse("publish_timeout", why);
    }
}

/// A message of which a full bucket has too few tokens would never come through.
fn check_bytes_rate(section: &Section<'_>, client: &Client, transports: &Transports, socketio: &SocketIo) {
    let Some(rate) = client.bytes_rate else { return };
    let Transports { http_stream, sse, uni_websocket, emulation_body_limit, .. } = *transports;
    let posts = http_stream.enabled || sse.enabled;
    let (largest, of) = [
        (client.largest_message(), "four times client.message_size_limit"),
        (if posts { emulation_body_limit } else { 0 }, "emulation.max_request_body_size"),
        (if uni_websocket.enabled { uni_websocket.request_limit } else { 0 }, "uni_websocket.message_size_limit"),
        (if socketio.namespaces.is_empty() { 0 } else { socketio.max_payload }, "socketio.max_payload"),
    ]
    .into_iter()
    .max_by_key(|(size, _)| *size)
    .unwrap_or_default();
    if (rate.burst as usize) < largest {
        let written: String = section.take("bytes_rate");
        let rate = written.split_whitespace().next().unwrap_or_default();
        let why = format!(
            "a message may have {largest} bytes ({of}), for which it has no room (try \"{rate} burst {largest}\")"
        );
        section.refuse("bytes_rate", why);
    }
}

fn embedded(section: &Section<'_>) -> Embedded {
    let Bytes(max_bytes) = section.take("max_bytes");
    if max_bytes < SMALLEST_HISTORY {
        section.refuse("max_bytes", "less than \"1MiB\", too little for a history (try \"256MiB\")");
    }
    Embedded { max_bytes }
}

fn cluster(section: &Section<'_>) -> Cluster {
    let heartbeat_interval = section.take("heartbeat_interval");
    let failure_detection_timeout = section.take("failure_detection_timeout");
    if heartbeat_interval < SHORTEST_HEARTBEAT {
        section.refuse("heartbeat_interval", "less than \"50ms\" (try \"1s\")");
    } else if failure_detection_timeout < heartbeat_interval * 3 {
        let least = humantime::format_duration(heartbeat_interval * 3);
        let why = format!(
            "less than three times cluster.heartbeat_interval, so lost heartbeats make nodes dead (try \"{least}\")"
        );
        section.refuse("failure_detection_timeout", why);
    }
    Cluster { heartbeat_interval, failure_detection_timeout, address: section.take("address") }
}

fn canary(section: &Section<'_>) -> Canary {
    let (interval, fail_after) = (section.take("interval"), section.take("fail_after"));
    if interval < SHORTEST_CANARY {
        section.refuse("interval", "less than \"100ms\" (try \"2s\")");
    } else if fail_after < interval * 2 {
        let least = humantime::format_duration(interval * 2);
        let why = format!("less than twice canary.interval, so one lost word closes a node (try \"{least}\")");
        section.refuse("fail_after", why);
    }
    Canary { enabled: section.take("enabled"), interval, fail_after }
}

fn log(section: &Section<'_>) -> Log {
    let level: String = section.take("level");
    if let Some(word) = level.split(',').map(str::trim).find(|word| !may_filter(word)) {
        section.refuse("level", format!("{word:?} is no level (try \"info\", or \"info,midplane::session=debug\")"));
    } else if let Err(error) = level.parse::<tracing_subscriber::EnvFilter>() {
        section.refuse("level", format!("not a level or filter ({error})"));
    }
    Log { level, format: section.take("format") }
}

/// Whether a part of a filter may mean something: the parser takes a misspelt level for the name of a module.
fn may_filter(word: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    word.is_empty() || word.contains('=') || LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level))
}

/// What is allowed, but most likely not what somebody wants.
fn notes(settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    if settings.client.allowed_origins.is_empty() && !settings.development {
        notes.push("no browser can connect: client.allowed_origins (or FRONTEND_URL) is not set".to_owned());
    }
    let namespaces = &settings.channel.namespaces;
    let default_only = namespaces.iter().all(|namespace| namespace.name.is_empty() && !namespace.subscribe_hook);
    if default_only && namespaces.iter().all(|namespace| !namespace.allow_subscribe_for_client) {
        notes.push(
            "clients can subscribe with subscription tokens only: no [[channel.namespaces]] is set, and \
             channel.without_namespace.allow_subscribe_for_client is false"
                .to_owned(),
        );
    }
    let api_at = settings.http.internal_bind.unwrap_or(settings.http.bind);
    if settings.http_api.insecure && !api_at.ip().is_loopback() {
        notes.push("whoever reaches the port may publish everything: http_api.insecure = true".to_owned());
    }
    notes.extend(settings.socketio.namespaces.iter().flat_map(|namespace| socketio::stray_relays(namespace)));
    notes
}

/// The value at a path of `values`, when it is set.
pub(super) fn at<'a>(values: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (last, levels) = path.split_last()?;
    let mut table = values;
    for level in levels {
        match &table.get(*level)?.kind {
            ValueKind::Table(inner) => table = inner,
            _ => return None,
        }
    }
    table.get(*last).filter(|value| !matches!(&value.kind, ValueKind::String(text) if text.is_empty()))
}

/// What stands percent-encoded in an address.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Notes `why` about the option `key`, which is not set.
fn refuse_missing(findings: &Findings, key: impl Into<String>, why: impl Into<String>) {
    findings.add(Refusal::new(key, format!("not set, {}", why.into())));
}
