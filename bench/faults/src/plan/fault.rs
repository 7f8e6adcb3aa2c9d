//! What can break.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who talks to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    Node(usize),
    Server(usize),
    Client(usize),
    /// Publishers that are no clients.
    Backend,
}

/// What is done to what passes between two parties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Harm {
    /// Connections are torn and refused.
    Cut,
    /// Connections stay and nothing passes; it arrives late, when it is over. A network that lost its way.
    Stall,
    /// Connections stay, what is written is gone, and they end when it is over. Half-open sockets.
    Deaf,
    /// Everything takes longer by so many milliseconds.
    Delay(u64),
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Node(usize),
    Server(usize),
}

/// What a delivery is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prey {
    /// Stored publications. Promised: each arrives all the same, by healing.
    Stored,
    /// Publications without history. Promised: nothing.
    Plain,
    /// Records of who is where, as they change. Promised: joins and leaves are told within a minute or so, once.
    Presence,
    /// Heartbeats, and what changes in registries. Promised: nobody is taken for dead, nothing stays unknown.
    Membership,
    /// Heartbeats of others alone, for longer than a node may be silent. Promised: whatever is promised while all is well.
    Heartbeats,
    /// Answers to what the node asked: acknowledgements, history, questions. Promised: it asks again, or says that it does
    /// not know.
    Answers,
    /// Whatever else nodes and backends say to nodes. At most once: nothing is promised but that all goes on.
    Words,
}

impl Prey {
    pub const ALL: [Self; 7] =
        [Self::Stored, Self::Plain, Self::Presence, Self::Membership, Self::Heartbeats, Self::Answers, Self::Words];

    /// What a delivery on this subject is of.
    pub fn of(subject: &str) -> Self {
        let Some(below) = subject.strip_prefix("midplane.") else { return Self::Answers };
        match below.split('.').next() {
            Some("live") => Self::Stored,
            Some("pub") => Self::Plain,
            Some("preslive") => Self::Presence,
            Some("hb") => Self::Heartbeats,
            Some("registry") => Self::Membership,
            _ => Self::Words,
        }
    }

    /// Whether it takes a delivery on this subject to the node that sends its own heartbeats to `own`.
    pub fn takes(self, subject: &str, own: &str) -> bool {
        let delivered = Self::of(subject);
        match self {
            Self::Membership => matches!(delivered, Self::Membership | Self::Heartbeats),
            Self::Heartbeats => delivered == Self::Heartbeats && subject != own,
            _ => delivered == self,
        }
    }
}

/// What breaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// SIGKILL; started again when it is over.
    Kill(Target),
    /// SIGTERM, as an operator does it; started again when it is over.
    Stop(Target),
    /// SIGSTOP, then SIGCONT.
    Pause(Target),
    /// The leader of a stream is told to let another one lead.
    StepDown(String),
    /// Between two parties.
    Harm(Party, Party, Harm),
    /// Between a party and all others of its kind of links: a node and every server, a server and its fellows.
    Isolate(Target, Harm),
    /// A client does not read.
    Slow(usize),
    /// So many deliveries of one kind to a node never come, on connections that stay.
    Swallow { node: usize, prey: Prey, count: u32 },
    /// The time of day of a node is so many seconds off; it is set right when it is over.
    Clock { node: usize, seconds: i64 },
    /// All servers' stores are what they were when the step began.
    RollBack,
}

impl Fault {
    /// Whatever it touches; two faults with one of these in common never overlap.
    pub fn touches(&self) -> Vec<String> {
        match self {
            Self::Kill(target) | Self::Stop(target) | Self::Pause(target) => vec![format!("{target:?}")],
            Self::StepDown(stream) => vec![stream.clone()],
            Self::Harm(a, b, _) => vec![link_name(*a, *b)],
            Self::Isolate(target, _) => vec![format!("links of {target:?}")],
            Self::Slow(client) => vec![format!("slow {client}")],
            Self::Swallow { node, .. } => vec![format!("swallow {node}")],
            Self::Clock { node, .. } => vec![format!("clock of {node}")],
            Self::RollBack => Vec::new(),
        }
    }

    /// Whether anything that is promised only while all is well may fail because of it. Clocks of nodes are not among that, nor
    /// heartbeats that do not come: whoever writes its entry is alive.
    pub const fn is_trouble(&self) -> bool {
        !matches!(self, Self::Clock { .. } | Self::Swallow { prey: Prey::Heartbeats, .. })
    }
}

/// The name of what connects two parties, whoever calls whom.
pub fn link_name(a: Party, b: Party) -> String {
    let (a, b) = if a < b { (a, b) } else { (b, a) };
    format!("{a:?}-{b:?}")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
