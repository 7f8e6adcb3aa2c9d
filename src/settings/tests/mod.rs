//! What settings promise.

mod edges;
mod redis;
mod refused;
mod socketio;

use std::io::Write as _;
use std::time::Duration;

use config::{Config, File, FileFormat, Value, ValueKind};
use secrecy::ExposeSecret;

use super::section::Table;
use super::{
    ConnectionOverflow, DEFAULTS, HookEndpoint, NatsAuth, RecoveryMode, Refusals, Settings, explain, reference,
    template,
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(variables: &[(&str, &str)]) -> Result<Settings, Refusals> {
    Settings::load(None, environment(variables))
}

fn lines(refusals: &Refusals) -> Vec<String> {
    refusals.0.iter().map(ToString::to_string).collect()
}

/// The only refusal of `result`.
fn refused(result: Result<Settings, Refusals>) -> String {
    let refusals = result.expect_err("refused");
    assert_eq!(refusals.0.len(), 1, "{refusals}");
    refusals.0[0].to_string()
}

#[test]
fn without_any_configuration_a_node_is_there_to_be_played_with_on_this_machine_only() {
    let settings = load(&[]).expect("defaults are valid");
    assert!(settings.development && settings.http.demo && settings.http_api.insecure);
    assert!(settings.client.allow_anonymous_connect_without_token);
    assert_eq!(settings.http.bind.to_string(), "127.0.0.1:8000");
    assert!(settings.nats.is_none() && settings.notes.is_empty());
    let chat = &settings.channel.namespaces.0["chat"];
    assert!(chat.force_recovery && chat.history.is_some() && chat.allow_publish_for_anonymous);
    assert_eq!(settings.channel.namespaces.0["state"].recovery_mode, RecoveryMode::Cache);
    assert!(settings.channel.namespaces.0[""].allow_subscribe_for_client);
}

#[test]
fn a_secret_alone_ends_development_mode() {
    let settings = load(&[("JWT_SECRET", SECRET)]).expect("valid");
    assert!(!settings.development && !settings.http.demo && !settings.http_api.insecure);
    assert!(!settings.client.allow_anonymous_connect_without_token);
    assert_eq!(settings.channel.namespaces.0.len(), 1, "no namespaces to play with");
    assert!(!settings.channel.namespaces.0[""].allow_subscribe_for_client);
    let secret = settings.client.token.expect("a key").hmac_secret.expect("a secret");
    assert_eq!(secret.expose_secret(), SECRET);
}

#[test]
fn the_short_names_set_their_options() {
    let settings = load(&[
        ("PORT", "3001"),
        ("SERVER_ID", "server-1"),
        ("JWT_SECRET", SECRET),
        ("FRONTEND_URL", "https://App.example.com/start"),
        ("MAX_CONNECTIONS", "5000"),
        ("SUPABASE_URL", "https://ref.supabase.co/"),
        ("NATS_URL", "nats://a:4222,b:4222"),
        ("ENABLE_CLUSTERING", "true"),
    ])
    .expect("valid");
    assert_eq!(settings.http.bind.to_string(), "127.0.0.1:3001");
    assert_eq!(settings.node.name, "server-1");
    assert_eq!(settings.client.allowed_origins[0].0, "https://app.example.com");
    assert_eq!(settings.http.max_connections, Some(5000));
    let token = settings.client.token.expect("keys");
    assert_eq!(
        token.jwks.expect("keys of the project").url.as_str(),
        "https://ref.supabase.co/auth/v1/.well-known/jwks.json"
    );
    assert_eq!(token.issuer.as_deref(), Some("https://ref.supabase.co/auth/v1"));
    assert_eq!(token.audience.as_deref(), Some("authenticated"));
    let servers: Vec<_> = settings.nats.expect("a cluster").servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["nats://a:4222", "nats://b:4222"]);
}

#[test]
fn the_environment_goes_over_the_file_and_the_long_names_over_the_short() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "[http]\nbind = \"127.0.0.1:1\"\nbody_limit = 5000\nmax_connections = 1").expect("written");
    let variables = [("MAX_CONNECTIONS", "2"), ("MIDPLANE_HTTP__MAX_CONNECTIONS", "3"), ("PORT", "")];
    let settings = Settings::load(Some(file.path()), environment(&variables)).expect("valid");
    assert_eq!(settings.http.bind.port(), 1, "an empty variable is not set");
    assert_eq!((settings.http.max_connections, settings.http.body_limit), (Some(3), 5000));
}

#[test]
fn secrets_are_kept_to_the_letter() {
    for secret in ["00123", " spaced ", "true", "a,b", "[1]", "1e5"] {
        let settings = load(&[("MIDPLANE_HTTP_API__KEY", secret)]).expect("valid");
        assert_eq!(settings.http_api.key.expect("a key").expose_secret(), secret);
    }
}

#[test]
fn secrets_can_be_read_from_files() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "{SECRET}").expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    for name in ["JWT_SECRET_FILE", "MIDPLANE_CLIENT__TOKEN__HMAC_SECRET_KEY_FILE"] {
        let token = load(&[(name, path)]).expect("valid").client.token.expect("a key");
        assert_eq!(token.hmac_secret.expect("a secret").expose_secret(), SECRET);
    }
    assert_eq!(
        refused(load(&[("JWT_SECRET", SECRET), ("JWT_SECRET_FILE", path)])),
        "JWT_SECRET_FILE: JWT_SECRET is set as well; set one of them"
    );
    let missing = load(&[("MIDPLANE_HTTP_API__KEY_FILE", "/nowhere/key")]);
    assert!(refused(missing).starts_with("MIDPLANE_HTTP_API__KEY_FILE = \"/nowhere/key\": cannot be read"));
}

#[test]
fn names_of_namespaces_keep_their_case() {
    let json = r#"[{"name": "Chat", "history_size": 5, "history_ttl": "1m"}]"#;
    let settings = load(&[("MIDPLANE_CHANNEL__NAMESPACES", json)]).expect("valid");
    let chat = settings.channel.namespaces.0["Chat"].history.clone().expect("history");
    assert_eq!((chat.size, chat.ttl, chat.horizon), (5, Duration::from_secs(60), Duration::from_secs(720 * 3600)));
}

#[test]
fn variables_of_the_replaced_tier_that_do_nothing_yet_are_mentioned() {
    let settings = load(&[("REDIS_URL", "redis://a:6379")]).expect("valid");
    assert_eq!(settings.notes, ["redis.servers (REDIS_URL) has no effect: there are no socketio.namespaces to bridge"]);
    let settings = load(&[("REDIS_KEY_PREFIX", "app")]).expect("valid");
    assert!(settings.notes[0].contains("REDIS_KEY_PREFIX") && settings.redis.is_none(), "{:?}", settings.notes);
    for name in ["NODE_ENV", "SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY"] {
        let notes = load(&[(name, "what-may-be-secret")]).expect("valid").notes;
        assert!(notes.iter().any(|note| note.starts_with(&format!("{name} has no effect: "))), "{notes:?}");
        assert!(notes.iter().all(|note| !note.contains("what-may-be-secret")), "{notes:?}");
    }
}

#[test]
fn how_nodes_watch_each_other_can_be_said_in_milliseconds() {
    let settings = load(&[("HEARTBEAT_INTERVAL", "500"), ("FAILURE_DETECTION_TIMEOUT", "2000")]).expect("valid");
    assert_eq!(settings.cluster.heartbeat_interval, Duration::from_millis(500));
    assert_eq!(settings.cluster.failure_detection_timeout, Duration::from_secs(2));
    let settings = load(&[("HEARTBEAT_INTERVAL", "2s")]).expect("valid");
    assert_eq!(settings.cluster.heartbeat_interval, Duration::from_secs(2));
    let refusal = refused(load(&[("HEARTBEAT_INTERVAL", "1000"), ("FAILURE_DETECTION_TIMEOUT", "2900")]));
    assert!(refusal.contains("FAILURE_DETECTION_TIMEOUT") && refusal.contains("3s"), "{refusal}");
}

#[test]
fn a_key_that_is_set_but_empty_is_mentioned() {
    assert_eq!(load(&[("JWT_SECRET", "")]).expect("valid").notes, ["JWT_SECRET is set but empty"]);
}

#[test]
fn log_filters_are_levels_for_everything_or_for_modules() {
    for level in ["off", "INFO", "midplane=debug", "info,midplane::session=trace", "warn,midplane[client]=debug"] {
        let settings = load(&[("MIDPLANE_LOG__LEVEL", level)]).expect("valid");
        assert_eq!(settings.log.level, level);
    }
    for level in ["blah", "midplane::session", "info,verbose", "midplane=blah"] {
        let refused = refused(load(&[("MIDPLANE_LOG__LEVEL", level)]));
        assert!(refused.contains("log.level") && refused.contains(level), "{refused}");
    }
}

#[test]
fn clustering_can_be_demanded_and_declined() {
    assert!(load(&[("NATS_URL", "nats://a:4222")]).expect("valid").nats.is_some());
    assert!(load(&[("NATS_URL", "nats://a:4222"), ("ENABLE_CLUSTERING", "false")]).expect("valid").nats.is_none());
    let without = refused(load(&[("ENABLE_CLUSTERING", "true")]));
    assert!(without.contains("set NATS_URL"), "{without}");
    let with_password = load(&[("NATS_URL", "nats://me:p%40ss@a:4222")]).expect("valid").nats.expect("a cluster");
    assert_eq!(with_password.servers[0].as_str(), "nats://a:4222");
    assert!(matches!(with_password.auth, NatsAuth::UserPassword { user, password }
        if user == "me" && password.expose_secret() == "p@ss"));
}

#[test]
fn a_process_that_stands_still_is_given_time_and_may_be_left_alone() {
    let of = |timeout| Settings::from_toml(&format!("node.stall_timeout = \"{timeout}\""));
    assert_eq!(of("5s").expect("valid").node.stall_timeout, Some(Duration::from_secs(5)));
    assert_eq!(of("0s").expect("valid").node.stall_timeout, None);
    assert!(refused(of("4s")).contains("node.stall_timeout"));
}

#[test]
fn values_are_read_as_what_people_write() {
    let settings = Settings::from_toml(
        r#"
        [http]
        handshake_rate = "30/m burst 7"
        trusted_proxies = ["10.0.0.0/8", "::1"]
        body_limit = "1MiB"
        [client]
        ping_interval = "1m30s"
        pong_timeout = "off"
        publish_rate = "10/s"
        bytes_rate = "6MiB/m burst 1MB"
        subscribe_rate = "off"
        user_connect_rate = "off"
        user_connection_limit = 3
        user_connection_overflow = "replace"
        [client.connects]
        wait = "2s"
        [hooks.connect]
        endpoint = "https://backend.example/connect"
        static_headers = { X-Key = "v" }
        "#,
    )
    .expect("valid");
    let rate = settings.http.handshake_rate.expect("limited");
    assert_eq!((rate.per_second, rate.burst), (0.5, 7));
    assert_eq!(settings.http.trusted_proxies.iter().map(|net| net.prefix).collect::<Vec<_>>(), [8, 128]);
    assert_eq!(settings.http.body_limit, 1 << 20);
    assert_eq!((settings.client.ping_interval, settings.client.pong_timeout), (Duration::from_secs(90), None));
    assert_eq!(settings.client.publish_rate.expect("limited").burst, 10);
    let bytes = settings.client.bytes_rate.expect("limited");
    assert_eq!((bytes.per_second, bytes.burst), (104_857.6, 1_000_000));
    assert!(settings.client.subscribe_rate.is_none() && settings.client.user_connect_rate.is_none());
    let limit = settings.client.user_connection_limit.expect("limited");
    assert_eq!((limit.most.get(), limit.overflow), (3, ConnectionOverflow::Replace));
    assert_eq!((settings.client.connects.wait, settings.client.connects.concurrency), (Duration::from_secs(2), 1024));
    let hook = settings.hooks.connect.expect("a hook");
    assert!(matches!(hook.endpoint, HookEndpoint::Http(url) if url.path() == "/connect"));
    assert_eq!(hook.static_headers["x-key"], "v");
}

#[test]
fn every_option_of_the_manual_is_read() {
    let text = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml)).build().expect("TOML");
    let ValueKind::Table(defaults) = text.cache.kind else { panic!("a table") };
    let mut options = Vec::new();
    leaves("", &defaults, &mut options);
    assert!(options.len() > 100, "{}", options.len());
    for option in options {
        // Nothing is a list of lists.
        let (section, key) = option.rsplit_once('.').expect("every option stands in a section");
        let refusals = Settings::from_toml(&format!("[{section}]\n{key} = [[[]]]")).expect_err(&option);
        assert!(refusals.0.iter().any(|refusal| refusal.key.starts_with(&option)), "{option}: {refusals}");
    }
}

fn leaves(path: &str, table: &Table, found: &mut Vec<String>) {
    for (name, Value { kind, .. }) in table {
        let whole = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match kind {
            ValueKind::Table(inner) if !inner.is_empty() => leaves(&whole, inner, found),
            _ => found.push(whole),
        }
    }
}

#[test]
fn the_resolved_settings_show_origins_but_no_secrets() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "[http]\nmax_connections = 7\n[[channel.namespaces]]\nname = \"chat\"").expect("written");
    let variables = environment(&[("JWT_SECRET", SECRET), ("NATS_URL", "nats://me:pw@a:4222"), ("PORT", "3001")]);
    let text = explain(Some(file.path()), variables).expect("valid");
    assert!(!text.contains(SECRET) && !text.contains("pw"), "{text}");
    for line in [
        "# clients are told apart, listening on 127.0.0.1:3001, in a cluster",
        "hmac_secret_key = \"***\"  # JWT_SECRET",
        "servers = \"nats://***@a:4222\"  # NATS_URL",
        "port = \"3001\"  # PORT",
        "max_connections = 7  # set",
        "level = \"info\"",
        "[[channel.namespaces]]",
        "name = \"chat\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_reference_is_what_the_defaults_say() {
    let written = include_str!("../../../docs/configuration.md");
    assert!(
        written == reference(),
        "docs/configuration.md differs: midplane settings --reference > docs/configuration.md"
    );
}

#[test]
fn the_file_to_start_from_changes_nothing() {
    let settings = Settings::from_toml(&template()).expect("valid");
    assert!(settings.development && settings.channel.namespaces.0.contains_key("chat"));
    assert!(template().contains("\n[http]\n") && template().contains("\n#bind = \"127.0.0.1:8000\"\n"));
}
