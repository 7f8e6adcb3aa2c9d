//! The streams: one for each namespace with history, the bucket of generations, the buckets of registries. What a node wants of them, whether
//! they are so, and how they become so.
//!
//! An answer without an error proves nothing, since old servers ignore fields that they do not know: what counts is the
//! configuration that the server echoes.

mod altered;
mod error;
mod info;
mod limits;
mod sizes;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tracing::{info, warn};

pub use self::error::{Difference, StreamError, list};
pub use self::info::{Copies, Info};
pub use self::limits::Deviation;

use self::altered::Altered;
use self::sizes::Sizes;
use super::connection::{ApiError, Link, Refusal, Unanswered};
use super::subjects::{Purpose, Subjects, presence_stream_name, stream_name};
use super::vigil::is_gone;
use crate::settings::{HistoryOptions, Nats, Storage};
use crate::telemetry::{Pace, StreamLimit};

/// How long the message stays that tells of an expired key.
const MARKER_TTL: Duration = Duration::from_secs(600);

/// A stream as it should be.
#[derive(Debug)]
pub struct Plan {
    pub name: String,
    config: Map<String, Value>,
    /// Whether this node may create and update it.
    provision: bool,
    /// Lower what is more than planned, the first time that it is made to fit. Once: what another node raises later stays.
    shrink: AtomicBool,
    sizes: Sizes,
    altered: Altered,
    /// Of lines about its being gone.
    unrestored: Pace,
}

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

    /// Makes the stream exist as planned, and returns what its leader says of it. Several nodes may do so at once.
    pub async fn ensure(&self, link: &Link) -> Result<Info, StreamError> {
        // Each round ends in success or a reason, or meets another node that was faster.
        for _ in 0..3 {
            match self.info(link).await {
                Ok(info) => {
                    let fitted = self.fit(link, info).await?;
                    self.shrink.store(false, Ordering::Relaxed);
                    return Ok(fitted);
                }
                Err(error) if error.code() != Refusal::STREAM_NOT_FOUND => return Err(self.explain(error)),
                Err(error) if !self.provision => return Err(self.missing(error.to_string())),
                Err(_) => {}
            }
            match link.ask::<Info>(&format!("STREAM.CREATE.{}", self.name), &self.config).await {
                Ok(info) => {
                    self.shrink.store(false, Ordering::Relaxed);
                    info!(stream = self.name, "stream created");
                    return self.checked(info, "the server ignored what it was told");
                }
                Err(error) if error.code() == Refusal::STREAM_EXISTS => {}
                Err(error) => return Err(self.explain(error)),
            }
        }
        let source = ApiError::Unanswered(Unanswered::Broken("it keeps appearing and vanishing".to_owned()));
        Err(StreamError::Api { stream: self.name.clone(), source })
    }

    /// Asks the stream's leader.
    pub async fn info(&self, link: &Link) -> Result<Info, ApiError> {
        link.ask(&format!("STREAM.INFO.{}", self.name), &json!({})).await
    }

    /// Makes the stream again if `error` came of somebody's having deleted it. What it is now, unless it was not gone or
    /// cannot be made.
    pub async fn restore_if_gone(&self, link: &Link, error: &ApiError) -> Option<Info> {
        let unanswered = matches!(error, ApiError::Unanswered(Unanswered::NoResponders));
        if !(unanswered || is_gone(error)) {
            return None;
        }
        match self.info(link).await {
            // Another was faster.
            Ok(info) => return is_gone(error).then_some(info),
            Err(error) if is_gone(&error) => {}
            Err(_) => return None,
        }
        match self.ensure(link).await {
            Ok(info) => {
                self.unrestored.over();
                warn!(stream = self.name, "somebody deleted the stream: it is made again");
                Some(info)
            }
            Err(error) => {
                if let Some(left_out) = self.unrestored.due() {
                    warn!(stream = self.name, %error, left_out, "somebody deleted the stream, and it cannot be made again");
                }
                None
            }
        }
    }

    async fn fit(&self, link: &Link, info: Info) -> Result<Info, StreamError> {
        let differences = self.differences(&info.config);
        if differences.is_empty() {
            return Ok(info);
        }
        // What no setting of ours speaks of stays as somebody made it.
        let mut config = info.config.clone();
        config.extend(self.target(&info.config));
        if !self.provision {
            return self.checked(info, &self.for_the_provisioner(&config));
        }
        let updated = self.update(link, &config, differences).await?;
        self.checked(updated, "the server ignored what it was told")
    }

    /// What somebody else is to do.
    fn for_the_provisioner(&self, config: &Map<String, Value>) -> String {
        format!("nats.provision is off, so update it with\n  {}", command("UPDATE", &self.name, config))
    }

    /// Has the stream become `config`, because of these `differences`.
    async fn update(
        &self,
        link: &Link,
        config: &Map<String, Value>,
        differences: Vec<Difference>,
    ) -> Result<Info, StreamError> {
        match link.ask::<Info>(&format!("STREAM.UPDATE.{}", self.name), config).await {
            Ok(updated) => {
                info!(stream = self.name, changes = list(&differences), "stream updated");
                Ok(updated)
            }
            Err(ApiError::Refused(refusal)) if !refusal.is_transient() => Err(StreamError::Different {
                stream: self.name.clone(),
                differences,
                why: format!("the server refuses the change: {refusal}"),
            }),
            Err(ApiError::Unanswered(Unanswered::Denied(_))) => Err(StreamError::Different {
                stream: self.name.clone(),
                differences,
                why: format!("no permission to update it; do it with\n  {}", command("UPDATE", &self.name, config)),
            }),
            Err(error) => Err(self.explain(error)),
        }
    }

    fn checked(&self, info: Info, why: &str) -> Result<Info, StreamError> {
        let (capacity, differences): (Vec<_>, Vec<_>) =
            self.differences(&info.config).into_iter().partition(|difference| self.is_the_provisioners(difference));
        // Of the others it is told where sizes are compared.
        for storage in capacity.iter().filter(|difference| difference.field == "storage") {
            warn!(stream = self.name, "stream differs from the settings: {storage}");
        }
        if differences.is_empty() {
            return Ok(info);
        }
        Err(StreamError::Different { stream: self.name.clone(), differences, why: why.to_owned() })
    }

    /// Where somebody else provisions, how much and how safely is stored is for them to say.
    fn is_the_provisioners(&self, difference: &Difference) -> bool {
        !self.provision && matches!(&*difference.field, "num_replicas" | "max_bytes" | "storage")
    }

    /// What of a stream's configuration is not as planned, and no node would change.
    pub fn lasting_differences(&self, has: &Map<String, Value>) -> Vec<Difference> {
        let lasts = |difference: &Difference| match self.provision {
            true => matches!(&*difference.field, "storage" | "retention" | "persist_mode"),
            false => !self.is_the_provisioners(difference),
        };
        self.differences(has).into_iter().filter(lasts).collect()
    }

    /// Where it keeps less or more than this node wants.
    pub fn deviations(&self, has: &Map<String, Value>) -> Vec<Deviation> {
        limits::deviations(has, &self.config)
    }

    /// Messages of one subject that a stream will keep once it is made to fit.
    pub fn will_keep(&self, info: &Info) -> usize {
        usize::try_from(StreamLimit::Depth.of(&self.target(&info.config))).unwrap_or(usize::MAX)
    }

    /// What a stream is to become: as planned, but that it does not keep less than before.
    fn target(&self, has: &Map<String, Value>) -> Map<String, Value> {
        let mut target = self.config.clone();
        if !self.shrink.load(Ordering::Relaxed) {
            for more in self.deviations(has).iter().filter(|deviation| !deviation.is_less()) {
                let field = more.limit.field();
                target.insert(field.to_owned(), has.get(field).cloned().unwrap_or_default());
            }
        }
        target
    }

    fn differences(&self, has: &Map<String, Value>) -> Vec<Difference> {
        let target = self.target(has);
        let planned = target.iter().filter_map(|(field, wants)| {
            let has = has.get(field).unwrap_or(&Value::Null);
            (!same(has, wants)).then(|| Difference { field: field.clone(), has: has.clone(), wants: wants.clone() })
        });
        // Acknowledged messages must be on disk; fields of newer servers are not told, only looked for.
        let async_writes = has.get("persist_mode").filter(|mode| *mode == "async").map(|mode| Difference {
            field: "persist_mode".to_owned(),
            has: mode.clone(),
            wants: "default".into(),
        });
        // A stream of ours takes whatever the server does. Of another's that is for who made it to say.
        let less = has.get("max_msg_size").filter(|size| self.provision && **size != -1).map(|size| Difference {
            field: "max_msg_size".to_owned(),
            has: size.clone(),
            wants: (-1).into(),
        });
        planned.chain(async_writes).chain(less).collect()
    }

    fn missing(&self, why: String) -> StreamError {
        let command = command("CREATE", &self.name, &self.config);
        StreamError::Missing { stream: self.name.clone(), why, command }
    }

    fn explain(&self, error: ApiError) -> StreamError {
        match error {
            ApiError::Unanswered(Unanswered::Denied(subject)) => StreamError::Denied {
                stream: self.name.clone(),
                subject,
                command: command("CREATE", &self.name, &self.config),
            },
            ApiError::Unanswered(Unanswered::NoResponders) => StreamError::NoJetStream,
            error
                if matches!(
                    error.code(),
                    Refusal::JETSTREAM_NOT_ENABLED | Refusal::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
                ) =>
            {
                StreamError::NoJetStream
            }
            ApiError::Refused(refusal) if !refusal.is_transient() => {
                StreamError::Different { stream: self.name.clone(), differences: Vec::new(), why: refusal.to_string() }
            }
            source => StreamError::Api { stream: self.name.clone(), source },
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

fn command(verb: &str, name: &str, config: &Map<String, Value>) -> String {
    let config = Value::Object(config.clone()).to_string().replace('\'', r"'\''");
    format!("nats request '$JS.API.STREAM.{verb}.{name}' '{config}'")
}

/// Servers leave out what is false, zero or empty, and may say more about an object than they were told.
fn same(has: &Value, wants: &Value) -> bool {
    match (has, wants) {
        (Value::Null, Value::Bool(false)) => true,
        (Value::Null, Value::Number(number)) => number.as_i64() == Some(0),
        (Value::Object(has), Value::Object(wants)) => {
            wants.iter().all(|(key, wants)| same(has.get(key).unwrap_or(&Value::Null), wants))
                && has.iter().all(|(key, has)| wants.contains_key(key) || *has == Value::Bool(false))
        }
        _ => has == wants,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_leave_out_is_not_a_difference() {
        assert!(same(&Value::Null, &json!(false)));
        assert!(same(&json!({"src": "a", "dest": "b", "headers_only": false}), &json!({"src": "a", "dest": "b"})));
        assert!(!same(&json!({"src": "a", "dest": "b", "headers_only": true}), &json!({"src": "a", "dest": "b"})));
        assert!(!same(&Value::Null, &json!(true)));
        assert!(!same(&json!(3), &json!(1)));
    }

    #[test]
    fn a_bucket_has_a_valid_name() {
        assert_eq!(epochs_bucket("midplane"), "midplane_epochs");
        assert_eq!(epochs_bucket("my.app"), "my_app_epochs");
    }
}
