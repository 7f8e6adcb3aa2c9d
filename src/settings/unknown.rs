//! Options that do not exist: refused, so that a misspelt one is never quietly without effect.

use config::{Value, ValueKind};

use super::environment::variable;
use super::refusal::Refusal;
use super::section::{Findings, Table};

/// Notes everything in `given` that `defaults` does not have, at any depth.
///
/// A table that is empty in the defaults takes any names; what is in a list is its reader's to check. `elsewhere` knows
/// the options that somebody else refuses with more to say.
pub(super) fn find(
    path: &str,
    given: &Table,
    defaults: &Table,
    findings: &Findings,
    elsewhere: &impl Fn(&str, &str) -> bool,
) {
    for (key, value) in sorted(given) {
        let whole = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (defaults.get(key).map(|default| &default.kind), &value.kind) {
            (Some(ValueKind::Table(open)), _) if open.is_empty() => {}
            (Some(ValueKind::Table(known)), ValueKind::Table(inner)) => {
                find(&whole, inner, known, findings, elsewhere);
            }
            (Some(_), _) => {}
            (None, _) if elsewhere(path, key) => {}
            (None, _) => refuse(&whole, key, value, defaults, findings),
        }
    }
}

/// Its value is not shown: it may be a secret that missed its option by a letter.
fn refuse(whole: &str, key: &str, value: &Value, defaults: &Table, findings: &Findings) {
    let why = match nearest(key, defaults) {
        Some(near) => format!("no such option (did you mean {near:?}?)"),
        None => "no such option (see midplane settings --defaults)".to_owned(),
    };
    // The environment names options one by one, so each variable is named.
    let variables = leaves(whole, value);
    if variables.is_empty() {
        findings.add(Refusal::new(whole, why));
    } else {
        for (key, variable) in variables {
            findings.add(Refusal { variable: Some(variable), ..Refusal::new(key, why.clone()) });
        }
    }
}

fn leaves(path: &str, value: &Value) -> Vec<(String, String)> {
    match &value.kind {
        ValueKind::Table(table) => {
            sorted(table).into_iter().flat_map(|(key, value)| leaves(&format!("{path}.{key}"), value)).collect()
        }
        _ => variable(value).map(|variable| (path.to_owned(), variable.to_owned())).into_iter().collect(),
    }
}

fn sorted(table: &Table) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

fn nearest<'a>(key: &str, known: &'a Table) -> Option<&'a str> {
    // A letter more, less or another is much of a short name.
    let is_slip = |known: &str| key.len() > 2 && strsim::damerau_levenshtein(key, known) == 1;
    let rated = known.keys().map(|known| (strsim::jaro_winkler(key, known), known.as_str()));
    let like = rated.filter(|(likeness, known)| *likeness > 0.85 || is_slip(known));
    like.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}
