//! Why settings are refused: every reason at once, each with its key, its value and what would be right.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The option as it is written: `channel.namespaces[1].history_ttl`.
    pub key: String,
    /// What it was set to, as far as it may be shown; `None` when it is not set.
    pub value: Option<String>,
    /// The environment variable it came from.
    pub variable: Option<String>,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl Refusal {
    /// A refusal of something that has no value to show.
    pub fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, variable: None, why: why.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        // A variable that is its own key is not named twice.
        if let Some(variable) = self.variable.as_deref().filter(|variable| *variable != self.key) {
            write!(f, " (from {variable})")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// Everything that is wrong with the settings; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals(pub Vec<Refusal>);

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("midplane: settings refused")?;
        self.0.iter().try_for_each(|refusal| write!(f, "\n  {refusal}"))
    }
}

impl std::error::Error for Refusals {}
