//! A whole node as a process of its own, on a free port.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::eventually;

/// A running node; killed on drop.
pub struct Process {
    child: Child,
    directory: TempDir,
}

impl Process {
    /// Starts a node with these variables and waits until it is ready.
    pub async fn start(name: &str, variables: &[(&str, String)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(directory.path().join(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_midplane"))
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("SERVER_ID", name)
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("log"))
            .spawn()
            .unwrap();
        let process = Self { child, directory };
        eventually(&format!("{name} is ready"), async || {
            process.get("/ready").await.filter(|answer| answer.contains(" 200 "))
        })
        .await;
        process
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Its metrics, if it answers.
    pub async fn metrics(&self) -> Option<String> {
        self.get("/metrics").await
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status().unwrap();
        assert!(status.success(), "kill -{name}");
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its exit code, once it has ended.
    pub async fn ended(&mut self) -> Option<i32> {
        eventually("the process ends", async || self.child.try_wait().unwrap()).await.code()
    }

    /// Where clients come to, once it says so: elsewhere, if operators have a listener of their own.
    pub fn clients_address(&self) -> Option<String> {
        let out = fs::read_to_string(self.directory.path().join("out")).unwrap();
        let (_, rest) = out.split_once("ws://")?;
        Some(rest.split_once('/')?.0.to_owned())
    }

    /// Where it listens, once it says so.
    pub fn address(&self) -> Option<String> {
        let out = fs::read_to_string(self.directory.path().join("out")).unwrap();
        // As it announces itself: `probes      http://127.0.0.1:8000/ready, …`.
        let (_, rest) = out.split_once("probes")?;
        Some(rest.split_once("http://")?.1.split_once('/')?.0.to_owned())
    }

    /// What it answers to a GET, if it does.
    pub async fn get(&self, path: &str) -> Option<String> {
        let address = self.address()?;
        timeout(Duration::from_secs(5), get(&address, path)).await.ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn get(address: &str, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
