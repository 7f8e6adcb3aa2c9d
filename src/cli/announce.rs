//! What a node says when it starts: what runs, where, and what to do next.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use midplane::http::server::here;
use midplane::settings::{Namespace, RecoveryMode, Settings, TokenKeys};
use tracing::info;

/// The lines for whoever started a node with `settings` (of `file`), which listens on `address`, and for operators on
/// `internal`.
pub(super) fn text(
    settings: &Settings,
    file: Option<&Path>,
    address: SocketAddr,
    internal: Option<SocketAddr>,
) -> String {
    let mut text = headline(settings);
    for (what, value) in facts(settings, here(address), here(internal.unwrap_or(address))) {
        let _ = writeln!(text, "  {what:<12}{value}");
    }
    text.push('\n');
    text.push_str(&next_steps(settings, file, here(address)));
    text
}

/// The same as one line of the log, for machines.
pub(super) fn log(settings: &Settings, address: SocketAddr, internal: Option<SocketAddr>) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        node = settings.node.name,
        development = settings.development,
        listens = %address,
        internal = internal.map(tracing::field::display),
        clients = credentials(settings),
        socketio = socketio_namespaces(settings),
        backplane = backplane(settings),
        bridge = bridge(settings),
        channels = channels(settings),
        "the node has started"
    );
}

fn headline(settings: &Settings) -> String {
    let (version, name) = (env!("CARGO_PKG_VERSION"), &settings.node.name);
    let mode =
        if settings.development { ", in development mode: everybody may come in, from this machine only" } else { "" };
    format!("midplane {version}, {name}{mode}\n\n")
}

fn facts(settings: &Settings, here: SocketAddr, internal: SocketAddr) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if settings.http.demo {
        facts.push(("demo", format!("http://{here}/")));
    }
    facts.push(("clients", format!("ws://{here}/connection/websocket, {}", credentials(settings))));
    facts.extend(socketio(settings, here).map(|served| ("Socket.IO", served)));
    facts.push(("server API", server_api(settings, internal)));
    if settings.console.enabled {
        facts.push(("console", console(settings, internal)));
    }
    facts.push(("probes", format!("http://{internal}/ready, /health, /metrics")));
    facts.push(("backplane", backplane(settings)));
    facts.extend(bridge(settings).map(|bridged| ("bridge", bridged)));
    facts.push(("channels", channels(settings)));
    facts
}

pub(super) fn credentials(settings: &Settings) -> String {
    let mut ways = settings.client.token.as_ref().map(keys).unwrap_or_default();
    if settings.hooks.connect.is_some() {
        ways.push("the connect hook");
    }
    if settings.client.allow_anonymous_connect_without_token {
        ways.push("or nothing");
    }
    if ways == ["or nothing"] { "no token needed".to_owned() } else { format!("with {}", ways.join(", ")) }
}

fn keys(keys: &TokenKeys) -> Vec<&'static str> {
    let kinds = [
        (keys.hmac_secret.is_some() || keys.hmac_previous_secret.is_some(), "a token (HMAC)"),
        (keys.rsa_public_key.is_some(), "a token (RSA)"),
        (keys.ecdsa_public_key.is_some(), "a token (ECDSA)"),
        (keys.eddsa_public_key.is_some(), "a token (EdDSA)"),
        (keys.jwks.is_some(), "a token (JWKS)"),
    ];
    kinds.into_iter().filter_map(|(set, kind)| set.then_some(kind)).collect()
}

pub(super) fn server_api(settings: &Settings, here: SocketAddr) -> String {
    let api = &settings.http_api;
    if !api.enabled {
        return "off".to_owned();
    }
    let key = match (&api.key, api.insecure) {
        (_, true) => "no key needed",
        (Some(_), false) => "key in X-API-Key",
        (None, false) => "closed until http_api.key is set",
    };
    format!("http://{here}/api, {key}")
}

fn console(settings: &Settings, here: SocketAddr) -> String {
    let api = &settings.http_api;
    let closed = api.key.is_none() && !api.insecure && settings.console.token.is_none();
    format!("http://{here}/console{}", if closed { ", closed until http_api.key is set" } else { "" })
}

/// Where clients of Socket.IO connect, and to which namespaces; `None` where none are declared.
pub(super) fn socketio(settings: &Settings, here: SocketAddr) -> Option<String> {
    socketio_namespaces(settings).map(|namespaces| format!("http://{here}, namespaces {namespaces}"))
}

fn socketio_namespaces(settings: &Settings) -> Option<String> {
    let namespaces = &settings.socketio.namespaces;
    let named = namespaces.iter().map(|namespace| match &namespace.rooms {
        Some(rooms) => format!("{} (rooms are {})", namespace.name, rooms.name),
        None => namespace.name.to_string(),
    });
    let named: Vec<_> = named.collect();
    (!named.is_empty()).then(|| named.join(", "))
}

pub(super) fn backplane(settings: &Settings) -> String {
    let Some(nats) = &settings.nats else {
        return "in this process: the node stands alone, history is gone when it stops".to_owned();
    };
    format!("NATS at {}, subjects below {:?}", nats.server_names(), nats.prefix)
}

/// The servers of Socket.IO in Node that clients share rooms with.
pub(super) fn bridge(settings: &Settings) -> Option<String> {
    let redis = settings.redis.as_ref()?;
    Some(format!("Redis at {}, namespaces {}", redis.server_names(), redis.namespaces.join(", ")))
}

fn channels(settings: &Settings) -> String {
    let mut namespaces: Vec<_> = settings.channel.namespaces.iter().collect();
    namespaces.sort_by_key(|namespace| namespace.name.clone());
    let named: Vec<_> =
        namespaces.iter().filter(|namespace| !namespace.name.is_empty()).map(|it| described(it)).collect();
    if named.is_empty() { "no namespaces".to_owned() } else { format!("namespaces {}", named.join(", ")) }
}

pub(super) fn described(namespace: &Namespace) -> String {
    let recovers = namespace.force_recovery || namespace.allow_recovery;
    let keeps = match (&namespace.history, recovers, namespace.recovery_mode) {
        (None, ..) => "",
        (Some(_), false, _) => " (history)",
        (Some(_), true, RecoveryMode::Stream) => " (recovery)",
        (Some(_), true, RecoveryMode::Cache) => " (latest)",
    };
    format!("{}{keeps}", namespace.name)
}

fn next_steps(settings: &Settings, file: Option<&Path>, here: SocketAddr) -> String {
    let mut text = String::new();
    // The demo's clients are nobody.
    let chat = settings.channel.namespaces.0.get("chat");
    let joins = chat.is_some_and(|chat| chat.allow_subscribe_for_client && chat.allow_subscribe_for_anonymous);
    if settings.http.demo && joins {
        let _ = writeln!(text, "Open the demo in two tabs.");
    }
    let open = settings.http_api.enabled && settings.http_api.insecure;
    if let Some(channel) = some_channel(settings).filter(|_| open) {
        let _ = writeln!(text, "Publish to it from a shell:");
        let data = format!("{{\"channel\":\"{channel}\",\"data\":{{\"text\":\"hello\"}}}}");
        let _ = writeln!(text, "  curl http://{here}/api/publish -H 'content-type: application/json' -d '{data}'");
    }
    if settings.client.token.as_ref().is_some_and(|keys| keys.hmac_secret.is_some()) {
        let file = file.map(|file| format!(" --config {}", file.display())).unwrap_or_default();
        let _ = writeln!(text, "Make a token: midplane token --user ada{file}");
    }
    if settings.development {
        let _ = writeln!(text, "Make it serve others: README.md, \"Before you go live\".");
    }
    text
}

/// The channel that the demo page joins, where there is such a namespace.
fn some_channel(settings: &Settings) -> Option<&'static str> {
    settings.channel.namespaces.0.contains_key("chat").then_some("chat:lobby")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_for_playing_says_where_to_begin() {
        let settings = Settings::from_toml("[node]\nname = \"node-1\"").unwrap();
        let expected = r#"midplane 0.1.0, node-1, in development mode: everybody may come in, from this machine only

  demo        http://127.0.0.1:8000/
  clients     ws://127.0.0.1:8000/connection/websocket, no token needed
  server API  http://127.0.0.1:8000/api, no key needed
  console     http://127.0.0.1:8000/console
  probes      http://127.0.0.1:8000/ready, /health, /metrics
  backplane   in this process: the node stands alone, history is gone when it stops
  channels    namespaces chat (recovery), state (latest)

Open the demo in two tabs.
Publish to it from a shell:
  curl http://127.0.0.1:8000/api/publish -H 'content-type: application/json' -d '{"channel":"chat:lobby","data":{"text":"hello"}}'
Make it serve others: README.md, "Before you go live".
"#;
        assert_eq!(text(&settings, None, "127.0.0.1:8000".parse().unwrap(), None), expected);
    }

    #[test]
    fn a_node_for_others_says_who_may_come_in() {
        let settings = Settings::from_toml(
            r#"
            [node]
            name = "gateway-1"
            [http]
            bind = "0.0.0.0:3001"
            [client.token]
            hmac_secret_key = "0123456789abcdef0123456789abcdef"
            jwks_public_endpoint = "https://keys.example/jwks"
            [http_api]
            key = "0123456789abcdef"
            [[channel.namespaces]]
            name = "chat"
            [socketio]
            namespaces = [{ name = "/", rooms = "chat" }, { name = "/admin" }]
            [nats]
            servers = ["nats://me:pw@nats-1:4222", "nats-2"]
            "#,
        )
        .unwrap();
        let expected = r#"midplane 0.1.0, gateway-1

  clients     ws://127.0.0.1:3001/connection/websocket, with a token (HMAC), a token (JWKS)
  Socket.IO   http://127.0.0.1:3001, namespaces / (rooms are chat), /admin
  server API  http://127.0.0.1:3001/api, key in X-API-Key
  console     http://127.0.0.1:3001/console
  probes      http://127.0.0.1:3001/ready, /health, /metrics
  backplane   NATS at nats-1:4222, nats-2:4222, subjects below "midplane"
  channels    namespaces chat

Make a token: midplane token --user ada --config live.toml
"#;
        assert_eq!(text(&settings, Some(Path::new("live.toml")), "0.0.0.0:3001".parse().unwrap(), None), expected);
    }

    #[test]
    fn the_demo_is_recommended_where_it_can_join() {
        let said =
            |toml: &str| text(&Settings::from_toml(toml).unwrap(), None, "127.0.0.1:8000".parse().unwrap(), None);
        assert!(said("").contains("Open the demo in two tabs."));
        let closed = said("[[channel.namespaces]]\nname = \"chat\"");
        assert!(closed.contains("  demo ") && !closed.contains("Open the demo"), "{closed}");
    }

    #[test]
    fn a_bridge_is_told_with_what_it_joins() {
        let settings = "[socketio]\nnamespaces = [{ name = \"/\" }]\n[redis]\nservers = [\"redis://:pw@redis-1\"]";
        let said = text(&Settings::from_toml(settings).unwrap(), None, "127.0.0.1:8000".parse().unwrap(), None);
        assert!(said.contains("\n  bridge      Redis at redis-1:6379, namespaces /\n"), "{said}");
    }

    #[test]
    fn a_console_that_nobody_can_enter_says_what_is_missing() {
        let settings =
            Settings::from_toml("client.token.hmac_secret_key = \"0123456789abcdef0123456789abcdef\"").unwrap();
        let said = text(&settings, None, "127.0.0.1:8000".parse().unwrap(), None);
        assert!(said.contains("/console, closed until http_api.key is set\n"), "{said}");
    }
}
