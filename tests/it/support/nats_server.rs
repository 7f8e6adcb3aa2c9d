//! Real nats-server processes: one, or a cluster of three; killed, hung and restarted on the same port and store.
//!
//! The binary is the one that `NATS_SERVER` names, else `.tools/bin/nats-server` in the project, else that on the path.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::slice;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use super::eventually;

/// Free ports are taken from here: below what the system gives to outgoing connections, so that nobody takes a server's
/// port while it is down.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// One server. Its process ends, and its store goes away, with this value.
pub struct NatsServer {
    ports: Ports,
    config: PathBuf,
    /// The part of the configuration that stays.
    fixed: String,
    directory: TempDir,
    process: Option<Child>,
}

#[derive(Clone, Copy)]
struct Ports {
    client: u16,
    monitor: u16,
    route: u16,
}

impl NatsServer {
    /// A server with JetStream in a temporary directory, ready to serve.
    pub async fn start() -> Self {
        Self::with_config("").await
    }

    /// The same, with `extra` at the end of its configuration file.
    pub async fn with_config(extra: &str) -> Self {
        loop {
            let mut server = Self::prepared(free_ports(), "single", "", extra);
            server.spawn();
            if became_ready(slice::from_mut(&mut server)).await {
                return server;
            }
        }
    }

    /// Publishes with headers that no client library would write; returns once the server has taken it.
    pub async fn publish_raw(&self, subject: &str, headers: &[u8], payload: &[u8]) {
        let mut socket = TcpStream::connect(("127.0.0.1", self.ports.client)).await.unwrap();
        let head = "NATS/1.0\r\n".len() + headers.len() + "\r\n".len();
        let line = format!("HPUB {subject} {head} {}\r\nNATS/1.0\r\n", head + payload.len());
        let parts = [b"CONNECT {\"headers\":true,\"verbose\":false}\r\n", line.as_bytes(), headers, b"\r\n", payload];
        socket.write_all(&[&parts.concat()[..], b"\r\nPING\r\n"].concat()).await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"PONG\r\n") {
            assert_ne!(socket.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
        }
    }

    /// What clients connect to, without credentials.
    pub fn url(&self) -> Url {
        Url::parse(&format!("nats://127.0.0.1:{}", self.ports.client)).unwrap()
    }

    pub fn port(&self) -> u16 {
        self.ports.client
    }

    /// Ends the process as a crash does, without a farewell (SIGKILL), and waits for its end.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Ends the process as an operator does (SIGTERM), and waits for its end.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal(&process, "TERM");
            eventually("nats-server stops", async || process.try_wait().unwrap()).await;
        }
    }

    /// Starts a server again that was killed or stopped: same port, same store. Returns once it is ready.
    pub async fn restart(&mut self) {
        self.kill();
        self.spawn();
        assert!(became_ready(slice::from_mut(self)).await, "nats-server did not come back:\n{}", self.log());
    }

    /// As [`restart`](Self::restart), without waiting until it is ready (a member of a cluster that has no quorum).
    pub fn restart_unready(&mut self) {
        self.kill();
        self.spawn();
    }

    /// Hangs the process: connections stay open, nothing is answered (SIGSTOP). Returns once it hangs.
    pub async fn pause(&self) {
        let process = self.process.as_ref().expect("the server runs");
        signal(process, "STOP");
        eventually("every thread has stopped", async || all_stopped(process.id()).then_some(())).await;
    }

    /// Lets a hung process go on (SIGCONT).
    pub fn resume(&self) {
        signal(self.process.as_ref().expect("the server runs"), "CONT");
    }

    /// Sends its clients elsewhere, then stops it (lame duck mode).
    pub fn enter_lame_duck_mode(&self) {
        signal(self.process.as_ref().expect("the server runs"), "USR2");
    }

    /// Replaces what [`with_config`](Self::with_config) put at the end of the configuration; takes effect with
    /// [`reload`](Self::reload) or the next start.
    pub fn configure(&self, extra: &str) {
        fs::write(&self.config, format!("{}{extra}", self.fixed)).unwrap();
    }

    /// Makes a running server read its configuration again, as far as it can without a restart (SIGHUP).
    pub fn reload(&self) {
        signal(self.process.as_ref().expect("the server runs"), "HUP");
    }

    /// Throws the store away; only while the server is down.
    pub fn wipe_store(&self) {
        assert!(self.process.is_none(), "the server runs");
        let _ = fs::remove_dir_all(self.store());
    }

    /// A copy of the store; only while the server is down.
    pub fn snapshot(&self) -> TempDir {
        assert!(self.process.is_none(), "the server runs");
        let snapshot = tempfile::tempdir().unwrap();
        copy(&self.store(), snapshot.path());
        snapshot
    }

    /// Makes the store what it was; only while the server is down.
    pub fn roll_back(&self, snapshot: &TempDir) {
        self.wipe_store();
        copy(snapshot.path(), &self.store());
    }

    /// Where JetStream keeps its files.
    pub fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// What the server logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The body of one of the monitoring pages (`/varz`, `/connz`, `/jsz`); `None` unless it answers 200.
    pub async fn monitor(&self, page: &str) -> Option<String> {
        timeout(Duration::from_secs(2), get(self.ports.monitor, page)).await.ok().flatten()
    }

    fn prepared(ports: Ports, name: &str, cluster: &str, extra: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("midplane-nats-").tempdir().unwrap();
        let path = directory.path();
        let fixed = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\n\
             jetstream {{ store_dir: {:?} }}\n{cluster}\n",
            ports.client,
            ports.monitor,
            path.join("store")
        );
        let server = Self { ports, config: path.join("nats.conf"), fixed, directory, process: None };
        server.configure(extra);
        server
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let process = Command::new(binary())
            .arg("-c")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("nats-server starts (set NATS_SERVER, or run scripts/test.sh once)");
        self.process = Some(process);
    }

    /// Whether it ended because another process had taken one of its ports.
    fn lost_its_port(&mut self) -> bool {
        let ended = self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_some());
        if ended {
            let log = self.log();
            assert!(log.contains("address already in use"), "nats-server ended at once:\n{log}");
        }
        ended
    }
}

/// Waits until all serve; false when another process had taken a port of one of them, for whom its fellows would wait.
async fn became_ready(servers: &mut [NatsServer]) -> bool {
    eventually("nats-server is ready", async || {
        if servers.iter_mut().any(NatsServer::lost_its_port) {
            return Some(false);
        }
        for server in servers.iter() {
            server.monitor("/healthz").await?;
        }
        Some(true)
    })
    .await
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three servers that hold streams together. Index them as `cluster.servers[0]`.
pub struct NatsCluster {
    pub servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Three servers with JetStream, routes up and a leader elected.
    pub async fn start() -> Self {
        Self::with_config("").await
    }

    /// The same, with `extra` at the end of each configuration file.
    pub async fn with_config(extra: &str) -> Self {
        loop {
            let ports = [free_ports(), free_ports(), free_ports()];
            let mut routes = String::new();
            for port in &ports {
                write!(routes, "\"nats-route://127.0.0.1:{}\", ", port.route).unwrap();
            }
            let mut servers: Vec<NatsServer> = ports
                .iter()
                .enumerate()
                .map(|(index, ports)| {
                    let cluster = format!(
                        "cluster {{ name: \"c{}\", listen: \"127.0.0.1:{}\", routes: [ {routes}] }}",
                        ports_name(&routes),
                        ports.route
                    );
                    NatsServer::prepared(*ports, &format!("n{index}"), &cluster, extra)
                })
                .collect();
            servers.iter_mut().for_each(NatsServer::spawn);
            if became_ready(&mut servers).await {
                return Self { servers };
            }
        }
    }

    /// The addresses of all servers.
    pub fn urls(&self) -> Vec<Url> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// The server with this name, as streams and advisories name their leaders (`n0`, `n1`, `n2`).
    pub fn named(&mut self, name: &str) -> &mut NatsServer {
        let index: usize = name.trim_start_matches('n').parse().expect("a server's name");
        &mut self.servers[index]
    }
}

/// A cluster's name of its own keeps servers of two tests apart, should ports ever be mixed up.
fn ports_name(routes: &str) -> String {
    routes.chars().filter(char::is_ascii_digit).collect()
}

fn free_ports() -> Ports {
    let free = || {
        loop {
            let port = rand::random_range(PORTS);
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    };
    Ports { client: free(), monitor: free(), route: free() }
}

fn binary() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "which server to test with is the test run's setting, not the node's"
    )]
    if let Some(path) = std::env::var_os("NATS_SERVER") {
        return path.into();
    }
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/nats-server");
    if pinned.exists() { pinned } else { PathBuf::from("nats-server") }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Signals one process by its id. The shell's own `kill` is there on every system.
fn signal(process: &Child, name: &str) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", process.id())).status().unwrap();
    assert!(status.success(), "kill -{name}");
}

/// Whether the system shows all threads of a process as stopped; true where it does not show threads.
fn all_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        // `<id> (<name>) <state> ...`
        let line = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        line.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

async fn get(port: u16, page: &str) -> Option<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {page} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
}
