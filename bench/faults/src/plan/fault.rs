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
    /// So many deliveries to a node never come, on connections that stay.
    Swallow { node: usize, count: u32 },
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
            Self::RollBack => Vec::new(),
        }
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
