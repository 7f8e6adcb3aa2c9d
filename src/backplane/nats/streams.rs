//! The streams: one for each namespace with history, the bucket of generations, the buckets of registries. What a node
//! wants of them, whether they are so, and how they become so.
//!
//! An answer without an error proves nothing, since old servers ignore fields that they do not know: what counts is the
//! configuration that the server echoes.

mod altered;
mod error;
mod info;
mod limits;
mod plans;
mod sizes;

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};
use tracing::{info, warn};

pub use self::error::{Difference, StreamError, list};
pub use self::info::{Copies, Info};
pub use self::limits::Deviation;
pub use self::plans::{bucket_name, epochs_bucket};

use self::altered::Altered;
use self::sizes::Sizes;
use super::connection::{ApiError, Link, Refusal, Unanswered};
use super::vigil::is_gone;
use crate::telemetry::{Pace, StreamLimit};

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
}
