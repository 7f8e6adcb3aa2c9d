//! A node of midplane.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;

use super::clock::Clock;
use super::port::Port;
use super::process::Process;
use super::{Programs, request};
use crate::journal::{Entry, Journal, Phase};
use crate::plan::Scene;

/// What callers of the server API send.
pub const KEY: &str = "the key of a fault run";

const START: Duration = Duration::from_secs(90);

/// What all nodes are told. Where rooms may be come back to, all of their channels are delivered in one order: without
/// clients of Socket.IO it is as ever.
pub fn settings(scene: &Scene) -> String {
    let sockets = if scene.sockets.is_empty() { "" } else { include_str!("sockets.toml") };
    [include_str!("node.toml"), sockets].concat()
}

pub struct Node {
    name: String,
    port: Port,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    clock: Option<Clock>,
    /// Each start is another life.
    life: u32,
    journal: Arc<Journal>,
}

impl Node {
    /// A node that reaches NATS at `upstream`; not started yet.
    pub fn new(
        programs: &Programs,
        directory: &Path,
        index: usize,
        port: Port,
        upstream: &[SocketAddr],
        settings: &str,
        journal: Arc<Journal>,
    ) -> anyhow::Result<Self> {
        let name = format!("node-{index}");
        let servers: Vec<_> = upstream.iter().map(|server| format!("\"nats://{server}\"")).collect();
        let config = format!(
            "[node]\nname = \"{name}\"\n[http]\nbind = \"{}\"\n[http_api]\nkey = \"{KEY}\"\n\
             [nats]\nservers = [{}]\n{settings}",
            port.address(),
            servers.join(", ")
        );
        let path = directory.join(format!("{name}.toml"));
        fs::write(&path, config)?;
        let clock_file = directory.join(format!("{name}.clock"));
        let clock = programs.faketime.as_ref().map(|library| Clock::new(library, clock_file)).transpose()?;
        Ok(Self {
            log: directory.join(format!("{name}.log")),
            name,
            port,
            program: programs.midplane.clone(),
            config: path,
            process: None,
            clock,
            life: 0,
            journal,
        })
    }

    /// Starts it, if it does not run.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if let Some(process) = &mut self.process {
            match process.ended() {
                None => return Ok(()),
                Some(how) => self.note_end(&how),
            }
        }
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config).arg("serve");
        if let Some(clock) = &self.clock {
            clock.wind(&mut command);
        }
        self.process = Some(Process::start(&mut command, &self.log)?);
        self.life += 1;
        self.journal.write(Entry::NodeStarted { node: self.name.clone(), life: self.life });
        Ok(())
    }

    /// A token with which its user may connect for ever.
    pub fn token(&self, user: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        let said =
            command.arg("token").arg("--config").arg(&self.config).args(["--user", user, "--ttl", "0s"]).output()?;
        anyhow::ensure!(said.status.success(), "no token: {}", String::from_utf8_lossy(&said.stderr));
        Ok(String::from_utf8(said.stdout)?.trim().to_owned())
    }

    pub fn kill(&mut self) {
        if self.process.take().is_some() {
            self.note_end("killed");
        }
    }

    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM);
            let how = process.end_within(Duration::from_secs(40)).await;
            self.note_end(&how);
        }
    }

    pub fn pause(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(Signal::STOP);
        }
    }

    pub fn resume(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(Signal::CONT);
        }
    }

    /// Sets its time of day so many seconds off.
    pub fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        let clock = self.clock.as_ref().context("no libfaketime, and so no clock to be set")?;
        Ok(clock.set(seconds)?)
    }

    /// Whether the process has ended although nobody ended it.
    pub fn died(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_some())
    }

    pub async fn is_ready(&self) -> bool {
        let answer = request(self.port.address(), "GET /ready", "", "", Duration::from_secs(3)).await;
        answer.is_ok_and(|(status, _)| status == 200)
    }

    pub async fn await_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < START {
            anyhow::ensure!(!self.died(), "{} ended at once; see {}", self.name, self.log.display());
            if self.is_ready().await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("{} is not ready after {START:?}; see {}", self.name, self.log.display())
    }

    /// Takes down what it counts and uses.
    ///
    /// # Errors
    /// When it does not run, or does not answer.
    pub async fn scrape(&self, phase: Phase) -> anyhow::Result<()> {
        let process = self.process.as_ref().context("it does not run")?;
        let (status, body) = request(self.port.address(), "GET /metrics", "", "", Duration::from_secs(3)).await?;
        anyhow::ensure!(status == 200, "{status} {body}");
        let values: BTreeMap<String, f64> = body
            .lines()
            .filter(|line| line.starts_with("midplane_") && !line.contains("_bucket{"))
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .filter(|(_, value)| *value != 0.0)
            .collect();
        self.journal.write(Entry::Scraped {
            phase,
            node: self.name.clone(),
            life: self.life,
            resident: process.resident(),
            descriptors: process.descriptors(),
            values,
        });
        Ok(())
    }

    fn note_end(&self, how: &str) {
        self.journal.write(Entry::NodeEnded { node: self.name.clone(), life: self.life, how: how.to_owned() });
    }
}
