//! The configuration reference, made of the defaults, so that the two cannot differ.

use std::fmt::Write as _;

use super::environment::STABLE;
use super::shown::SECRETS;
use super::{DEFAULTS, DEVELOPMENT};

const OPENING: &str = "\
# Configuration

> Made by `midplane settings --reference` from the defaults compiled into the binary. Do not edit: change
> `src/settings/defaults.toml`.

Options come from four layers, each over the one before: the defaults below; development mode, where it holds; the file
named by `--config` or `MIDPLANE_CONFIG` (TOML); the environment. `midplane check` says everything that is wrong at once,
`midplane settings` shows what came out and what each value was set by, `midplane settings --defaults` prints the defaults as
a file to start from.

- **Environment**: `MIDPLANE_<SECTION>__<KEY>`, two underscores for each dot: `http.bind` is `MIDPLANE_HTTP__BIND`,
  `client.token.issuer` is `MIDPLANE_CLIENT__TOKEN__ISSUER`. Lists by comma; the lists of namespaces and tables as JSON. An
  empty variable is one that is not set. A variable that begins so and names no option is refused.
- **Secrets** are marked *secret*: they are never shown, and `<VARIABLE>_FILE` reads them from a file.
- **Durations** are texts with a unit: `\"300ms\"`, `\"25s\"`, `\"1h30m\"`, `\"720h\"`. A bare number is refused.
- **Sizes** are bytes, or texts: `65536`, `\"64KiB\"`, `\"1MiB\"`.
- `\"\"` means \"not set\".

## Short names

These variables set the same options and stay; `MIDPLANE_…` goes over them.

| variable | option |
| --- | --- |
";

/// `docs/configuration.md`: every option with its meaning and its default.
#[must_use]
pub fn reference() -> String {
    let mut text = OPENING.to_owned();
    for (variable, option) in STABLE {
        let _ = writeln!(text, "| `{variable}` | `{option}` |");
    }
    let mut section = String::new();
    let mut comment: Vec<&str> = Vec::new();
    // The comment on the whole file ends at the first empty line, as every other does.
    for line in DEFAULTS.lines() {
        if let Some(words) = line.strip_prefix('#') {
            comment.push(words.strip_prefix(' ').unwrap_or(words));
        } else if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
            let _ = writeln!(text, "\n## `[{section}]`\n\n{}\n", comment.join("\n").replace('<', "\\<"));
            text.push_str("| option | default | meaning |\n| --- | --- | --- |\n");
            comment.clear();
        } else if let Some((key, default)) = line.split_once(" = ") {
            let secret = if SECRETS.contains(&format!("{section}.{key}").as_str()) { " *Secret.*" } else { "" };
            let _ = writeln!(text, "| `{key}` | `{default}` | {}{secret} |", cell(&comment));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    let _ = write!(text, "\n## Development mode\n\n```toml\n{DEVELOPMENT}```\n");
    text
}

/// The defaults as a file to start from: every option is there, and none is set.
///
/// Set, they would go over development mode and over the defaults of later releases.
#[must_use]
pub fn template() -> String {
    let option = |line: &str| !line.is_empty() && !line.starts_with(['#', '[']);
    DEFAULTS.lines().map(|line| if option(line) { format!("#{line}\n") } else { format!("{line}\n") }).collect()
}

/// A comment as one line of Markdown; indented lines are an example.
fn cell(comment: &[&str]) -> String {
    let mut cell = String::new();
    for (index, line) in comment.iter().enumerate() {
        let (line, example) = match line.strip_prefix("  ") {
            Some(line) => (format!("<br>`{line}`"), true),
            None => (line.replace('<', "\\<"), false),
        };
        if index > 0 && !example {
            cell.push(' ');
        }
        cell.push_str(&line);
    }
    cell.replace('|', "\\|").replace("\"*\"", "`\"*\"`")
}
