//! Whether the cluster should be larger or smaller.
//!
//! It should be larger while its connections or processors are used beyond a threshold, and smaller while one node fewer
//! would still be well below both. Either must hold for a while, longer on the way down: a node that goes makes all its
//! clients reconnect.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::load::Saturation;
use crate::settings::Scaling;

/// What somebody who starts and stops nodes should do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recommendation {
    ScaleUp,
    #[default]
    Maintain,
    ScaleDown,
}

/// A recommendation, and the number of nodes that it leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Advice {
    pub(super) action: Recommendation,
    pub(super) nodes: usize,
}

/// Weighs, and remembers since when it would have said the same.
pub(super) struct Advisor {
    options: Scaling,
    leaning: Recommendation,
    since: Option<Instant>,
}

impl Advisor {
    pub(super) const fn new(options: Scaling) -> Self {
        Self { options, leaning: Recommendation::Maintain, since: None }
    }

    /// What is advised to a cluster of `nodes` that serve and are used as `saturation` says.
    pub(super) fn weigh(&mut self, now: Instant, nodes: usize, saturation: Saturation) -> Advice {
        let wanted = self.wanted(nodes, saturation);
        let leaning = match wanted.cmp(&nodes) {
            std::cmp::Ordering::Greater => Recommendation::ScaleUp,
            std::cmp::Ordering::Equal => Recommendation::Maintain,
            std::cmp::Ordering::Less => Recommendation::ScaleDown,
        };
        if leaning != self.leaning || self.since.is_none() {
            self.leaning = leaning;
            self.since = Some(now);
        }
        let held = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let patience = match leaning {
            Recommendation::ScaleUp => self.options.up_after,
            Recommendation::ScaleDown => self.options.down_after,
            Recommendation::Maintain => Duration::ZERO,
        };
        if held < patience {
            return Advice { action: Recommendation::Maintain, nodes };
        }
        Advice { action: leaning, nodes: wanted }
    }

    /// Nothing is advised to a cluster of `nodes`: nobody serves, so that more nodes would not serve either, or how they are
    /// is not known here.
    pub(super) const fn rest(&mut self, nodes: usize) -> Advice {
        self.leaning = Recommendation::Maintain;
        self.since = None;
        Advice { action: Recommendation::Maintain, nodes }
    }

    /// How many nodes there should be.
    fn wanted(&self, nodes: usize, saturation: Saturation) -> usize {
        let options = &self.options;
        // 1 is at the threshold.
        let fullness = (saturation.connections / options.up_connections).max(saturation.processors / options.up_cpu);
        let needed = (nodes as f64 * fullness).ceil() as usize;
        let wanted = if needed > nodes {
            needed
        } else if nodes > 1 && fullness * nodes as f64 / (nodes - 1) as f64 <= options.down_below {
            nodes - 1
        } else {
            nodes
        };
        wanted.clamp(options.min_nodes, options.max_nodes.max(options.min_nodes))
    }
}
