//! Reading a tree of values one option at a time, without stopping at the first that is wrong.
//!
//! Deserializing into structs would end at the first mistake, and settings are refused with all of them at once. So
//! [`Section::take`] notes a refusal and goes on with the default; what is built then is thrown away.

use std::cell::RefCell;

use config::{Map, Value, ValueKind};

use super::environment::variable;
use super::refusal::Refusal;
use super::shown::shown;
use super::value::FromValue;

pub(super) type Table = Map<String, Value>;

/// Everything found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Findings(RefCell<Vec<Refusal>>);

impl Findings {
    pub(super) fn add(&self, refusal: Refusal) {
        self.0.borrow_mut().push(refusal);
    }

    pub(super) fn into_refusals(self) -> Vec<Refusal> {
        self.0.into_inner()
    }
}

/// A table of options, beside the table of their defaults, which also says which options there are.
pub(super) struct Section<'a> {
    path: String,
    given: Option<&'a Table>,
    defaults: &'a Table,
    findings: &'a Findings,
}

impl<'a> Section<'a> {
    pub(super) fn root(given: &'a Table, defaults: &'a Table, findings: &'a Findings) -> Self {
        Self { path: String::new(), given: Some(given), defaults, findings }
    }

    /// The table `name` within this one. Anything else than a table is refused.
    pub(super) fn section(&self, name: &'static str) -> Section<'a> {
        let ValueKind::Table(defaults) = &self.default_of(name).kind else {
            unreachable!("{} is a table in the defaults", self.key(name))
        };
        self.table(self.key(name), self.given.and_then(|given| given.get(name)), defaults)
    }

    /// The tables in the list `name`, each with the defaults of the table `template`.
    pub(super) fn list(&self, name: &'static str, template: &'static str) -> Vec<Section<'a>> {
        let ValueKind::Table(defaults) = &self.default_of(template).kind else {
            unreachable!("{} is a table in the defaults", self.key(template))
        };
        match self.value(name).map(|value| &value.kind) {
            Some(ValueKind::Array(values)) => values
                .iter()
                .enumerate()
                .map(|(index, value)| self.table(format!("{}[{index}]", self.key(name)), Some(value), defaults))
                .collect(),
            _ => {
                self.refuse(name, "not a list of tables");
                Vec::new()
            }
        }
    }

    fn table(&self, path: String, value: Option<&'a Value>, defaults: &'a Table) -> Section<'a> {
        let given = match value.map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => Some(table),
            Some(_) => {
                self.findings.add(refusal(path.clone(), value, "not a table of options".to_owned()));
                None
            }
            None => None,
        };
        Section { path, given, defaults, findings: self.findings }
    }

    /// The option `key`. Where it is wrong this is noted, and the default stands in.
    pub(super) fn take<T: FromValue>(&self, key: &'static str) -> T {
        let value = self.value(key).unwrap_or_else(|| self.default_of(key));
        T::from_value(value).unwrap_or_else(|wrong| {
            self.refuse(key, wrong);
            T::from_value(self.default_of(key)).expect("the compiled-in default is valid, which a test holds")
        })
    }

    /// What `key` was set to, by the defaults or above them.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.given.and_then(|given| given.get(key))
    }

    /// Notes that the value of `key` will not do.
    pub(super) fn refuse(&self, key: &str, why: impl Into<String>) {
        self.findings.add(refusal(self.key(key), self.value(key), why.into()));
    }

    /// The options that are set here, by name.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.given.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    /// The options that there are.
    pub(super) fn defaults(&self) -> &'a Table {
        self.defaults
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn findings(&self) -> &'a Findings {
        self.findings
    }

    /// The name as it is written from the root.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn default_of(&self, key: &str) -> &'a Value {
        self.defaults.get(key).unwrap_or_else(|| unreachable!("{} stands in the defaults", self.key(key)))
    }
}

/// A refusal of `value`, with the environment variable it came from.
pub(super) fn refusal(key: String, value: Option<&Value>, why: String) -> Refusal {
    let variable = value.and_then(variable).map(str::to_owned);
    Refusal { value: value.map(|value| shown(&key, value)), variable, key, why }
}
