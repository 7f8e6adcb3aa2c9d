//! What the streams are to be.

use std::time::Duration;

use serde_json::{Value, json};

use super::Plan;
use super::altered::Altered;
use super::sizes::Sizes;
use crate::backplane::nats::subjects::{Purpose, Subjects, presence_stream_name, stream_name};
use crate::settings::{HistoryOptions, Nats, Storage};
use crate::telemetry::Pace;

/// How long the message stays that tells of an expired key.
const MARKER_TTL: Duration = Duration::from_secs(600);

impl Plan {
    /// The stream of a namespace with history.
    pub fn of_namespace(options: &Nats, namespace: &str, history: &HistoryOptions) -> Self {
        let subjects = Subjects::new(&options.prefix);
        let published = subjects.all(Purpose::Publish, namespace);
        let max_age = history.horizon.as_nanos() as u64;
        let window = (options.duplicate_window.as_nanos() as u64).min(max_age);
        let name = stream_name(&options.prefix, namespace);
        let config = json!({
            "name": name,
            "subjects": [published],
            "retention": "limits",
            "discard": "old",
            // One more than readers get: exactly that many missed ones must not push out the last one that was seen.
            "max_msgs_per_subject": history.size + 1,
            "max_age": max_age,
            "duplicate_window": window,
            "allow_direct": true,
            "deny_delete": true,
            "deny_purge": false,
            "allow_rollup_hdrs": false,
            "allow_msg_ttl": false,
            "max_msgs": -1,
            "republish": { "src": published, "dest": subjects.all(Purpose::Live, namespace) },
        });
        Self::new(name, config, options)
    }

    /// The stream of records of who is where.
    pub fn of_presence(options: &Nats) -> Self {
        let subjects = Subjects::new(&options.prefix);
        let recorded = subjects.records(None);
        let name = presence_stream_name(&options.prefix);
        let config = json!({
            "name": name,
            "subjects": [recorded],
            "retention": "limits",
            "discard": "old",
            "max_msgs_per_subject": 1,
            "max_age": 0,
            "max_msgs": -1,
            "allow_direct": true,
            "allow_rollup_hdrs": false,
            // Departures go by themselves.
            "allow_msg_ttl": true,
            "republish": { "src": recorded, "dest": subjects.live_records() },
        });
        let mut plan = Self::new(name, config, options);
        // Nodes write it anew whenever it is gone; for want of room somebody would vanish from it without a word.
        plan.config.insert("max_bytes".to_owned(), json!(-1));
        plan
    }

    /// The bucket in which each stream's generation is counted.
    pub fn of_epochs(options: &Nats) -> Self {
        let bucket = epochs_bucket(&options.prefix);
        let name = format!("KV_{bucket}");
        let config = json!({
            "name": name,
            "subjects": [format!("$KV.{bucket}.>")],
            "retention": "limits",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "allow_direct": true,
            "deny_delete": true,
            "allow_rollup_hdrs": true,
        });
        Self::new(name, config, options)
    }

    /// A bucket of a registry, whose changes are told on `changes`.
    pub fn of_registry(options: &Nats, name: &str, changes: &str) -> Self {
        let bucket = bucket_name(&options.prefix, name);
        let name = format!("KV_{bucket}");
        let keys = format!("$KV.{bucket}.>");
        let config = json!({
            "name": name,
            "subjects": [keys],
            "retention": "limits",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "allow_direct": true,
            "deny_delete": true,
            "allow_rollup_hdrs": true,
            "allow_msg_ttl": true,
            // What has expired leaves a message behind, so that watchers hear of it.
            "subject_delete_marker_ttl": MARKER_TTL.as_nanos() as u64,
            "republish": { "src": keys, "dest": changes },
        });
        Self::new(name, config, options)
    }

    fn new(name: String, config: Value, options: &Nats) -> Self {
        let Value::Object(mut config) = config else { unreachable!("the configuration is an object") };
        let is_bucket = name.starts_with("KV_");
        config.insert("num_replicas".to_owned(), options.replicas.into());
        let storage = match options.storage {
            Storage::File => "file",
            Storage::Memory => "memory",
        };
        config.insert("storage".to_owned(), storage.into());
        let limit = options.max_bytes.filter(|_| !is_bucket).map_or(json!(-1), Value::from);
        config.insert("max_bytes".to_owned(), limit);
        Self {
            name,
            config,
            provision: options.provision,
            shrink: options.shrink_streams.into(),
            sizes: Sizes::default(),
            altered: Altered::default(),
            unrestored: Pace::default(),
        }
    }
}

/// The bucket of generations: `midplane_epochs`.
pub fn epochs_bucket(prefix: &str) -> String {
    bucket_name(prefix, "epochs")
}

/// A bucket below the prefix: `midplane_nodes`.
pub fn bucket_name(prefix: &str, name: &str) -> String {
    let safe: String = prefix.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    format!("{safe}_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_a_valid_name() {
        assert_eq!(epochs_bucket("midplane"), "midplane_epochs");
        assert_eq!(epochs_bucket("my.app"), "my_app_epochs");
    }
}
