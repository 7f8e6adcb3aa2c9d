//! `namespaces`: which there are, what they keep and promise, and how much they are used on all nodes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::survey::NAMESPACES;
use super::{Api, ApiError};
use crate::settings::{HistoryOptions, Namespace, RecoveryMode, SlowReader};

#[derive(Serialize)]
pub(super) struct NamespacesResult {
    /// By name; the default one has the name `""`.
    namespaces: BTreeMap<String, NamespaceInfo>,
}

/// The options as this node has them, and the numbers of all.
#[derive(Serialize)]
struct NamespaceInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<History>,
    /// Whether and how clients recover: `stream`, `cache`, or `null`.
    recovery: Option<&'static str>,
    presence: bool,
    join_leave: bool,
    slow_reader: &'static str,
    /// Channels with subscribers; one with subscribers on several nodes counts on each.
    num_channels: usize,
    num_subs: usize,
}

#[derive(Serialize)]
struct History {
    size: usize,
    ttl_ms: u64,
    meta_ttl_ms: u64,
}

impl Api {
    pub(super) async fn namespaces(&self) -> Result<NamespacesResult, ApiError> {
        let known = self.channels.namespaces.iter();
        let mut namespaces: BTreeMap<_, _> =
            known.map(|known| (known.name.to_string(), NamespaceInfo::from(&**known))).collect();
        let answers = self.survey::<(usize, usize)>(NAMESPACES, &()).await?;
        for (name, (channels, subscriptions)) in answers.into_iter().flatten() {
            // Another node may have one more, while the configuration is being changed.
            let Some(namespace) = namespaces.get_mut(&name) else { continue };
            namespace.num_channels += channels;
            namespace.num_subs += subscriptions;
        }
        Ok(NamespacesResult { namespaces })
    }

    /// Channels and subscriptions of this node's namespaces that have any.
    pub(super) fn namespaces_here(&self) -> BTreeMap<String, (usize, usize)> {
        let mut namespaces: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (channel, listeners) in self.relay.channels() {
            let name = channel.namespace();
            if !namespaces.contains_key(name) {
                namespaces.insert(name.to_owned(), (0, 0));
            }
            if let Some((channels, subscriptions)) = namespaces.get_mut(name) {
                *channels += 1;
                *subscriptions += listeners;
            }
        }
        namespaces
    }
}

impl From<&Namespace> for NamespaceInfo {
    fn from(namespace: &Namespace) -> Self {
        let recovers = namespace.force_recovery || namespace.allow_recovery;
        Self {
            history: namespace.history.as_ref().map(History::from),
            recovery: recovers.then_some(match namespace.recovery_mode {
                RecoveryMode::Stream => "stream",
                RecoveryMode::Cache => "cache",
            }),
            presence: namespace.presence,
            join_leave: namespace.join_leave,
            slow_reader: match namespace.slow_reader {
                SlowReader::Close => "close",
                SlowReader::Conflate => "conflate",
                SlowReader::Recover => "recover",
            },
            num_channels: 0,
            num_subs: 0,
        }
    }
}

impl From<&HistoryOptions> for History {
    fn from(options: &HistoryOptions) -> Self {
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self { size: options.size, ttl_ms: millis(options.ttl), meta_ttl_ms: millis(options.horizon) }
    }
}
