//! Redis: whether nodes are a bridge to servers of Socket.IO behind it, and how they reach it.

use std::sync::Arc;

use config::Value;
use secrecy::SecretString;
use url::Url;

use super::super::redis::{Adapter, Redis, RedisTls};
use super::super::section::Section;
use super::super::socketio::SocketIo;
use super::super::value::{FromValue, Positive};
use super::decoded;

/// The bridge, where servers are set. What has no effect is said in `notes`.
pub(super) fn read(section: &Section<'_>, socketio: &SocketIo, notes: &mut Vec<String>) -> Option<Redis> {
    let servers: Vec<Server> = section.take("servers");
    let (username, password) = credentials(section, &servers);
    let redis = Redis {
        servers: servers.into_iter().map(|Server(url)| url).map(without_password).collect(),
        sentinel_master: section.take("sentinel_master"),
        username,
        password,
        tls: tls(&section.section("tls")),
        adapter: adapter(section),
        key_prefix: section.take("key_prefix"),
        namespaces: namespaces(section, socketio),
        timeout: section.take::<Positive>("timeout").0,
    };
    if redis.key_prefix.is_empty() || redis.key_prefix.contains(char::is_control) {
        section.refuse("key_prefix", "not the beginning of a channel's name (try \"socket.io\")");
    }
    if redis.servers.is_empty() {
        let prefix: String = section.take("key_prefix");
        if prefix != "socket.io" {
            notes.push(
                "redis.key_prefix (REDIS_KEY_PREFIX) has no effect: redis.servers (REDIS_URL) is not set".to_owned(),
            );
        }
        return None;
    }
    if socketio.namespaces.is_empty() {
        notes.push("redis.servers (REDIS_URL) has no effect: there are no socketio.namespaces to bridge".to_owned());
        return None;
    }
    let recovers =
        |name: &Arc<str>| socketio.namespaces.iter().any(|known| known.name == *name && known.recovery.is_some());
    // What is emitted there to several rooms is stored, and not told as the bridge hears it.
    if let Some(recovering) = redis.namespaces.iter().find(|name| recovers(name)) {
        section.refuse("namespaces", format!("{recovering:?} has recovery, and cannot be bridged (name the others)"));
    }
    Some(redis)
}

fn adapter(section: &Section<'_>) -> Adapter {
    let (adapter, mode) = (section.take("adapter"), section.take("subscription_mode"));
    match adapter {
        Adapter::Classic => Adapter::Classic,
        Adapter::Sharded(_) => Adapter::Sharded(mode),
    }
}

fn namespaces(section: &Section<'_>, socketio: &SocketIo) -> Vec<Arc<str>> {
    let wanted: Vec<String> = section.take("namespaces");
    let known = || socketio.namespaces.iter().map(|namespace| &namespace.name);
    if let Some(unknown) = wanted.iter().find(|wanted| !known().any(|name| **name == ***wanted)) {
        section.refuse("namespaces", format!("{unknown:?} is not one of socketio.namespaces"));
    }
    known().filter(|name| wanted.is_empty() || wanted.iter().any(|wanted| **wanted == ***name)).cloned().collect()
}

/// Those of the options, or of an address.
fn credentials(section: &Section<'_>, servers: &[Server]) -> (Option<String>, Option<SecretString>) {
    let (username, password): (Option<String>, Option<SecretString>) =
        (section.take("username"), section.take("password"));
    let from_url = servers.iter().map(|Server(url)| url).find(|url| url.password().is_some());
    match (password, from_url) {
        (Some(_), Some(_)) => {
            section.refuse("password", "a second one, beside that in redis.servers");
            (None, None)
        }
        (Some(password), None) => (username, Some(password)),
        (None, Some(url)) => {
            let user = Some(decoded(url.username())).filter(|user| !user.is_empty());
            (username.or(user), Some(SecretString::from(decoded(url.password().unwrap_or_default()))))
        }
        (None, None) => {
            if username.is_some() {
                section.refuse("username", "set without redis.password");
            }
            (None, None)
        }
    }
}

fn tls(section: &Section<'_>) -> RedisTls {
    let tls = RedisTls {
        ca_file: section.take("ca_file"),
        cert_file: section.take("cert_file"),
        key_file: section.take("key_file"),
    };
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => section.refuse("cert_file", "set without redis.tls.key_file"),
        (None, Some(_)) => section.refuse("key_file", "set without redis.tls.cert_file"),
        _ => {}
    }
    tls
}

/// An address may be logged.
fn without_password(mut url: Url) -> Url {
    // Fails only for addresses that cannot have either.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url
}

/// The address of a server; `redis://` may be left out.
struct Server(Url);

impl FromValue for Server {
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = String::from_value(value)?;
        let text = if text.contains("://") { text } else { format!("redis://{text}") };
        let url = text.parse::<Url>().ok().filter(Url::has_host);
        url.filter(|url| matches!(url.scheme(), "redis" | "rediss"))
            .map(Self)
            .ok_or_else(|| "not the address of a Redis server (try \"redis://127.0.0.1:6379\")".to_owned())
    }
}
