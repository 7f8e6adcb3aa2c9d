//! The layers: compiled-in defaults < development mode < file < environment.

use std::path::Path;

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, File, FileFormat, ValueKind};

use super::environment::{self, Overlay};
use super::files;
use super::refusal::Refusal;
use super::section::{Findings, Table};
use super::{DEFAULTS, DEVELOPMENT};

/// The layers of one start, read but not yet merged.
pub(super) struct Sources {
    /// The compiled-in defaults: which options there are, and of what kind.
    pub(super) defaults: Table,
    file: Option<Config>,
    pub(super) environment: Overlay,
}

impl Sources {
    /// Reads `file` and `variables`; what cannot be read is noted in `findings`.
    pub(super) fn read(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
        findings: &Findings,
    ) -> Self {
        let file = file.and_then(|path| match files::read(path).and_then(|text| parsed(&text)) {
            Ok(file) => Some(file),
            Err(why) => {
                findings.add(Refusal::new(format!("--config {}", path.display()), why));
                None
            }
        });
        Self::layered(file, variables, findings)
    }

    /// The same with the text of a file.
    pub(super) fn of_text(toml: &str, findings: &Findings) -> Self {
        let file = parsed(toml).map_err(|why| findings.add(Refusal::new("settings", why))).ok();
        Self::layered(file, std::iter::empty(), findings)
    }

    fn layered(file: Option<Config>, variables: impl Iterator<Item = (String, String)>, findings: &Findings) -> Self {
        let defaults = table(merge(Config::builder().add_source(compiled_in(DEFAULTS))));
        let environment = environment::read(variables, &defaults, findings);
        Self { defaults, file, environment }
    }

    /// What the file sets.
    pub(super) fn of_file(&self) -> Table {
        self.file.clone().map(table).unwrap_or_default()
    }

    /// All layers as one tree.
    pub(super) fn merged(&self, development: bool) -> Table {
        let mut builder = Config::builder().add_source(compiled_in(DEFAULTS));
        if development {
            builder = builder.add_source(compiled_in(DEVELOPMENT));
        }
        if let Some(file) = &self.file {
            builder = builder.add_source(file.clone());
        }
        builder = builder.add_source(self.environment.clone());
        table(merge(builder))
    }
}

fn parsed(toml: &str) -> Result<Config, String> {
    let builder = Config::builder().add_source(File::from_str(toml, FileFormat::Toml));
    builder.build().map_err(|error| match placed(toml) {
        Some(placed) => placed,
        None => error.to_string().trim().replace('\n', "\n    "),
    })
}

/// What is wrong in a text that is TOML, and yet holds a value that TOML cannot: with its line, and the option there.
fn placed(text: &str) -> Option<String> {
    let error = toml::from_str::<toml::Table>(text).err()?;
    let before = text.get(..error.span()?.start)?;
    let line = before.lines().count();
    let option = before.lines().next_back()?.split_once('=')?.0.trim();
    let value = text.lines().nth(line - 1)?.split_once('=')?.1.trim();
    // The value is not shown: it may be a secret.
    let missing = is_bare_text(value) && !error.message().contains("quote");
    let hint = if missing { " (put a text in quotes)" } else { "" };
    Some(format!("line {line}, {option}: {}{hint}", error.message()))
}

/// Whether a value looks like a text without quotes: there are letters or dots in it, and nothing that TOML begins one with.
fn is_bare_text(value: &str) -> bool {
    let is_text = |c: char| c.is_alphabetic() || matches!(c, '.' | ':' | '/');
    !value.starts_with(['"', '\'', '[', '{']) && value.contains(is_text)
}

fn compiled_in(toml: &'static str) -> File<config::FileSourceString, FileFormat> {
    File::from_str(toml, FileFormat::Toml)
}

fn merge(builder: ConfigBuilder<DefaultState>) -> Config {
    builder.build().expect("the compiled-in files are TOML, which a test holds, and the file was parsed before")
}

fn table(config: Config) -> Table {
    match config.cache.kind {
        ValueKind::Table(table) => table,
        _ => unreachable!("a configuration is a table"),
    }
}
