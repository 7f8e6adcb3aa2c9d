//! The cluster: three nodes and three servers of NATS, as processes, and how they are killed and brought back.

mod clock;
mod http;
mod nats;
mod node;
mod port;
mod process;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::Mutex;

pub use clock::library;
pub use http::request;
pub use nats::Server;
pub use node::{KEY, Node};
use port::Port;

use crate::journal::Journal;
use crate::plan::{NODES, Party, SERVERS, Scene};
use crate::wire::Links;

/// Where the binaries are.
#[derive(Debug, Clone)]
pub struct Programs {
    pub midplane: PathBuf,
    pub nats_server: PathBuf,
    /// What lets the clocks of nodes be set, where it is installed.
    pub faketime: Option<PathBuf>,
}

/// Everything that runs. Ends with this value.
pub struct World {
    pub nodes: Vec<Arc<Mutex<Node>>>,
    pub servers: Vec<Arc<Mutex<Server>>>,
    pub links: Links,
    /// Where nodes listen, past all links: for looking at them only.
    pub node_addresses: Vec<SocketAddr>,
    /// Where servers listen, past all links.
    pub server_addresses: Vec<SocketAddr>,
    directory: PathBuf,
}

impl World {
    /// Starts the servers, then the nodes, and returns once all are ready.
    pub async fn start(
        programs: &Programs,
        directory: &Path,
        scene: &Scene,
        journal: &Arc<Journal>,
    ) -> anyhow::Result<Self> {
        let settings = node::settings(scene);
        let mut links = Links::default();
        let ports = (0..SERVERS).map(|_| nats::Ports::free()).collect::<io::Result<Vec<_>>>()?;
        let server_addresses: Vec<_> = ports.iter().map(|ports| ports.client.address()).collect();
        let route_addresses: Vec<_> = ports.iter().map(|ports| ports.route.address()).collect();
        let mut servers = Vec::new();
        for (index, ports) in ports.into_iter().enumerate() {
            let mut routes = Vec::new();
            for other in (0..SERVERS).filter(|other| *other != index) {
                let to = Party::Server(other);
                routes.push(links.lay(Party::Server(index), to, route_addresses[other]).await?);
            }
            servers.push(Server::new(programs, directory, index, ports, &routes)?);
        }
        for server in &mut servers {
            server.start()?;
        }
        for server in &servers {
            server.await_ready().await?;
        }
        let ports = (0..NODES).map(|_| Port::free()).collect::<io::Result<Vec<_>>>()?;
        let node_addresses: Vec<_> = ports.iter().map(Port::address).collect();
        let mut nodes = Vec::new();
        for (index, port) in ports.into_iter().enumerate() {
            let mut upstream = Vec::new();
            // Each begins with another one.
            for offset in 0..SERVERS {
                let server = (index + offset) % SERVERS;
                upstream.push(links.lay(Party::Node(index), Party::Server(server), server_addresses[server]).await?);
            }
            let node = Node::new(programs, directory, index, port, &upstream, &settings, Arc::clone(journal))?;
            nodes.push(Arc::new(Mutex::new(node)));
        }
        for node in &nodes {
            node.lock().await.start()?;
        }
        for node in &nodes {
            node.lock().await.await_ready().await?;
        }
        let servers = servers.into_iter().map(|server| Arc::new(Mutex::new(server))).collect();
        Ok(Self { nodes, servers, links, node_addresses, server_addresses, directory: directory.to_owned() })
    }

    /// A copy of all stores as they are at one moment.
    pub async fn copy_stores(&self) -> anyhow::Result<()> {
        for server in &self.servers {
            server.lock().await.pause();
        }
        let copied = async {
            for (index, server) in self.servers.iter().enumerate() {
                let server = server.lock().await;
                copy(&server.store(), &self.copy_of(index)).context("copy a store")?;
            }
            anyhow::Ok(())
        }
        .await;
        for server in &self.servers {
            server.lock().await.resume();
        }
        copied
    }

    /// Every server is killed, finds the copy in place of its store, and starts again.
    pub async fn roll_back(&self) -> anyhow::Result<()> {
        for server in &self.servers {
            server.lock().await.kill();
        }
        for (index, server) in self.servers.iter().enumerate() {
            let mut server = server.lock().await;
            std::fs::remove_dir_all(server.store())?;
            copy(&self.copy_of(index), &server.store())?;
            server.start()?;
        }
        Ok(())
    }

    fn copy_of(&self, server: usize) -> PathBuf {
        self.directory.join(format!("copy-{server}"))
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
