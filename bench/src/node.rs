//! Starts what is measured: midplane nodes, nats-server, the floor.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;

/// Signs the clients' tokens.
pub const SECRET: &str = "a secret of the benchmarks, nothing else";

/// A ping interval of which nothing is seen.
pub const NO_PINGS: &str = "1h";

const API_KEY: &str = "a key of the benchmarks";

/// After so long without a sign of life a node is dead.
pub const DETECTION_SECONDS: u64 = 3;

/// How long a server may take to be ready.
const START: Duration = Duration::from_secs(30);

/// Where the servers' binaries are.
pub struct Programs {
    midplane: PathBuf,
    nats_server: PathBuf,
}

impl Programs {
    pub fn find(midplane: Option<PathBuf>, nats_server: Option<PathBuf>) -> anyhow::Result<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
        let midplane = match midplane {
            Some(path) => path,
            None => build(workspace)?,
        };
        let installed = workspace.join(".tools/bin/nats-server");
        let nats_server = nats_server.unwrap_or(if installed.exists() { installed } else { "nats-server".into() });
        Ok(Self { midplane, nats_server })
    }
}

fn build(workspace: &Path) -> anyhow::Result<PathBuf> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let arguments = ["build", "--release", "--locked", "--quiet", "--bin", "midplane"];
    let status = Command::new(cargo).args(arguments).current_dir(workspace).status()?;
    anyhow::ensure!(status.success(), "midplane does not build");
    Ok(workspace.join("target/release/midplane"))
}

/// Makes the floor, or a peer, write `count` messages of `size` bytes that carry `time` to all its clients.
pub fn write_through(floor: &mut Process, count: u64, size: usize, time: u64) -> anyhow::Result<()> {
    let input = floor.child().stdin.as_mut().context("the floor's input")?;
    Ok(writeln!(input, "{count} {size} {time}")?)
}

/// A running server that clients connect to.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
    _files: TempDir,
}

/// A midplane node that pings its clients every `ping`; in the cluster of `nats` if one is given.
pub fn midplane(programs: &Programs, name: &str, ping: &str, nats: Option<SocketAddr>) -> anyhow::Result<Server> {
    let files = tempfile::tempdir()?;
    let address = free_address()?;
    let mut config = format!(
        r#"
[node]
name = "{name}"
[http]
bind = "{address}"
[http_api]
key = "{API_KEY}"
[cluster]
failure_detection_timeout = "{DETECTION_SECONDS}s"
[client]
ping_interval = "{ping}"
[client.token]
hmac_secret_key = "{SECRET}"
[channel.without_namespace]
allow_subscribe_for_client = true
allow_publish_for_client = true
[[channel.namespaces]]
name = "kept"
history_size = 100
history_ttl = "10m"
history_meta_ttl = "1h"
force_recovery = true
allow_subscribe_for_client = true
allow_publish_for_client = true
[[channel.namespaces]]
name = "room"
presence = true
join_leave = true
allow_presence_for_client = true
allow_subscribe_for_client = true
[[channel.namespaces]]
name = "sio"
allow_publish_for_client = true
[[socketio.namespaces]]
name = "/"
rooms = "sio"
join = ["bench"]
"#
    );
    if let Some(nats) = nats {
        write!(config, "[nats]\nservers = [\"nats://{nats}\"]\n")?;
    }
    let path = files.path().join("midplane.toml");
    fs::write(&path, config)?;
    let log = fs::File::create(files.path().join("log"))?;
    let mut command = Command::new(&programs.midplane);
    command.arg("--config").arg(&path).arg("serve").env("RUST_LOG", "warn");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut process = Process::start(name, &mut command)?;
    let begun = Instant::now();
    while !is_ready(address) {
        let log = || fs::read_to_string(files.path().join("log")).unwrap_or_default();
        process.check().with_context(log)?;
        anyhow::ensure!(begun.elapsed() < START, "{name} is not ready after {START:?}\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Server { process, address, _files: files })
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Calls a node's server API; returns the whole answer.
pub fn api(address: SocketAddr, method: &str, body: &Value) -> anyhow::Result<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START))?;
    let length = body.len();
    let head = format!(
        "POST /api/{method} HTTP/1.1\r\nhost: node\r\nx-api-key: {API_KEY}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let start = memchr::memmem::find(&answer, b"\r\n\r\n").context("an answer with a head")? + 4;
    let answer: Value = serde_json::from_slice(&answer[start..])?;
    anyhow::ensure!(answer.get("error").is_none(), "{method}: {answer}");
    Ok(answer)
}

/// The sum of a metric's lines that begin so.
pub fn metric(address: SocketAddr, begins: &str) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let values = answer.lines().filter(|line| line.starts_with(begins)).filter_map(|line| line.rsplit(' ').next());
    Ok(values.filter_map(|value| value.parse::<f64>().ok()).sum())
}

/// A nats-server with JetStream.
pub fn nats_server(programs: &Programs) -> anyhow::Result<Server> {
    let files = tempfile::tempdir()?;
    let address = free_address()?;
    let mut command = Command::new(&programs.nats_server);
    command.arg("--addr").arg("127.0.0.1").arg("--port").arg(address.port().to_string());
    command.arg("--jetstream").arg("--store_dir").arg(files.path()).arg("--log").arg(files.path().join("log"));
    let mut process = Process::start("nats-server", command.stdin(Stdio::null()))?;
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        process.check()?;
        anyhow::ensure!(begun.elapsed() < START, "nats-server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Server { process, address, _files: files })
}

/// The floor: a process that answers without reading and writes without thinking.
pub fn floor() -> anyhow::Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    writer("floor", command.arg("floor"))
}

/// A Socket.IO server on Node.js, as its documentation has it, that pings its clients every `ping` milliseconds.
pub fn socketio_on_node(ping: u64) -> anyhow::Result<Server> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/socketio.mjs");
    let mut command = Command::new("node");
    writer("socket.io on Node.js", command.arg(script).arg(ping.to_string()).env("NODE_ENV", "production"))
}

/// A process that prints its address, and writes to its clients what [`write_through`] says.
fn writer(name: &str, command: &mut Command) -> anyhow::Result<Server> {
    let mut process = Process::start(name, command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    let output = process.child().stdout.take().context("its output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    process.check()?;
    let address = line.trim().parse().with_context(|| format!("{name} says {line:?} where its address is due"))?;
    Ok(Server { process, address, _files: tempfile::tempdir()? })
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
