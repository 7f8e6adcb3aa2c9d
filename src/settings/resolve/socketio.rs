//! Socket.IO: its namespaces, and which channels are their rooms.

use std::sync::Arc;
use std::time::Duration;

use config::ValueKind;

use super::super::channels::{Channels, Namespace};
use super::super::section::Section;
use super::super::socketio::{SocketIo, SocketIoNamespace, SocketIoNotice};
use super::super::unknown;
use super::super::value::{Bytes, Positive};
use crate::protocol::Channel;
use crate::protocol::socketio::RoomRule;

pub(super) fn read(section: &Section<'_>, channels: &mut Channels) -> SocketIo {
    let common = Options::read(&section.section("namespace"));
    let mut namespaces: Vec<Arc<SocketIoNamespace>> = Vec::new();
    for section in section.list("namespaces", "namespace") {
        let namespace = namespace(&section, &common, channels);
        if namespaces.iter().any(|other| other.name == namespace.name) {
            section.refuse("name", "two namespaces have this name");
        }
        namespaces.push(Arc::new(namespace));
    }
    let Bytes(max_payload) = section.take("max_payload");
    if max_payload < 1024 {
        section.refuse("max_payload", "too small for a message (try \"1MB\", or 1000000)");
    }
    let Bytes(threshold) = section.take("http_compression_threshold");
    SocketIo {
        namespaces,
        http_compression_threshold: Some(threshold).filter(|threshold| *threshold > 0),
        cookie: cookie(section),
        serve_client: section.take("serve_client"),
        ping_interval: section.take::<Positive>("ping_interval").0,
        ping_timeout: section.take::<Positive>("ping_timeout").0,
        upgrade_timeout: section.take::<Positive>("upgrade_timeout").0,
        connect_timeout: section.take::<Positive>("connect_timeout").0,
        max_payload,
    }
}

fn cookie(section: &Section<'_>) -> Option<String> {
    let name: String = section.take("cookie");
    // A token (RFC 6265, 4.1.1).
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !name.chars().all(is_token) {
        section.refuse("cookie", "not a cookie's name (try \"io\")");
    }
    Some(name).filter(|name| !name.is_empty())
}

/// What every namespace may set, or has in common with the others.
#[derive(Clone)]
struct Options {
    rooms: String,
    join: Vec<String>,
    relay: Vec<(String, String)>,
    ack_timeout: Duration,
    recovery: Duration,
    tell: Vec<SocketIoNotice>,
    join_on: String,
    leave_on: String,
    may_join: Vec<String>,
    may_join_claim: String,
}

impl Options {
    fn read(section: &Section<'_>) -> Self {
        Self {
            rooms: section.take("rooms"),
            join: section.take("join"),
            relay: section.take("relay"),
            ack_timeout: section.take::<Positive>("ack_timeout").0,
            recovery: section.take("recovery"),
            tell: section.take("tell"),
            join_on: section.take("join_on"),
            leave_on: section.take("leave_on"),
            may_join: section.take("may_join"),
            may_join_claim: section.take("may_join_claim"),
        }
    }

    /// Those of a namespace; in common is what it does not set.
    fn of(section: &Section<'_>, common: &Self) -> Self {
        let own = Self::read(section);
        let sets = |key| section.value(key).is_some();
        Self {
            rooms: if sets("rooms") { own.rooms } else { common.rooms.clone() },
            join: if sets("join") { own.join } else { common.join.clone() },
            relay: if sets("relay") { own.relay } else { common.relay.clone() },
            ack_timeout: if sets("ack_timeout") { own.ack_timeout } else { common.ack_timeout },
            recovery: if sets("recovery") { own.recovery } else { common.recovery },
            tell: if sets("tell") { own.tell } else { common.tell.clone() },
            join_on: if sets("join_on") { own.join_on } else { common.join_on.clone() },
            leave_on: if sets("leave_on") { own.leave_on } else { common.leave_on.clone() },
            may_join: if sets("may_join") { own.may_join } else { common.may_join.clone() },
            may_join_claim: if sets("may_join_claim") { own.may_join_claim } else { common.may_join_claim.clone() },
        }
    }
}

fn namespace(section: &Section<'_>, common: &Options, channels: &mut Channels) -> SocketIoNamespace {
    let given = section.given().map(|(key, value)| (key.to_owned(), value.clone())).collect();
    unknown::find(section.path(), &given, section.defaults(), section.findings(), &|_, key| key == "name");
    let name: Arc<str> = name(section).into();
    let options = Options::of(section, common);
    let mut rooms = rooms(section, &options.rooms, &name, channels);
    let recovery = Some(options.recovery).filter(|recovery| !recovery.is_zero());
    if let Some(within) = recovery {
        rooms = ordered(section, within, rooms, channels);
    }
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let rules = |rules: &[String]| rules.iter().map(|rule| RoomRule::new(rule)).collect();
    check_rooms(section, &options, rooms.is_some(), channels.max_length);
    SocketIoNamespace {
        name,
        rooms,
        join: options.join,
        relay: options.relay.into_iter().map(|(event, room)| (event, RoomRule::new(&room))).collect(),
        join_on: some(options.join_on),
        leave_on: some(options.leave_on),
        may_join: rules(&options.may_join),
        may_join_claim: some(options.may_join_claim),
        ack_timeout: options.ack_timeout,
        recovery,
        tell: options.tell,
    }
}

/// Has the channels that are `rooms` delivered in one order, where they keep what is missed `within` that time.
fn ordered(
    section: &Section<'_>,
    within: Duration,
    rooms: Option<Arc<Namespace>>,
    channels: &mut Channels,
) -> Option<Arc<Namespace>> {
    let Some(rooms) = rooms else {
        section.refuse("recovery", "there are no rooms (set rooms to a namespace of channels that keeps history)");
        return None;
    };
    match &rooms.history {
        None => section.refuse("recovery", "its rooms keep no history (set history_size and history_ttl of theirs)"),
        Some(history) if history.ttl < within => {
            section.refuse("recovery", "longer than the history_ttl of its rooms");
        }
        Some(_) if within < Duration::from_secs(1) => section.refuse("recovery", "less than a second (try \"2m\")"),
        Some(_) => {}
    }
    let namespace = channels.namespaces.0.get_mut(&*rooms.name)?;
    // The clone at hand would be changed in place of the one that is registered.
    drop(rooms);
    Arc::make_mut(namespace).ordered = true;
    Some(Arc::clone(namespace))
}

/// Refuses rules for rooms where there are none, or that name what can be none.
fn check_rooms(section: &Section<'_>, options: &Options, rooms: bool, max_length: usize) {
    let Options { join, relay, join_on, leave_on, may_join, may_join_claim, .. } = options;
    let wanted = [
        ("join", !join.is_empty()),
        ("relay", !relay.is_empty()),
        ("join_on", !join_on.is_empty()),
        ("leave_on", !leave_on.is_empty()),
        ("may_join", !may_join.is_empty()),
        ("may_join_claim", !may_join_claim.is_empty()),
    ];
    for (key, _) in wanted.into_iter().filter(|(_, wanted)| *wanted && !rooms) {
        section.refuse(key, "there are no rooms (set rooms to a namespace of channels)");
    }
    if let Some(room) = join.iter().find(|room| !is_room(room, max_length)) {
        section.refuse("join", format!("{room:?} cannot be a room's name"));
    }
    // With anything for users and arguments it has to be a name.
    let named = |room: &str| RoomRule::new(room).room("u", Some("a")).is_some_and(|room| is_room(&room, max_length));
    if let Some((_, room)) = relay.iter().find(|(_, room)| !named(room)) {
        section.refuse("relay", format!("{room:?} cannot be a room's name"));
    }
    if !join_on.is_empty() && may_join.is_empty() && may_join_claim.is_empty() {
        section.refuse("join_on", "no room may be joined (set may_join or may_join_claim)");
    }
    let allowed = [("may_join", !may_join.is_empty()), ("may_join_claim", !may_join_claim.is_empty())];
    for (key, _) in allowed.into_iter().filter(|(_, allowed)| *allowed && rooms && join_on.is_empty()) {
        section.refuse(key, "no event joins a room (set join_on)");
    }
    let events = [("join_on", join_on), ("leave_on", leave_on)];
    for (key, event) in events.into_iter().filter(|(_, event)| !event.is_empty()) {
        if relay.iter().any(|(relayed, _)| relayed == event) {
            section.refuse(key, "relay sends this event to a room");
        }
    }
    if !join_on.is_empty() && join_on == leave_on {
        section.refuse("leave_on", "the same event as join_on");
    }
}

/// Rules of a namespace that send events to a room that no other rule leads into, though others lead somewhere.
pub(super) fn stray_relays(namespace: &SocketIoNamespace) -> impl Iterator<Item = String> {
    let SocketIoNamespace { name, join, may_join, may_join_claim, relay, .. } = namespace;
    let open = may_join_claim.is_some() || (join.is_empty() && may_join.is_empty());
    let named = relay.values().filter_map(|rule| rule.room("", None)).filter(move |_| !open);
    let stray = named.filter(|room| !join.contains(room) && !may_join.iter().any(|rule| rule.allows(room, "")));
    stray.map(move |room| {
        format!(
            "relay of socketio namespace {name:?} sends to the room {room:?}, which neither join nor may_join names: \
             who is not in it by token or backend reaches nobody"
        )
    })
}

fn name(section: &Section<'_>) -> String {
    let name = section.value("name").map(|value| match &value.kind {
        ValueKind::String(name) => name.clone(),
        _ => String::new(),
    });
    let is_name =
        |name: &str| name.starts_with('/') && name.len() <= 255 && !name.contains(|c: char| c == ',' || c.is_control());
    match name {
        Some(name) if is_name(&name) => name,
        Some(_) => {
            section
                .refuse("name", "not a namespace's name (a slash, then anything without a comma: \"/\", \"/admin\")");
            String::new()
        }
        None => {
            section.refuse("name", "not set (the main namespace is \"/\")");
            String::new()
        }
    }
}

/// The namespace of channels that are rooms of `name`, which knows that from here on.
fn rooms(section: &Section<'_>, wanted: &str, name: &Arc<str>, channels: &mut Channels) -> Option<Arc<Namespace>> {
    if wanted.is_empty() {
        return None;
    }
    let Some(namespace) = channels.namespaces.0.get_mut(wanted) else {
        section.refuse("rooms", "no such namespace in channel.namespaces");
        return None;
    };
    if namespace.socketio.is_some() {
        section.refuse("rooms", "its channels are rooms of another namespace already");
        return None;
    }
    Arc::make_mut(namespace).socketio = Some(Arc::clone(name));
    Some(Arc::clone(namespace))
}

fn is_room(room: &str, max_length: usize) -> bool {
    Channel::parse(room, max_length).is_ok() && !room.starts_with(crate::protocol::channel::PRIVATE_PREFIX)
}
