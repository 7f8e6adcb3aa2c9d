//! The environment as options: `MIDPLANE_<SECTION>__<KEY>`, the short names that stay for good, and `…_FILE`.
//!
//! Not by the `config` crate's own `Environment`: its `try_parsing` makes `123` of the secret `00123`, it lower-cases
//! names inside JSON-like values' keys, and it drops variables that it does not understand without a word.

use std::path::Path;

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::refusal::Refusal;
use super::section::{Findings, Table};
use super::shown::SECRETS;

const PREFIX: &str = "MIDPLANE_";
const LEVELS: &str = "__";
const FROM_FILE: &str = "_FILE";
/// Marks the origin of a value as an environment variable.
const VARIABLE: char = '$';

/// Short names, with the options that they set. `MIDPLANE_…` goes over them.
pub(super) const STABLE: [(&str, &str); 8] = [
    ("PORT", "http.port"),
    ("SERVER_ID", "node.name"),
    ("JWT_SECRET", "client.token.hmac_secret_key"),
    ("FRONTEND_URL", "client.frontend_url"),
    ("MAX_CONNECTIONS", "http.max_connections"),
    ("SUPABASE_URL", "client.token.supabase_url"),
    ("NATS_URL", "nats.servers"),
    ("ENABLE_CLUSTERING", "nats.enabled"),
];

/// Variables of the tier that midplane replaces which set nothing here yet: said at start, never silently ignored.
const WITHOUT_EFFECT: [(&str, &str); 4] = [
    ("HEARTBEAT_INTERVAL", "nodes do not watch each other yet"),
    ("FAILURE_DETECTION_TIMEOUT", "nodes do not watch each other yet"),
    ("REDIS_URL", "nodes are joined by NATS (NATS_URL)"),
    ("REDIS_KEY_PREFIX", "nodes are joined by NATS (nats.prefix)"),
];

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    /// The options that are set, as a tree like that of a file.
    pub(super) options: Table,
    /// What to tell whoever starts the node.
    pub(super) notes: Vec<String>,
}

/// Reads `variables` as options; `defaults` says which there are.
pub(super) fn read(
    variables: impl Iterator<Item = (String, String)>,
    defaults: &Table,
    findings: &Findings,
) -> Overlay {
    let mut overlay = Overlay::default();
    // An empty variable is one that is not set: compose files pass on `${JWT_SECRET:-}`.
    let mut variables: Vec<_> = variables.filter(|(_, value)| !value.is_empty()).collect();
    variables.sort_by(|(a, _), (b, _)| (a.starts_with(PREFIX), a).cmp(&(b.starts_with(PREFIX), b)));
    for (name, value) in &variables {
        if let Some((_, why)) = WITHOUT_EFFECT.iter().find(|(known, _)| known == name) {
            overlay.notes.push(format!("{name} has no effect: {why}"));
        }
        let Some(target) = target(name, defaults, findings) else { continue };
        let value = if target.from_file {
            let plain = name.trim_end_matches(FROM_FILE);
            if variables.iter().any(|(other, _)| other == plain) {
                findings.add(Refusal::new(name, format!("{plain} is set as well; set one of them")));
                continue;
            }
            match std::fs::read_to_string(Path::new(value)) {
                Ok(content) => content.trim_end_matches(['\r', '\n']).to_owned(),
                Err(error) => {
                    let why = format!("cannot be read ({error})");
                    findings.add(Refusal { value: Some(format!("{value:?}")), ..Refusal::new(name, why) });
                    continue;
                }
            }
        } else {
            value.clone()
        };
        match typed(&target.key, value, name, defaults) {
            Ok(value) => put(&mut overlay.options, &target.key, value),
            Err(why) => findings.add(Refusal::new(name, why)),
        }
    }
    overlay
}

impl Source for Overlay {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.options.clone())
    }
}

fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((level, rest)) => {
            let inner = table.entry(level.to_owned()).or_insert_with(|| Table::new().into());
            if let ValueKind::Table(inner) = &mut inner.kind {
                put(inner, rest, value);
            }
        }
    }
}

/// The environment variable that `value` came from.
pub(super) fn variable(value: &Value) -> Option<&str> {
    value.origin().and_then(|origin| origin.strip_prefix(VARIABLE))
}

struct Target {
    key: String,
    from_file: bool,
}

/// The option that the variable `name` sets; `None` for a variable that is not ours.
fn target(name: &str, defaults: &Table, findings: &Findings) -> Option<Target> {
    let stable = |name: &str| STABLE.iter().find(|(known, _)| *known == name).map(|(_, key)| (*key).to_owned());
    let secret = |key: &String| SECRETS.contains(&key.as_str());
    if let Some(key) = stable(name) {
        return Some(Target { key, from_file: false });
    }
    let without_suffix = name.strip_suffix(FROM_FILE);
    if let Some(key) = without_suffix.and_then(stable).filter(secret) {
        return Some(Target { key, from_file: true });
    }
    let levels = name.strip_prefix(PREFIX)?;
    if !levels.contains(LEVELS) {
        if !is_service_link(levels) {
            findings.add(Refusal::new(name, "no option (they are written MIDPLANE_<SECTION>__<KEY>)"));
        }
        return None;
    }
    let key = levels.to_lowercase().replace(LEVELS, ".");
    if default(&key, defaults).is_none()
        && let Some(plain) = key.strip_suffix("_file").map(str::to_owned).filter(secret)
    {
        return Some(Target { key: plain, from_file: true });
    }
    Some(Target { key, from_file: false })
}

/// Whether Kubernetes set it, which does so for every Service: for one named `midplane` there is a `MIDPLANE_PORT`.
fn is_service_link(name: &str) -> bool {
    let port = name == "PORT" || name.ends_with("_PORT") || name.starts_with("PORT_") || name.contains("_PORT_");
    port || name.ends_with("SERVICE_HOST")
}

fn default<'a>(key: &str, defaults: &'a Table) -> Option<&'a ValueKind> {
    let mut table = defaults;
    let (levels, last) = key.rsplit_once('.').unwrap_or(("", key));
    for level in levels.split('.').filter(|level| !level.is_empty()) {
        match &table.get(level)?.kind {
            ValueKind::Table(inner) => table = inner,
            _ => return None,
        }
    }
    table.get(last).map(|value| &value.kind)
}

/// Texts stay texts, to the letter, and are read as what their option wants; lists and tables can be JSON.
fn typed(key: &str, value: String, variable: &str, defaults: &Table) -> Result<Value, String> {
    let origin = format!("{VARIABLE}{variable}");
    let tables = key == "channel.namespaces" || matches!(default(key, defaults), Some(ValueKind::Table(_)));
    let list = matches!(default(key, defaults), Some(ValueKind::Array(_)));
    if tables || (list && value.trim_start().starts_with('[')) {
        let json = serde_json::from_str(&value).map_err(|error| format!("not JSON ({error})"))?;
        return Ok(from_json(json, &origin));
    }
    Ok(Value::new(Some(&origin), value))
}

fn from_json(json: serde_json::Value, origin: &String) -> Value {
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => ValueKind::Nil,
        Json::Bool(value) => ValueKind::Boolean(value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => ValueKind::I64(number),
            None => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => ValueKind::String(text),
        Json::Array(values) => ValueKind::Array(values.into_iter().map(|value| from_json(value, origin)).collect()),
        Json::Object(entries) => {
            let entries = entries.into_iter().map(|(key, value)| (key, from_json(value, origin)));
            ValueKind::Table(entries.collect())
        }
    };
    Value::new(Some(origin), kind)
}
