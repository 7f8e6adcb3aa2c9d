//! How the cluster is and what its nodes do, in the JSON that operators' scripts read: camelCase, durations in milliseconds.

use std::time::SystemTime;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::advice::Recommendation;
use super::{Operate, load};
use crate::cluster::{Member, State};

/// `GET /cluster/status`: this node among the others.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    server_id: String,
    /// `healthy`, `draining`, or `unhealthy`: then `reasons` says why.
    status: &'static str,
    connections: u64,
    /// Milliseconds.
    uptime: u64,
    /// Nodes that are there, also those that drain.
    cluster_size: usize,
    ready: bool,
    reasons: Vec<String>,
    version: &'static str,
}

/// `GET /cluster/metrics`: all nodes together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterMetrics {
    /// Nodes that take clients.
    total_servers: usize,
    /// Of all nodes, also those that drain.
    total_connections: u64,
    /// What the nodes take together; `null` where one of them takes any number.
    total_capacity: Option<u64>,
    /// Of the nodes that take clients, 0 to 1: their connections or processors, whichever is used more.
    average_load: f64,
    recommended_action: Recommendation,
    recommended_instances: usize,
    /// What somebody asked for last; `null` where nobody did.
    desired_instances: Option<usize>,
    draining_servers: usize,
    failed_servers: usize,
    total_users: u64,
    messages_per_second: f64,
    /// RFC 3339, by this node's clock.
    timestamp: String,
}

/// One of `GET /cluster/nodes`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    server_id: String,
    status: State,
    /// Whether it takes clients.
    ready: bool,
    version: String,
    address: String,
    connections: u64,
    #[serde(flatten)]
    figures: Figures,
    /// Milliseconds.
    uptime: u64,
    /// Milliseconds since the last sign of life; `null` where this node has seen none.
    silent_for: Option<u64>,
}

/// What is said of a node, whoever asks for it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    /// `null` is without limit.
    capacity: Option<u64>,
    /// 0 to 1.
    load: f64,
    /// Percent of one processor.
    cpu: f64,
    /// Bytes of resident memory.
    memory: u64,
    /// Users on this node; one with connections to several nodes counts on each.
    users: u64,
    channels: u64,
    subscriptions: u64,
    messages_per_second: f64,
    queue_bytes: u64,
}

/// `GET /api/stats`: this node.
#[derive(Debug, Serialize)]
pub struct Stats {
    #[serde(flatten)]
    status: Status,
    #[serde(flatten)]
    node: Option<Counted>,
}

/// What a node counts of its own, beside its [`Status`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    #[serde(flatten)]
    figures: Figures,
    messages_sent: u64,
}

impl Operate {
    #[must_use]
    pub fn status(&self) -> Status {
        let reasons = self.readiness.obstacles();
        let status = match (self.readiness.is_draining(), reasons.is_empty()) {
            (true, _) => "draining",
            (false, true) => "healthy",
            (false, false) => "unhealthy",
        };
        let members = self.cluster.members();
        let own = members.iter().find(|member| member.entry.process == self.cluster.process());
        let load = own.and_then(|own| own.load.clone()).unwrap_or_default();
        Status {
            server_id: self.cluster.name().to_owned(),
            status,
            connections: load.work.clients,
            uptime: load.uptime * 1000,
            cluster_size: members.iter().filter(|member| member.entry.is_live()).count(),
            ready: reasons.is_empty(),
            reasons,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    #[must_use]
    pub fn cluster_metrics(&self) -> ClusterMetrics {
        let members = self.cluster.members();
        let serving: Vec<&Member> = members.iter().filter(|member| member.serves()).collect();
        let count = |state| members.iter().filter(|member| member.entry.state == state).count();
        let loads = || members.iter().filter(|member| member.entry.is_live()).filter_map(|member| member.load.as_ref());
        let advice = *self.advice.lock();
        let average = serving.iter().map(|member| load::of(member)).sum::<f64>() / serving.len().max(1) as f64;
        ClusterMetrics {
            total_servers: serving.len(),
            total_connections: loads().map(|load| load.work.clients).sum(),
            total_capacity: serving.iter().map(|member| member.entry.capacity).sum(),
            average_load: rounded(average),
            recommended_action: advice.action,
            recommended_instances: advice.nodes,
            desired_instances: self.wish.borrow().as_ref().map(|wish| wish.target_instances),
            draining_servers: count(State::Draining),
            failed_servers: count(State::Failed),
            total_users: loads().map(|load| load.work.users).sum(),
            messages_per_second: rounded(loads().map(|load| load.messages_per_second).sum()),
            timestamp: timestamp(),
        }
    }

    /// Every node, also those that are no more, for some minutes.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeReport> {
        self.cluster.members().into_iter().map(NodeReport::from).collect()
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        let counted = self.own().map(|own| Counted {
            figures: Figures::of(&own),
            messages_sent: own.load.map_or(0, |load| load.work.sent),
        });
        Stats { status: self.status(), node: counted }
    }
}

impl From<Member> for NodeReport {
    fn from(member: Member) -> Self {
        let figures = Figures::of(&member);
        let ready = member.serves();
        let load = member.load.unwrap_or_default();
        Self {
            server_id: member.entry.name,
            status: member.entry.state,
            ready,
            version: member.entry.version,
            address: member.entry.address,
            connections: load.work.clients,
            figures,
            uptime: load.uptime * 1000,
            silent_for: member.silent_for.map(|silence| silence.as_millis() as u64),
        }
    }
}

impl Figures {
    fn of(member: &Member) -> Self {
        let load = member.load.clone().unwrap_or_default();
        Self {
            capacity: member.entry.capacity,
            load: rounded(load::of(member)),
            cpu: load.cpu,
            memory: load.memory,
            users: load.work.users,
            channels: load.work.channels,
            subscriptions: load.work.subscriptions,
            messages_per_second: load.messages_per_second,
            queue_bytes: load.work.queue_bytes,
        }
    }
}

/// Now, as RFC 3339 writes it.
pub(super) fn timestamp() -> String {
    let now = OffsetDateTime::from(SystemTime::now()).replace_nanosecond(0);
    now.ok().and_then(|now| now.format(&Rfc3339).ok()).unwrap_or_default()
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
