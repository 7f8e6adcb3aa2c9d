//! Nothing secret gets out: nodes with a secret of its own in every setting that can hold one, at the chattiest level of
//! logging, through all that can go wrong; then everything that they wrote and answered is searched.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::security::ask;
use crate::support::PATIENCE;
use crate::support::nats_server::NatsServer;
use crate::support::node::Socket;
use crate::support::process::Process;
use crate::support::token::{at, signed};

/// Settings that hold secrets, each with one that stands nowhere else.
const SECRETS: [(&str, &str); 12] = [
    ("client.token.hmac_secret_key", "s3cr3t-of-connection-tokens-0123456789"),
    ("client.token.hmac_previous_secret_key", "s3cr3t-of-older-connection-tokens-0123"),
    ("client.subscription_token.hmac_secret_key", "s3cr3t-of-subscription-tokens-012345"),
    ("client.subscription_token.hmac_previous_secret_key", "s3cr3t-of-older-subscription-tokens"),
    ("console.token.hmac_secret_key", "s3cr3t-of-operators-tokens-0123456789ab"),
    ("console.token.hmac_previous_secret_key", "s3cr3t-of-older-operators-tokens-01234"),
    ("http_api.key", "s3cr3t-of-the-server-api-0123456789ab"),
    ("http.metrics_token", "s3cr3t-of-the-metrics-0123456789abcd"),
    ("nats.password", "s3cr3t-password-of-nats"),
    ("nats.token", "s3cr3t-token-of-nats"),
    ("redis.password", "s3cr3t-password-of-redis"),
    ("nats.nkey", "SUAKYRHVIOREXV7EUZTBHUHL7NUMHPMAS7QMDU3GTIUWEI5LDNOXD43IZY"),
];
/// What else is secret: passwords in addresses, headers of hooks.
const HOOK_PASSWORD: &str = "s3cr3t-in-the-address-of-a-hook";
const HOOK_HEADER: &str = "s3cr3t-in-a-header-of-a-hook";
/// What clients and callers bring that is secret, and wrong.
const BROUGHT: [&str; 3] = ["s3cr3t-key-of-a-stranger", "s3cr3t-in-a-query", "s3cr3t-of-a-cookie"];

fn secret(key: &str) -> &'static str {
    SECRETS.iter().find(|(name, _)| *name == key).map(|(_, secret)| *secret).expect("a setting of the table")
}

/// The environment of a node; each secret comes from a file, but those of NATS that are given by `more`.
fn environment(directory: &TempDir, more: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let file = |key: &str| {
        let path = directory.path().join(key);
        fs::write(&path, format!("{}\n", secret(key))).unwrap();
        path.display().to_string()
    };
    let mut variables = vec![
        ("MIDPLANE_CLIENT__TOKEN__HMAC_SECRET_KEY_FILE", file("client.token.hmac_secret_key")),
        ("MIDPLANE_CLIENT__TOKEN__HMAC_PREVIOUS_SECRET_KEY_FILE", file("client.token.hmac_previous_secret_key")),
        (
            "MIDPLANE_CLIENT__SUBSCRIPTION_TOKEN__HMAC_SECRET_KEY_FILE",
            file("client.subscription_token.hmac_secret_key"),
        ),
        (
            "MIDPLANE_CLIENT__SUBSCRIPTION_TOKEN__HMAC_PREVIOUS_SECRET_KEY_FILE",
            file("client.subscription_token.hmac_previous_secret_key"),
        ),
        ("MIDPLANE_CONSOLE__TOKEN__HMAC_SECRET_KEY_FILE", file("console.token.hmac_secret_key")),
        ("MIDPLANE_CONSOLE__TOKEN__HMAC_PREVIOUS_SECRET_KEY_FILE", file("console.token.hmac_previous_secret_key")),
        ("MIDPLANE_HTTP_API__KEY_FILE", file("http_api.key")),
        ("MIDPLANE_HTTP__METRICS_TOKEN_FILE", file("http.metrics_token")),
        // Nobody is there: the call fails, and is logged.
        (
            "MIDPLANE_HOOKS__CONNECT__ENDPOINT",
            format!("http://midplane:{HOOK_PASSWORD}@127.0.0.1:1/connect?key={HOOK_PASSWORD}"),
        ),
        ("MIDPLANE_HOOKS__CONNECT__STATIC_HEADERS", json!({ "X-Key": HOOK_HEADER }).to_string()),
        ("MIDPLANE_HOOKS__CONNECT__HTTP_HEADERS", "Cookie".to_owned()),
        (
            "MIDPLANE_CHANNEL__NAMESPACES",
            r#"[{"name": "kept", "history_size": 10, "history_ttl": "1h", "presence": true}]"#.to_owned(),
        ),
        ("MIDPLANE_REDIS__PASSWORD_FILE", file("redis.password")),
        ("MIDPLANE_SOCKETIO__NAMESPACES", r#"[{"name": "/", "rooms": "kept"}]"#.to_owned()),
        ("MIDPLANE_LOG__LEVEL", "trace".to_owned()),
    ];
    if cfg!(feature = "redis") {
        // Nobody is there either.
        variables.push(("REDIS_URL", "redis://127.0.0.1:1".to_owned()));
    }
    variables.extend(more.iter().cloned());
    variables
}

/// Everything that must not be found: as it is, and in the form in which HTTP sends it.
fn needles(tokens: &[String]) -> Vec<String> {
    let plain = SECRETS.iter().map(|(_, secret)| (*secret).to_owned());
    let brought = BROUGHT.iter().chain([&HOOK_PASSWORD, &HOOK_HEADER]).map(|secret| (*secret).to_owned());
    // The signature of a token is what makes it one.
    let signatures = tokens.iter().map(|token| token.rsplit_once('.').unwrap().1.to_owned());
    plain.chain(brought).chain(signatures).collect()
}

#[track_caller]
fn is_clean(what: &str, text: &str, needles: &[String]) {
    for needle in needles {
        if let Some(found) = text.find(needle.as_str()) {
            let from = (0..=found.saturating_sub(200)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            panic!("{what} shows {needle:?}: …{}", &text[from..found]);
        }
    }
}

/// What a command says, on both outputs.
async fn said(command: &str, variables: &[(&'static str, String)]) -> String {
    let mut midplane = Command::new(env!("CARGO_BIN_EXE_midplane"));
    midplane.args([command]).env_clear().env("PORT", "0").envs(variables.iter().map(|(name, value)| (name, value)));
    let output = timeout(PATIENCE * 2, midplane.kill_on_drop(true).output()).await.expect("ends in time").unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A request of which nothing but the answer is wanted.
async fn answer(address: &str, head: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    ask(
        address,
        &format!(
            "{head} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ),
    )
    .await
}

/// Everything that goes wrong with what strangers bring; what they are told.
async fn provoke(address: &str, tokens: &[String]) -> String {
    let [key, query, cookie] = BROUGHT;
    let mut told = String::new();
    for token in tokens {
        let mut socket = Socket::open(address).await;
        socket.say(json!({"id": 1, "connect": {"token": token}})).await;
        told.push_str(&socket.said().await);
    }
    // Without a token: the hook is asked, and does not answer.
    let mut socket = Socket::open(address).await;
    socket.say(json!({"id": 1, "connect": {}})).await;
    told.push_str(&socket.said().await);
    let connect = |token: &str| json!({"id": 1, "connect": {"token": token}}).to_string();
    for (head, headers, body) in [
        ("POST /api/publish".to_owned(), format!("X-API-Key: {key}\r\n"), "{}".to_owned()),
        ("POST /api/publish".to_owned(), format!("Authorization: apikey {key}\r\n"), "nonsense".to_owned()),
        (format!("POST /api/publish?api_key={query}"), String::new(), "{}".to_owned()),
        (
            format!("POST /api/nonsense?api_key={query}"),
            format!("X-API-Key: {}\r\n", secret("http_api.key")),
            "{}".to_owned(),
        ),
        (
            "POST /api/publish".to_owned(),
            format!("X-API-Key: {}\r\n", secret("http_api.key")),
            "{\"channel\":1}".to_owned(),
        ),
        ("POST /cluster/drain".to_owned(), format!("X-API-Key: {key}\r\n"), "{}".to_owned()),
        ("GET /metrics".to_owned(), format!("Authorization: Bearer {key}\r\n"), String::new()),
        (format!("GET /connection/websocket?token={query}"), format!("Cookie: session={cookie}\r\n"), String::new()),
        (format!("GET /nowhere?token={query}"), format!("Cookie: session={cookie}\r\n"), String::new()),
        (
            format!(
                "GET /connection/sse?cf_connect={}",
                url::form_urlencoded::byte_serialize(connect(&tokens[0]).as_bytes()).collect::<String>()
            ),
            format!("Cookie: session={cookie}\r\n"),
            String::new(),
        ),
        ("POST /connection/http_stream".to_owned(), String::new(), connect(&tokens[1])),
        (
            "POST /emulation".to_owned(),
            String::new(),
            json!({"session": query, "node": query, "data": connect(&tokens[0])}).to_string(),
        ),
    ] {
        told.push_str(&answer(address, &head, &headers, &body).await);
    }
    // What is no HTTP at all.
    let mut raw = TcpStream::connect(address).await.unwrap();
    raw.write_all(format!("{key} / {query}\r\n\r\n").as_bytes()).await.unwrap();
    told
}

/// Tokens that are nobody's: expired, of another secret, of the older one, damaged.
fn tokens() -> Vec<String> {
    let expired = json!({"sub": "ada", "exp": at(-3600)});
    vec![
        signed(secret("client.token.hmac_secret_key"), &expired),
        signed("another secret, of 32 bytes at least", &json!({"sub": "ada", "exp": at(600)})),
        signed(secret("client.token.hmac_previous_secret_key"), &expired),
    ]
}

/// Runs a node of these settings through everything, and searches what came of it.
async fn lives(directory: &TempDir, server: &NatsServer, auth: &[(&'static str, String)]) {
    let variables = environment(directory, &[auth, &[("NATS_URL", server.url().to_string())]].concat());
    let tokens = tokens();
    let mut needles = needles(&tokens);
    let node = Process::start("discreet", &variables).await;
    let address = node.address().unwrap();

    // Answers to whoever has the right key are searched as well.
    let mut told = provoke(&address, &tokens).await;
    let good = signed(secret("client.token.hmac_secret_key"), &json!({"sub": "ada", "exp": at(600)}));
    let mut client = Socket::open(&address).await;
    client.say(json!({"id": 1, "connect": {"token": good}})).await;
    told.push_str(&client.hear().await.to_string());
    for command in [
        json!({"subscribe": {"channel": "kept:a", "token": tokens[0]}}),
        json!({"publish": {"channel": "kept:a", "data": 1}}),
    ] {
        let mut command = command;
        command["id"] = 2.into();
        told.push_str(&client.ask(command).await.to_string());
    }
    needles.push(good.rsplit_once('.').unwrap().1.to_owned());
    let key = format!("X-API-Key: {}\r\n", secret("http_api.key"));
    let bearer = format!("Authorization: Bearer {}\r\n", secret("http.metrics_token"));
    for path in ["/health", "/ready", "/cluster/status", "/cluster/metrics", "/cluster/nodes", "/api/stats"] {
        told.push_str(&answer(&address, &format!("GET {path}"), &key, "").await);
    }
    let metrics = answer(&address, "GET /metrics", &bearer, "").await;
    assert!(metrics.contains("midplane_ready"), "{metrics}");
    told.push_str(&metrics);
    told.push_str(&answer(&address, "POST /api/info", &key, "{}").await);

    for command in ["settings", "check", "doctor"] {
        is_clean(command, &said(command, &variables).await, &needles);
    }
    is_clean("an answer", &told, &needles);
    let log = node.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "it was to be chatty: {log}");
    is_clean("the log", &log, &needles);
}

#[tokio::test]
async fn nothing_secret_is_logged_measured_or_answered() {
    let (name, password) = ("discreet", secret("nats.password"));
    let directory = tempfile::tempdir().unwrap();
    let server = NatsServer::with_config(&format!(
        "authorization {{ users: [ {{ user: {name}, password: \"{password}\" }} ] }}"
    ))
    .await;
    let by_password = [("MIDPLANE_NATS__USER", name.to_owned()), ("MIDPLANE_NATS__PASSWORD", password.to_owned())];
    lives(&directory, &server, &by_password).await;
}

#[tokio::test]
async fn no_token_or_seed_of_nats_is_told_whether_or_not_it_is_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let (token, seed) = (secret("nats.token"), secret("nats.nkey"));
    let public = nkeys::KeyPair::from_seed(seed).unwrap().public_key();
    let by_token = NatsServer::with_config(&format!("authorization {{ token: \"{token}\" }}")).await;
    lives(&directory, &by_token, &[("MIDPLANE_NATS__TOKEN", token.to_owned())]).await;
    let by_key = NatsServer::with_config(&format!("authorization {{ users: [ {{ nkey: {public} }} ] }}")).await;
    lives(&directory, &by_key, &[("MIDPLANE_NATS__NKEY", seed.to_owned())]).await;

    // Turned away: a server that knows somebody else.
    for (variable, secret) in [("MIDPLANE_NATS__TOKEN", token), ("MIDPLANE_NATS__NKEY", seed)] {
        let at = if variable.ends_with("NKEY") { &by_token } else { &by_key };
        let variables = environment(&directory, &[(variable, secret.to_owned()), ("NATS_URL", at.url().to_string())]);
        for command in ["serve", "doctor"] {
            let said = said(command, &variables).await;
            assert!(!said.is_empty());
            is_clean(command, &said, &needles(&tokens()));
        }
    }
    // In the address, as many write it.
    let address = by_token.url().to_string().replace("nats://", &format!("nats://{token}@"));
    let variables = environment(&directory, &[("NATS_URL", address)]);
    for command in ["settings", "check", "doctor"] {
        is_clean(command, &said(command, &variables).await, &needles(&tokens()));
    }
}

#[test]
fn every_setting_that_holds_a_secret_is_among_those() {
    let declared = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/settings/shown.rs")).unwrap();
    let declared = declared.split_once("const SECRETS").unwrap().1.split_once("];").unwrap().0;
    let declared: Vec<_> = declared.split('"').skip(1).step_by(2).collect();
    assert_eq!(declared.len(), SECRETS.len());
    for key in declared {
        assert!(SECRETS.iter().any(|(name, _)| *name == key), "{key}");
    }
}

#[tokio::test]
async fn a_secret_that_is_refused_is_not_shown_either() {
    for (variable, secret) in [
        ("JWT_SECRET", "s3cr3t-too-short"),
        ("MIDPLANE_NATS__PASSWORD", "s3cr3t-without-a-user"),
        ("MIDPLANE_NATS__NKEY", "s3cr3t-that-is-no-seed"),
    ] {
        let said =
            said("check", &[(variable, secret.to_owned()), ("MIDPLANE_HTTP__BIND", "0.0.0.0:8000".to_owned())]).await;
        is_clean(variable, &said, &[secret.to_owned()]);
    }
}
