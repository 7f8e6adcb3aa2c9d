//! Socket.IO: its namespaces, and which channels are their rooms.

use std::sync::Arc;
use std::time::Duration;

use config::ValueKind;

use super::super::channels::{Channels, Namespace};
use super::super::section::Section;
use super::super::socketio::{SocketIo, SocketIoNamespace};
use super::super::unknown;
use super::super::value::{Bytes, Positive};
use crate::protocol::Channel;

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
    SocketIo {
    let Bytes(threshold) = section.take("http_compression_threshold");
        namespaces,
        ping_interval: section.take::<Positive>("ping_interval").0,
        http_compression_threshold: Some(threshold).filter(|threshold| *threshold > 0),
        cookie: cookie(section),
        serve_client: section.take("serve_client"),
        ping_timeout: section.take::<Positive>("ping_timeout").0,
        upgrade_timeout: section.take::<Positive>("upgrade_timeout").0,
        connect_timeout: section.take::<Positive>("connect_timeout").0,
        max_payload,
    }
}

/// What every namespace may set, or has in common with the others.
fn cookie(section: &Section<'_>) -> Option<String> {
    let name: String = section.take("cookie");
    // A token (RFC 6265, 4.1.1).
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !name.chars().all(is_token) {
        section.refuse("cookie", "not a cookie's name (try \"io\")");
    }
    Some(name).filter(|name| !name.is_empty())
}

#[derive(Clone)]
struct Options {
    rooms: String,
    join: Vec<String>,
    relay: Vec<(String, String)>,
    ack_timeout: Duration,
}

impl Options {
    fn read(section: &Section<'_>) -> Self {
        Self {
            rooms: section.take("rooms"),
            join: section.take("join"),
            relay: section.take("relay"),
            ack_timeout: section.take::<Positive>("ack_timeout").0,
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
        }
    }
}

fn namespace(section: &Section<'_>, common: &Options, channels: &mut Channels) -> SocketIoNamespace {
    let given = section.given().map(|(key, value)| (key.to_owned(), value.clone())).collect();
    unknown::find(section.path(), &given, section.defaults(), section.findings(), &|_, key| key == "name");
    let name: Arc<str> = name(section).into();
    let Options { rooms: wanted, join, relay, ack_timeout } = Options::of(section, common);
    let rooms = rooms(section, &wanted, &name, channels);
    for (key, wanted) in
        [("join", join.iter().collect::<Vec<_>>()), ("relay", relay.iter().map(|(_, room)| room).collect())]
    {
        if rooms.is_none() && !wanted.is_empty() {
            section.refuse(key, "there are no rooms (set rooms to a namespace of channels)");
        }
        if let Some(room) = wanted.into_iter().find(|room| !is_room(room, channels.max_length)) {
            section.refuse(key, format!("{room:?} cannot be a room's name"));
        }
    }
    SocketIoNamespace { name, rooms, join, relay: relay.into_iter().collect(), ack_timeout }
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
