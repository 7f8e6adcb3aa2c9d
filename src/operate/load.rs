//! How loaded nodes are.

use crate::cluster::{Load, Member};

/// How much of what it can a node does: of its connections or of its processors, whichever is more. 1 is all of it.
pub(super) fn of(member: &Member) -> f64 {
    let Some(load) = &member.load else { return 0.0 };
    connections(load, member.entry.capacity).max(processors(load))
}

/// The part of the connections that a node takes; 0 where it takes any number.
fn connections(load: &Load, capacity: Option<u64>) -> f64 {
    capacity.filter(|capacity| *capacity > 0).map_or(0.0, |capacity| load.work.clients as f64 / capacity as f64)
}

/// The part of its processors that a node uses.
fn processors(load: &Load) -> f64 {
    load.cpu / 100.0 / load.processors.max(1) as f64
}

/// How full several nodes are together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Saturation {
    pub(super) connections: f64,
    pub(super) processors: f64,
}

impl Saturation {
    /// What is used of what all have together. Of connections those nodes count that take a limited number.
    pub(super) fn of(members: &[Member]) -> Self {
        let loads = || members.iter().filter_map(|member| Some((member.load.as_ref()?, member.entry.capacity)));
        let limited = || loads().filter_map(|(load, capacity)| Some((load.work.clients as f64, capacity? as f64)));
        let part = |used: f64, of: f64| if of > 0.0 { used / of } else { 0.0 };
        Self {
            connections: part(limited().map(|(clients, _)| clients).sum(), limited().map(|(_, most)| most).sum()),
            processors: part(
                loads().map(|(load, _)| load.cpu / 100.0).sum(),
                loads().map(|(load, _)| load.processors.max(1) as f64).sum(),
            ),
        }
    }
}
