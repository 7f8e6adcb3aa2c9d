//! The settings as they came out, for people: every value with where it came from, secrets masked.

use std::fmt::Write as _;
use std::path::Path;

use config::{Value, ValueKind};

use super::environment::variable;
use super::refusal::Refusals;
use super::section::{Findings, Table};
use super::shown::shown;
use super::sources::Sources;
use super::{Settings, resolve};

/// The values that `file` and `environment` result in, as TOML with their origins behind them.
///
/// # Errors
/// Everything that is wrong with them, at once.
pub fn explain(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<String, Refusals> {
    let findings = Findings::default();
    let sources = Sources::read(file, environment.into_iter(), &findings);
    let (settings, values) = resolve::resolve(&sources, findings)?;
    let mut text = headline(&settings);
    write_table(&mut text, "", &values, &sources.defaults);
    Ok(text)
}

fn headline(settings: &Settings) -> String {
    let mode = if settings.development { "development mode" } else { "clients are told apart" };
    let backplane = if settings.nats.is_some() { "in a cluster" } else { "alone" };
    format!("# {mode}, listening on {}, {backplane}\n", settings.http.bind)
}

fn write_table(text: &mut String, path: &str, values: &Table, defaults: &Table) {
    let key = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut entries: Vec<_> = values.iter().collect();
    entries.sort_by_key(|(name, _)| *name);
    let (tables, options): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(name, value)| {
        let open =
            matches!(defaults.get(*name).map(|default| &default.kind), Some(ValueKind::Table(t)) if t.is_empty());
        matches!(value.kind, ValueKind::Table(_)) && !open
    });
    if !options.is_empty() && !path.is_empty() {
        let _ = writeln!(text, "\n[{path}]");
    }
    let mut lists = Vec::new();
    for (name, value) in options {
        match &value.kind {
            ValueKind::Array(items) if items.iter().any(|item| matches!(item.kind, ValueKind::Table(_))) => {
                lists.push((name, items));
            }
            _ => {
                let origin = origin(value, defaults.get(name));
                let _ = writeln!(text, "{name} = {}{origin}", shown(&key(name), value));
            }
        }
    }
    for (name, value) in tables {
        if let (ValueKind::Table(inner), Some(ValueKind::Table(defaults))) =
            (&value.kind, defaults.get(name).map(|default| &default.kind))
        {
            write_table(text, &key(name), inner, defaults);
        }
    }
    for (name, items) in lists {
        for item in items {
            let _ = writeln!(text, "\n[[{}]]", key(name));
            let ValueKind::Table(options) = &item.kind else { continue };
            let mut options: Vec<_> = options.iter().collect();
            options.sort_by_key(|(name, _)| (*name != "name", *name));
            for (option, value) in options {
                let _ = writeln!(text, "{option} = {}", shown(&key(option), value));
            }
        }
    }
}

/// Nothing behind a default; the variable, the file, or development mode behind anything else.
fn origin(value: &Value, default: Option<&Value>) -> String {
    match (variable(value), default) {
        (Some(variable), _) => format!("  # {variable}"),
        (None, Some(default)) if default.kind == value.kind => String::new(),
        (None, _) => "  # set".to_owned(),
    }
}
