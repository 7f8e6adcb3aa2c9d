//! NATS: whether this node is a member of a cluster, and how it reaches it.

use std::path::PathBuf;

use config::Value;
use secrecy::SecretString;
use url::Url;

use super::super::nats::{Nats, NatsAuth, NatsTls};
use super::super::section::Section;
use super::super::value::{Bytes, FromValue, Positive, Switch};
use super::decoded;

/// With the longest name of a namespace it still fits into the name of a stream, which may have 255 bytes.
const LONGEST_PREFIX: usize = 64;

pub(super) fn read(section: &Section<'_>) -> Option<Nats> {
    let switch: Switch = section.take("enabled");
    let servers: Vec<Server> = section.take("servers");
    let (auth, tls) = (auth(section, &servers), tls(&section.section("tls")));
    let nats = Nats {
        node: String::new(),
        servers: servers.into_iter().map(|Server(url)| without_password(url)).collect(),
        prefix: prefix(section),
        replicas: replicas(section),
        storage: section.take("storage"),
        provision: section.take("provision"),
        shrink_streams: section.take("shrink_streams"),
        auth,
        tls,
        ping_interval: section.take::<Positive>("ping_interval").0,
        connect_timeout: section.take::<Positive>("connect_timeout").0,
        publish_timeout: section.take::<Positive>("publish_timeout").0,
        read_timeout: section.take::<Positive>("read_timeout").0,
        duplicate_window: section.take("duplicate_window"),
        max_bytes: match section.take::<Bytes>("max_bytes") {
            Bytes(0) => None,
            Bytes(bytes) => Some(bytes as u64),
        },
        inbox_prefixes: section.take("inbox_prefixes"),
        record_users: false,
    };
    check_inboxes(section, &nats);
    if nats.duplicate_window <= nats.publish_timeout {
        section.refuse("duplicate_window", "not longer than nats.publish_timeout, so a retry could be stored twice");
    }
    match switch {
        Switch::On if nats.servers.is_empty() => {
            section.refuse("servers", "nats.enabled = true (ENABLE_CLUSTERING) needs a server (set NATS_URL)");
            None
        }
        Switch::Off => None,
        Switch::On | Switch::Auto => (!nats.servers.is_empty()).then_some(nats),
    }
}

fn prefix(section: &Section<'_>) -> String {
    let prefix: String = section.take("prefix");
    if !is_token(&prefix) || prefix.len() > LONGEST_PREFIX {
        section.refuse("prefix", "not one subject token of letters, digits, \"-\" and \"_\", 64 at most");
    }
    prefix
}

/// Where a node answers with its own rights: neither in a channel nor at NATS itself.
fn check_inboxes(section: &Section<'_>, nats: &Nats) {
    for prefix in &nats.inbox_prefixes {
        if !prefix.split('.').all(is_token) {
            let why =
                format!("{prefix:?} is not a subject: use letters, digits, \"-\" and \"_\" (try \"inbox_of_backend\")");
            section.refuse("inbox_prefixes", why);
        } else if prefix.split('.').next() == Some(&nats.prefix) {
            section.refuse("inbox_prefixes", format!("{prefix:?} is below nats.prefix, where channels are"));
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn replicas(section: &Section<'_>) -> usize {
    let replicas = section.take("replicas");
    if !(1..=5).contains(&replicas) {
        section.refuse("replicas", "not between 1 and 5");
    }
    replicas
}

/// Exactly one way to say who we are.
fn auth(section: &Section<'_>, servers: &[Server]) -> NatsAuth {
    let password = section.take::<Option<SecretString>>("password");
    let user = section.take::<Option<String>>("user");
    let from_url = servers.iter().find_map(|Server(url)| url.password().map(|password| (url.username(), password)));
    let token_from_url = servers.iter().map(|Server(url)| url).find(|url| !url.username().is_empty());
    let mut ways = Vec::new();
    match (user, password) {
        (Some(user), Some(password)) => ways.push(("user", NatsAuth::UserPassword { user, password })),
        (Some(_), None) => section.refuse("user", "set without nats.password"),
        (None, Some(_)) => section.refuse("password", "set without nats.user"),
        (None, None) => {}
    }
    if let Some(token) = section.take::<Option<SecretString>>("token") {
        ways.push(("token", NatsAuth::Token(token)));
    }
    if let Some(seed) = section.take::<Option<SecretString>>("nkey") {
        ways.push(("nkey", NatsAuth::NKey(seed)));
    }
    if let Some(path) = section.take::<Option<PathBuf>>("credentials") {
        ways.push(("credentials", NatsAuth::Credentials(path)));
    }
    match (from_url, token_from_url) {
        (Some((user, password)), _) => {
            let (user, password) = (decoded(user), SecretString::from(decoded(password)));
            ways.push(("servers", NatsAuth::UserPassword { user, password }));
        }
        (None, Some(url)) => ways.push(("servers", NatsAuth::Token(SecretString::from(decoded(url.username()))))),
        (None, None) => {}
    }
    for (key, _) in ways.iter().skip(1) {
        section.refuse(key, format!("a second way to authenticate, beside nats.{}", ways[0].0));
    }
    ways.into_iter().next().map(|(_, way)| way).unwrap_or_default()
}

/// Who we are stands in [`Nats::auth`]; an address may be logged.
fn without_password(mut url: Url) -> Url {
    // Fails only for addresses that cannot have either.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url
}

fn tls(section: &Section<'_>) -> NatsTls {
    let tls = NatsTls {
        required: section.take("required"),
        first: section.take("first"),
        ca_file: section.take("ca_file"),
        cert_file: section.take("cert_file"),
        key_file: section.take("key_file"),
    };
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => section.refuse("cert_file", "set without nats.tls.key_file"),
        (None, Some(_)) => section.refuse("key_file", "set without nats.tls.cert_file"),
        _ => {}
    }
    tls
}

/// The address of a server; `nats://` may be left out.
struct Server(Url);

impl FromValue for Server {
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = String::from_value(value)?;
        let text = if text.contains("://") { text } else { format!("nats://{text}") };
        let url = text.parse::<Url>().ok().filter(Url::has_host);
        url.filter(|url| matches!(url.scheme(), "nats" | "tls"))
            .map(Self)
            .ok_or_else(|| "not the address of a NATS server (try \"nats://127.0.0.1:4222\")".to_owned())
    }
}
