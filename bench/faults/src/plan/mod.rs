//! What a run will be, out of its seed alone: who is there, what breaks when, and for how long.

mod calm;
mod draw;
mod fault;
mod promise;
mod scene;

use serde::{Deserialize, Serialize};

pub use calm::{CALM_SECONDS, in_calm};
pub use draw::steps;
pub use fault::{Fault, Harm, Party, Prey, Target, link_name};
pub use promise::Promise;
#[cfg(test)]
pub use scene::Ways;
pub use scene::{EMITTED, Listener, Scene, data, half};

/// Nodes of midplane, and as many servers of NATS.
pub const NODES: usize = 3;
pub const SERVERS: usize = 3;

/// A fault, when it comes, and how long it stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Since things began to break. From the end of that to the calm that follows, this clock stands still.
    pub at_ms: u64,
    pub for_ms: u64,
    pub fault: Fault,
}
