//! What scripts and process managers rely on: exit codes, signals, what stands on which output.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::support::PATIENCE;
use crate::support::node::Socket;
use crate::support::token::signed;

fn midplane(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midplane"));
    command.args(arguments).env_clear().kill_on_drop(true);
    command
}

async fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = timeout(PATIENCE, command.output()).await.expect("ends in time").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A node in a process of its own, on a free port.
struct Process {
    child: Child,
    address: String,
    log: Lines<BufReader<Box<dyn AsyncRead + Unpin + Send>>>,
}

impl Process {
    async fn serve() -> Self {
        Self::start(midplane(&[]).stderr(Stdio::piped())).await
    }

    async fn start(command: &mut Command) -> Self {
        let mut child = command.env("PORT", "0").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("says where it listens").unwrap();
            if let Some((_, rest)) = line.expect("goes on").split_once("ws://") {
                break rest.split('/').next().unwrap().to_owned();
            }
        };
        let log: Box<dyn AsyncRead + Unpin + Send> = match child.stderr.take() {
            Some(log) => Box::new(log),
            None => Box::new(tokio::io::empty()),
        };
        Self { child, address, log: BufReader::new(log).lines() }
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("runs").to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
    }

    /// The next line with these words.
    async fn logs(&mut self, words: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.log.next_line()).await.expect(words).unwrap().expect(words);
            if line.contains(words) {
                return line;
            }
        }
    }

    async fn exit_code(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("ends in time").unwrap().code()
    }
}

#[tokio::test]
async fn settings_that_are_refused_end_every_command_with_78() {
    for command in ["serve", "check", "settings", "health"] {
        let (code, out, error) = run(midplane(&[command]).env("MIDPLANE_HTTP__BNID", "1")).await;
        assert_eq!((code, out.as_str()), (Some(78), ""), "{command}");
        assert!(error.starts_with("midplane: settings refused\n  http.bnid (from MIDPLANE_HTTP__BNID): "), "{error}");
    }
}

#[tokio::test]
async fn the_file_that_the_environment_names_is_read_and_an_empty_variable_names_none() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("midplane.toml");
    std::fs::write(&file, "[node]\nname = \"from-a-file\"\n").unwrap();
    let (code, out, error) = run(midplane(&["settings"]).env("MIDPLANE_CONFIG", &file)).await;
    assert_eq!((code, out.contains("from-a-file")), (Some(0), true), "{error}");
    let (code, out, error) = run(midplane(&["settings"]).env("MIDPLANE_CONFIG", "")).await;
    assert_eq!((code, error.as_str(), out.contains("from-a-file")), (Some(0), "", false));
    // Whoever asks for a file on the command line means one.
    let (code, _, error) = run(midplane(&["check", "--config", ""]).env("MIDPLANE_CONFIG", &file)).await;
    assert_ne!(code, Some(0), "{error}");
    assert!(error.contains("--config"), "{error}");
}

#[tokio::test]
async fn a_node_is_healthy_until_it_is_asked_to_stop() {
    let mut node = Process::serve().await;
    let url = format!("http://{}", node.address);
    let (code, _, error) = run(&mut midplane(&["health", "--url", &url])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    node.signal("-INT").await;
    assert_eq!(node.exit_code().await, Some(0));
    let (code, _, error) = run(&mut midplane(&["healthcheck", "--url", &url])).await;
    assert_eq!(code, Some(1));
    assert!(error.contains(&url), "{error}");
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_anybody() {
    for (signal, expected) in [("-TERM", 143), ("-INT", 130)] {
        let mut node = Process::serve().await;
        // A client that never answers, so that the node has somebody to wait for.
        let url = format!("ws://{}/connection/websocket", node.address);
        let (_client, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        node.signal("-TERM").await;
        node.logs("asked to stop; once more stops at once").await;
        node.signal(signal).await;
        assert_eq!(node.exit_code().await, Some(expected));
    }
}

#[tokio::test]
async fn a_node_whose_runtime_stands_still_ends_by_itself() {
    let (_unread, log) = UnixStream::pair().unwrap();
    let full = log.try_clone().unwrap();
    let mut command = midplane(&[]);
    command.envs([
        ("TOKIO_WORKER_THREADS", "1"),
        ("MIDPLANE_LOG__LEVEL", "debug"),
        ("MIDPLANE_NODE__STALL_TIMEOUT", "5s"),
    ]);
    let mut node = Process::start(command.stderr(OwnedFd::from(log))).await;
    full.set_nonblocking(true).unwrap();
    for size in [4096, 1] {
        while (&full).write(&vec![b' '; size]).is_ok_and(|written| written > 0) {}
    }
    full.set_nonblocking(false).unwrap();
    // The only thread that runs tasks has something to say of this, and waits for room in the log for ever.
    let url = format!("ws://{}/connection/websocket", node.address);
    let (mut client, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    client.send(Message::text("nonsense")).await.unwrap();
    assert_eq!(node.exit_code().await, Some(80));
}

#[tokio::test]
async fn signals_that_ask_for_what_a_node_does_not_do_end_nothing() {
    let mut node = Process::serve().await;
    for (signal, name) in [("-HUP", "SIGHUP"), ("-USR1", "SIGUSR1"), ("-USR2", "SIGUSR2")] {
        node.signal(signal).await;
        node.logs(name).await;
    }
    let url = format!("http://{}", node.address);
    assert_eq!(run(&mut midplane(&["health", "--url", &url])).await.0, Some(0));
    node.signal("-TERM").await;
    assert_eq!(node.exit_code().await, Some(0));
}

/// What a client hears who connects so.
async fn connects(address: &str, connect: Value) {
    let mut client = Socket::open(address).await;
    client.say(json!({"id": 1, "connect": connect})).await;
    client.closed().await;
}

#[tokio::test]
async fn of_causes_that_keep_clients_and_calls_out_the_log_tells_each() {
    const SECRET: &str = "a secret of thirty-two bytes, or more";
    let mut command = midplane(&[]);
    command.envs([
        ("MIDPLANE_CLIENT__TOKEN__HMAC_SECRET_KEY", SECRET),
        ("MIDPLANE_HTTP_API__KEY", "the key of the server API"),
    ]);
    let mut node = Process::start(command.stderr(Stdio::piped())).await;
    let foreign = signed("another secret of thirty-two bytes, or more", &json!({"sub": "ada"}));
    for (connect, words) in [
        (json!({}), "not let in: no token"),
        (json!({"token": "rubbish"}), "not let in: token is not a signed JWT"),
        (json!({"token": foreign}), "not let in: token signature does not match"),
    ] {
        connects(&node.address, connect).await;
        node.logs(words).await;
    }
    for (header, shown, words) in [
        ("x-accept", "nothing", "answered 401: it shows no API key"),
        ("x-api-key", "a wrong key", "answered 401: its API key is not http_api.key"),
    ] {
        let call = reqwest::Client::new().post(format!("http://{}/api/info", node.address)).header(header, shown);
        assert_eq!(call.body("{}").send().await.unwrap().status(), 401);
        let line = node.logs(words).await;
        assert!(line.contains("/api/info") && line.contains("127.0.0.1") && !line.contains(shown), "{line}");
    }
    node.signal("-TERM").await;
    assert_eq!(node.exit_code().await, Some(0));
}

#[tokio::test]
async fn the_reference_goes_to_standard_output_and_nothing_else() {
    let (code, out, error) = run(&mut midplane(&["settings", "--reference"])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(out.starts_with("# Configuration\n"));
}

#[tokio::test]
async fn a_log_for_machines_begins_with_a_line_of_json_and_nothing_else_is_said() {
    let mut node = midplane(&[])
        .envs([("MIDPLANE_LOG__FORMAT", "json"), ("PORT", "0"), ("SERVER_ID", "ada")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(node.stderr.take().unwrap()).lines();
    let started = loop {
        let line =
            timeout(PATIENCE, log.next_line()).await.expect("says that it has started").unwrap().expect("goes on");
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        if line["message"] == "the node has started" {
            break line;
        }
    };
    assert_eq!((&started["node"], &started["version"]), (&json!("ada"), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!((&started["clients"], &started["development"]), (&json!("no token needed"), &json!(true)));
    let url = format!("http://{}", started["listens"].as_str().unwrap());
    assert_eq!(run(&mut midplane(&["health", "--url", &url])).await.0, Some(0));
    let id = node.id().unwrap().to_string();
    assert!(Command::new("kill").arg(&id).status().await.unwrap().success());
    let mut said = String::new();
    node.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!((node.wait().await.unwrap().code(), said.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, _, said) = run(midplane(&[]).env("PORT", port.to_string())).await;
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("http.bind = 127.0.0.1:{port}")) && said.contains("PORT="), "{said}");
    assert_eq!(said.matches("in use").count(), 1, "{said}");
}

#[tokio::test]
async fn what_serve_would_refuse_check_refuses_in_the_same_words() {
    let directory = tempfile::tempdir().unwrap();
    let garbage = directory.path().join("garbage");
    std::fs::write(&garbage, "no certificate").unwrap();
    let garbage = garbage.to_str().unwrap();
    let pem = "-----BEGIN PUBLIC KEY-----\\nbm8ga2V5\\n-----END PUBLIC KEY-----";
    let nats = ("NATS_URL", "nats://127.0.0.1:1");
    for (variables, key) in [
        ([nats, ("MIDPLANE_CLIENT__TOKEN__RSA_PUBLIC_KEY", pem)], "client.token.rsa_public_key: "),
        ([nats, ("MIDPLANE_CONSOLE__TOKEN__ECDSA_PUBLIC_KEY", pem)], "console.token.ecdsa_public_key: "),
        ([nats, ("MIDPLANE_NATS__NKEY", "SUNOSEED")], "nats: not an nkey seed"),
        ([nats, ("MIDPLANE_NATS__CREDENTIALS", garbage)], "nats: credentials file"),
        ([nats, ("MIDPLANE_NATS__TLS__CA_FILE", garbage)], "nats.tls: cannot use "),
        ([nats, ("MIDPLANE_HOOKS__CONNECT__STATIC_HEADERS", r#"{"X-A":"a\r\nb"}"#)], "hooks.connect.static_headers"),
    ] {
        let mut said = Vec::new();
        for command in ["check", "serve"] {
            let (code, out, error) = run(midplane(&[command]).envs(variables)).await;
            assert_eq!((code, out.as_str()), (Some(78), ""), "{key}: {error}");
            assert!(error.starts_with("midplane: settings refused\n") && error.contains(key), "{key}: {error}");
            assert!(!error.contains("SUNOSEED"), "{error}");
            said.push(error);
        }
        assert_eq!(said[0], said[1]);
    }
}

#[tokio::test]
async fn settings_may_come_through_a_pipe() {
    let mut child =
        midplane(&["--config", "/dev/stdin", "check"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"node.name = \"through-a-pipe\"").await.unwrap();
    drop(pipe);
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("ends in time").unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("through-a-pipe"), "{output:?}");
}
