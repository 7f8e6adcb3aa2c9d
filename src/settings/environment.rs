//! The environment as options: `MIDPLANE_<SECTION>__<KEY>`, the short names that stay for good, and `…_FILE`.
//!
//! Not by the `config` crate's own `Environment`: its `try_parsing` makes `123` of the secret `00123`, it drops variables
//! with too few separators without a word, and it knows no `…_FILE` and no two names for one option. What is read here
//! is a [`Source`] like its own, and layered by it.

use std::path::{Path, PathBuf};

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::files;
use super::refusal::Refusal;
use super::section::{Findings, Table};
use super::shown::SECRETS;

/// Names the file of options, in place of `--config`.
const CONFIG_FILE: &str = "MIDPLANE_CONFIG";

const PREFIX: &str = "MIDPLANE_";
const LEVELS: &str = "__";
const FROM_FILE: &str = "_FILE";
/// Marks the origin of a value as an environment variable.
const VARIABLE: char = '$';

/// Short names, with the options that they set. `MIDPLANE_…` goes over them.
pub(super) const STABLE: [(&str, &str); 12] = [
    ("PORT", "http.port"),
    ("SERVER_ID", "node.name"),
    ("JWT_SECRET", "client.token.hmac_secret_key"),
    ("FRONTEND_URL", "client.frontend_url"),
    ("MAX_CONNECTIONS", "http.max_connections"),
    ("SUPABASE_URL", "client.token.supabase_url"),
    ("NATS_URL", "nats.servers"),
    ("REDIS_URL", "redis.servers"),
    ("REDIS_KEY_PREFIX", "redis.key_prefix"),
    ("ENABLE_CLUSTERING", "nats.enabled"),
    ("HEARTBEAT_INTERVAL", "cluster.heartbeat_interval"),
    ("FAILURE_DETECTION_TIMEOUT", "cluster.failure_detection_timeout"),
];

/// Short names whose numbers are milliseconds.
const MILLISECONDS: [&str; 2] = ["HEARTBEAT_INTERVAL", "FAILURE_DETECTION_TIMEOUT"];

/// Variables of the tier that midplane replaces which set nothing here yet: said at start, never silently ignored.
const WITHOUT_EFFECT: [(&str, &str); 3] = [
    ("NODE_ENV", "node.development says whether this is development mode"),
    ("SUPABASE_ANON_KEY", "tokens are checked with the project's public keys (SUPABASE_URL)"),
    ("SUPABASE_SERVICE_ROLE_KEY", "nodes ask nothing of the project; take this secret away from here"),
];

/// The file of options that the environment of this process names.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is settings")]
pub fn config_file() -> Option<PathBuf> {
    std::env::var_os(CONFIG_FILE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    /// The options that are set, as a tree like that of a file.
    pub(super) options: Table,
    /// What to tell whoever starts the node.
    pub(super) notes: Vec<String>,
    /// The files that options were read from, each with its option.
    pub(super) files: Vec<(String, PathBuf)>,
}

/// Reads `variables` as options; `defaults` says which there are.
pub(super) fn read(
    variables: impl Iterator<Item = (String, String)>,
    defaults: &Table,
    findings: &Findings,
) -> Overlay {
    let mut overlay = Overlay::default();
    let variables: Vec<_> = variables.collect();
    if variables.iter().any(|(name, value)| name == "JWT_SECRET" && value.is_empty()) {
        overlay.notes.push("JWT_SECRET is set but empty".to_owned());
    }
    // An empty variable is one that is not set: compose files pass on `${JWT_SECRET:-}`.
    let mut variables: Vec<_> = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    variables.sort_by(|(a, _), (b, _)| (a.starts_with(PREFIX), a).cmp(&(b.starts_with(PREFIX), b)));
    for (name, value) in &variables {
        if let Some((_, why)) = WITHOUT_EFFECT.iter().find(|(known, _)| known == name) {
            overlay.notes.push(format!("{name} has no effect: {why}"));
        }
        let read = match target(name, value, defaults) {
            Target::NotOurs => continue,
            Target::None(why) => Err(Refusal::new(name, why)),
            Target::Option(key) => Ok((key, with_unit(name, value))),
            Target::OptionFromFile(key) => {
                overlay.files.push((key.clone(), PathBuf::from(value)));
                content(name, value, &variables).map(|content| (key, content))
            }
        };
        let set = read.and_then(|(key, value)| {
            let value = typed(&key, value, name, defaults).map_err(|why| Refusal::new(name, why))?;
            put(&mut overlay.options, &key, value).map_err(|why| Refusal::new(name, why))
        });
        if let Err(refusal) = set {
            findings.add(refusal);
        }
    }
    overlay
}

/// What a variable says, with the unit that it leaves out.
fn with_unit(name: &str, value: &str) -> String {
    let bare = MILLISECONDS.contains(&name) && value.bytes().all(|byte| byte.is_ascii_digit());
    if bare { format!("{value}ms") } else { value.to_owned() }
}

/// What the file at `path` holds, which the variable `name` points to; without the line break at its end.
fn content(name: &str, path: &str, variables: &[(String, String)]) -> Result<String, Refusal> {
    let plain = name.strip_suffix(FROM_FILE).unwrap_or(name);
    if variables.iter().any(|(other, _)| other == plain) {
        return Err(Refusal::new(name, format!("{plain} is set as well; set one of them")));
    }
    let refused = |why| Refusal { value: Some(format!("{path:?}")), ..Refusal::new(name, why) };
    let content = files::read(Path::new(path)).map_err(refused)?;
    match content.trim_end_matches(['\r', '\n']) {
        "" => Err(refused(format!("the file is empty, so {plain} would not be set"))),
        content => Ok(content.to_owned()),
    }
}

impl Source for Overlay {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.options.clone())
    }
}

/// Sets the option `key`; a shorter key that was set to a value stands in its way.
fn put(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let Some((level, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return Ok(());
    };
    let inner = table.entry(level.to_owned()).or_insert_with(|| Table::new().into());
    match &mut inner.kind {
        ValueKind::Table(inner) => put(inner, rest, value),
        _ => Err(format!("no such option ({level} has none)")),
    }
}

/// The environment variable that `value` came from.
pub(super) fn variable(value: &Value) -> Option<&str> {
    value.origin().and_then(|origin| origin.strip_prefix(VARIABLE))
}

/// What a variable is for.
enum Target {
    NotOurs,
    /// It looks like one of ours and is none.
    None(String),
    Option(String),
    OptionFromFile(String),
}

fn target(name: &str, value: &str, defaults: &Table) -> Target {
    let stable = |name: &str| STABLE.iter().find(|(known, _)| *known == name).map(|(_, key)| (*key).to_owned());
    let secret = |key: &String| SECRETS.contains(&key.as_str());
    if let Some(key) = stable(name) {
        return Target::Option(key);
    }
    if let Some(key) = name.strip_suffix(FROM_FILE).and_then(stable).filter(secret) {
        return Target::OptionFromFile(key);
    }
    if name == CONFIG_FILE {
        return Target::NotOurs;
    }
    let Some(levels) = name.strip_prefix(PREFIX) else { return Target::NotOurs };
    if !levels.contains(LEVELS) {
        let link = is_service_link(levels, value);
        let meant = || match spelled(&levels.to_uppercase(), defaults) {
            Some(meant) => format!("no option (did you mean {PREFIX}{meant}?)"),
            None => "no option (they are written MIDPLANE_<SECTION>__<KEY>)".to_owned(),
        };
        return if link { Target::NotOurs } else { Target::None(meant()) };
    }
    let key = levels.to_lowercase().replace(LEVELS, ".");
    let plain = key.strip_suffix("_file").map(str::to_owned).filter(secret);
    match plain {
        Some(plain) if default(&key, defaults).is_none() => Target::OptionFromFile(plain),
        _ => Target::Option(key),
    }
}

/// How the option is written that `name` means, in which one underscore stands for each level: `HTTP__BIND` for `HTTP_BIND`.
fn spelled(name: &str, options: &Table) -> Option<String> {
    options.iter().find_map(|(option, value)| {
        let option = option.to_uppercase();
        let rest = name.strip_prefix(&option)?;
        match &value.kind {
            ValueKind::Table(inner) => Some(format!("{option}{LEVELS}{}", spelled(rest.strip_prefix('_')?, inner)?)),
            _ => rest.is_empty().then_some(option),
        }
    })
}

/// Whether Kubernetes or Docker set it: they do so for every service, and for one named `midplane` there are
/// `MIDPLANE_SERVICE_HOST`, `MIDPLANE_SERVICE_PORT[_<NAME>]`, `MIDPLANE_PORT` and `MIDPLANE_PORT_<N>_TCP[…]`.
fn is_service_link(name: &str, value: &str) -> bool {
    let address = name.ends_with("PORT") && value.contains("://");
    let part = name.contains("PORT_") && (name.contains("_TCP") || name.contains("_UDP"));
    address || part || name.contains("SERVICE_HOST") || name.contains("SERVICE_PORT")
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
    let tables = matches!(key, "channel.namespaces" | "socketio.namespaces")
        || matches!(default(key, defaults), Some(ValueKind::Table(_)));
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
