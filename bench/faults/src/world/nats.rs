//! A server of NATS, one of three that hold streams together.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::port::Port;
use super::process::Process;
use super::{Programs, request};

const START: Duration = Duration::from_secs(60);

/// Where a server listens.
#[derive(Debug)]
pub struct Ports {
    pub client: Port,
    pub monitor: Port,
    pub route: Port,
}

impl Ports {
    pub fn free() -> io::Result<Self> {
        Ok(Self { client: Port::free()?, monitor: Port::free()?, route: Port::free()? })
    }
}

pub struct Server {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    store: PathBuf,
    ports: Ports,
    process: Option<Process>,
}

impl Server {
    /// A server that reaches its fellows at `routes`; not started yet.
    pub fn new(
        programs: &Programs,
        directory: &Path,
        index: usize,
        ports: Ports,
        routes: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        let store = directory.join(format!("store-{index}"));
        let routes: Vec<_> = routes.iter().map(|route| format!("\"nats-route://{route}\"")).collect();
        // Servers tell each other and their clients where to find the rest, which would lead past our links: so they tell
        // nothing to clients, and to each other an address where nobody listens.
        let config = format!(
            "server_name: n{index}\nlisten: \"{}\"\nhttp: \"{}\"\nping_interval: \"2s\"\n\
             jetstream {{ store_dir: {store:?} }}\n\
             cluster {{ name: faults, listen: \"{}\", no_advertise: true, advertise: \"127.0.0.1:1\", routes: [{}] }}\n",
            ports.client.address(),
            ports.monitor.address(),
            ports.route.address(),
            routes.join(", ")
        );
        let path = directory.join(format!("nats-{index}.conf"));
        fs::write(&path, config)?;
        Ok(Self {
            program: programs.nats_server.clone(),
            config: path,
            log: directory.join(format!("nats-{index}.log")),
            store,
            ports,
            process: None,
        })
    }

    pub fn store(&self) -> PathBuf {
        self.store.clone()
    }

    /// Starts it, if it does not run.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.process.as_mut().is_none_or(|process| process.ended().is_some()) {
            self.process = Some(Process::start(Command::new(&self.program).arg("-c").arg(&self.config), &self.log)?);
        }
        Ok(())
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM);
            process.end_within(Duration::from_secs(20)).await;
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

    /// Returns once it serves streams, with its fellows.
    pub async fn await_ready(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < START {
            let answer = request(self.ports.monitor.address(), "GET /healthz", "", "", Duration::from_secs(2)).await;
            if answer.is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("nats-server is not ready after {START:?}; see {}", self.log.display())
    }
}
