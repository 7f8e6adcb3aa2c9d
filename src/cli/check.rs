//! What settings that are in order come to.

use std::fmt::Write as _;

use midplane::settings::{HookEndpoint, Hooks, Namespace, Settings};
use url::Url;

use super::announce;

/// The settings in a few lines.
pub(super) fn summary(settings: &Settings) -> String {
    let mut text = "midplane: settings are in order\n".to_owned();
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "  {what:<12}{value}");
    };
    let reach = match (settings.development, settings.http.bind.ip().is_loopback()) {
        (true, _) => "this machine only, in development mode",
        (false, true) => "this machine only",
        (false, false) => "reachable from outside",
    };
    line("node", settings.node.name.clone());
    line("listens", format!("{}, {reach}", settings.http.bind));
    line("clients", announce::credentials(settings));
    if let Some(served) = announce::socketio(settings, settings.http.bind) {
        line("Socket.IO", served);
    }
    line("server API", announce::server_api(settings, settings.http.internal_bind.unwrap_or(settings.http.bind)));
    line("backplane", announce::backplane(settings));
    if let Some(bridged) = announce::bridge(settings) {
        line("bridge", bridged);
    }
    for (name, endpoint) in hooks(&settings.hooks) {
        line("hook", format!("{name} asks {endpoint}"));
    }
    let mut namespaces: Vec<_> = settings.channel.namespaces.iter().collect();
    namespaces.sort_by_key(|namespace| namespace.name.clone());
    for namespace in namespaces {
        let clients = allowed(namespace);
        if namespace.name.is_empty() && clients.is_empty() && namespace.history.is_none() {
            continue;
        }
        let name = announce::described(namespace);
        let name = if namespace.name.is_empty() { format!("without one{name}") } else { name };
        let kept = namespace
            .history
            .as_ref()
            .map(|history| format!(", the last {} of {}", history.size, humantime::format_duration(history.ttl)));
        line("namespace", format!("{name}{}{clients}", kept.unwrap_or_default()));
    }
    for note in &settings.notes {
        line("note", note.clone());
    }
    text
}

/// What clients may do there without being asked for a token.
fn allowed(namespace: &Namespace) -> String {
    let may = [
        (namespace.allow_subscribe_for_client, "subscribe"),
        (namespace.subscribe_hook, "subscribe if the hook says so"),
        (namespace.allow_publish_for_client || namespace.allow_publish_for_subscriber, "publish"),
        (namespace.publish_hook, "publish if the hook says so"),
        (namespace.allow_history_for_client || namespace.allow_history_for_subscriber, "read history"),
    ];
    let may: Vec<_> = may.into_iter().filter_map(|(allowed, what)| allowed.then_some(what)).collect();
    if may.is_empty() { String::new() } else { format!(", clients may {}", may.join(", ")) }
}

fn hooks(hooks: &Hooks) -> Vec<(&'static str, String)> {
    let all = [
        ("connect", &hooks.connect),
        ("refresh", &hooks.refresh),
        ("subscribe", &hooks.subscribe),
        ("publish", &hooks.publish),
        ("sub_refresh", &hooks.sub_refresh),
    ];
    let configured = all.into_iter().filter_map(|(name, hook)| hook.as_ref().map(|hook| (name, &hook.endpoint)));
    configured
        .map(|(name, endpoint)| match endpoint {
            HookEndpoint::Http(url) => (name, without_secrets(url)),
            HookEndpoint::Nats(subject) => (name, format!("NATS, {subject}")),
        })
        .collect()
}

/// Where a hook is, without what may be secret: user, password and query.
fn without_secrets(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_what_the_settings_come_to() {
        let settings = Settings::from_toml(
            r#"
            [node]
            name = "gateway-1"
            [client.token]
            hmac_secret_key = "0123456789abcdef0123456789abcdef"
            [hooks.publish]
            endpoint = "https://user:pw@backend.example:444/publish?key=secret"
            [[channel.namespaces]]
            name = "chat"
            history_size = 100
            history_ttl = "5m"
            force_recovery = true
            allow_subscribe_for_client = true
            publish_proxy_enabled = true
            [[socketio.namespaces]]
            name = "/"
            rooms = "chat"
            join = ["lobby"]
            relay = { message = "loby" }
            "#,
        )
        .unwrap();
        let expected = "\
midplane: settings are in order
  node        gateway-1
  listens     127.0.0.1:8000, this machine only
  clients     with a token (HMAC)
  Socket.IO   http://127.0.0.1:8000, namespaces / (rooms are chat)
  server API  http://127.0.0.1:8000/api, closed until http_api.key is set
  backplane   in this process: the node stands alone, history is gone when it stops
  hook        publish asks https://backend.example:444/publish
  namespace   chat (recovery), the last 100 of 5m, clients may subscribe, publish if the hook says so
  note        no browser can connect: client.allowed_origins (or FRONTEND_URL) is not set
  note        relay of socketio namespace \"/\" sends to the room \"loby\", which neither join nor may_join names: who is not in it by token or backend reaches nobody
";
        assert_eq!(summary(&settings), expected);
    }
}
