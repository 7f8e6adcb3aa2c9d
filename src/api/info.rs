//! `info`: the nodes, each as it last told of itself.

use serde::Serialize;

use super::Api;
use crate::cluster::Member;

#[derive(Serialize)]
pub(super) struct InfoResult {
    nodes: Vec<NodeResult>,
}

#[derive(Serialize)]
struct NodeResult {
    /// Another one after each start.
    uid: String,
    name: String,
    version: String,
    num_clients: u64,
    num_users: u64,
    num_channels: u64,
    /// Seconds.
    uptime: u64,
    process: Process,
    num_subs: u64,
}

#[derive(Serialize)]
struct Process {
    /// Percent of one processor, on average over some seconds.
    cpu: f64,
    /// Bytes of resident memory.
    rss: u64,
}

impl Api {
    /// Nodes that are there, this one among them.
    pub(super) fn info(&self) -> InfoResult {
        let live = self.cluster.members().into_iter().filter(|member| member.entry.is_live());
        InfoResult { nodes: live.map(NodeResult::from).collect() }
    }
}

impl From<Member> for NodeResult {
    fn from(member: Member) -> Self {
        let load = member.load.unwrap_or_default();
        Self {
            uid: member.entry.process,
            name: member.entry.name,
            version: member.entry.version,
            num_clients: load.work.clients,
            num_users: load.work.users,
            num_channels: load.work.channels,
            uptime: load.uptime,
            process: Process { cpu: load.cpu, rss: load.memory },
            num_subs: load.work.subscriptions,
        }
    }
}
