//! The repository keeps itself: what one crate's compiler does not check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may use of the others. Arrows point towards the wires; nobody reaches around a neighbour.
const ARROWS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("settings", &["protocol"]),
    ("telemetry", &["backplane", "protocol", "settings"]),
    ("hub", &["protocol"]),
    ("backplane", &["protocol", "settings", "tasks", "telemetry"]),
    ("cluster", &["backplane", "settings", "tasks", "telemetry"]),
    ("auth", &["protocol", "settings", "telemetry"]),
    ("revocation", &["backplane", "hub", "telemetry"]),
    ("emulation", &["backplane", "hub", "protocol", "telemetry"]),
    ("relay", &["backplane", "hub", "protocol", "settings", "tasks", "telemetry"]),
    ("presence", &["backplane", "hub", "protocol", "tasks", "telemetry"]),
    ("census", &["backplane", "hub", "presence", "protocol", "settings", "telemetry"]),
    ("hooks", &["auth", "backplane", "protocol", "settings", "telemetry"]),
    (
        "api",
        &[
            "auth",
            "backplane",
            "cluster",
            "hooks",
            "hub",
            "presence",
            "protocol",
            "relay",
            "revocation",
            "settings",
            "socketio",
            "tasks",
            "telemetry",
        ],
    ),
    (
        "session",
        &[
            "auth",
            "backplane",
            "census",
            "hooks",
            "hub",
            "presence",
            "protocol",
            "relay",
            "revocation",
            "settings",
            "telemetry",
            "watch",
        ],
    ),
    ("watch", &["backplane", "hub", "protocol", "relay", "settings", "telemetry"]),
    ("socket", &["hub", "protocol", "session"]),
    ("engineio", &["backplane", "hub", "protocol", "session", "settings", "socket", "telemetry"]),
    ("canary", &["backplane", "cluster", "lifecycle", "protocol", "settings", "telemetry"]),
    ("operate", &["backplane", "cluster", "lifecycle", "settings", "telemetry"]),
    (
        "socketio",
        &[
            "auth",
            "backplane",
            "census",
            "engineio",
            "hooks",
            "hub",
            "protocol",
            "relay",
            "revocation",
            "session",
            "settings",
            "telemetry",
            "watch",
        ],
    ),
    ("bridge", &["api", "backplane", "cluster", "protocol", "settings", "socketio", "telemetry"]),
    ("doctor", &["backplane", "canary", "http", "settings"]),
    (
        "http",
        &[
            "api",
            "auth",
            "emulation",
            "engineio",
            "operate",
            "protocol",
            "revocation",
            "session",
            "settings",
            "socket",
            "telemetry",
            "watch",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Every Rust file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files.extend(sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
    files
}

/// The rooms that a text names as `crate::room`.
fn named(text: &str) -> BTreeSet<&str> {
    text.split("crate::")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for (room, allowed) in ARROWS {
        for file in sources(&root().join("src").join(room)) {
            // Tests stand outside the walls.
            if file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a source file");
            // Tests at the end; a module of them in another file is declared anywhere.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let code: String =
                code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            let known = ARROWS.iter().map(|(name, _)| *name).chain(["app", "lifecycle", "cli", "tasks"]);
            let known: BTreeSet<_> = known.collect();
            for used in named(&code).intersection(&known) {
                if used != room && !allowed.contains(used) {
                    wrong.push(format!("{} uses crate::{used}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows between rooms:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_has_its_arrows() {
    let rooms = fs::read_dir(root().join("src")).expect("src").filter_map(|entry| {
        let path = entry.expect("an entry").path();
        path.is_dir().then(|| path.file_name().expect("a name").to_string_lossy().into_owned())
    });
    let known: BTreeSet<String> =
        ARROWS.iter().map(|(room, _)| (*room).to_owned()).chain(["app", "cli"].map(str::to_owned)).collect();
    let unknown: Vec<_> = rooms.filter(|room| !known.contains(room)).collect();
    assert!(unknown.is_empty(), "rooms without arrows: {unknown:?}");
}

#[test]
fn only_the_settings_read_the_environment() {
    let readers: Vec<_> = sources(&root().join("src"))
        .into_iter()
        .filter(|file| !file.starts_with(root().join("src/settings")))
        .filter(|file| fs::read_to_string(file).expect("a source file").contains("std::env::var"))
        .collect();
    assert!(readers.is_empty(), "{readers:?}");
}

/// Every document that is ours, with its path.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs", "bench", "fuzz"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    let files = files.map(|entry| entry.expect("an entry").path());
    let documents = files.filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    documents.map(|file| (file.clone(), fs::read_to_string(&file).expect("a document"))).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut links = 0;
    for (file, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if link.contains("://") || path.is_empty() {
                continue;
            }
            links += 1;
            assert!(file.parent().expect("a folder").join(path).exists(), "{}: {link}", file.display());
        }
    }
    assert!(links >= 10, "{links} links are not all of them");
}

#[test]
fn configurations_in_the_documents_are_accepted() {
    let mut configurations = 0;
    for (file, text) in documents().into_iter().filter(|(file, _)| !file.ends_with("configuration.md")) {
        for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            configurations += 1;
            let mut settings = block.replace('…', "a secret of 32 bytes, at the least");
            if settings.contains("\"nats:") && !settings.contains("nats.servers") {
                settings = format!("nats.servers = [\"nats://127.0.0.1:4222\"]\n{settings}");
            }
            if let Err(refused) = midplane::settings::Settings::from_toml(&settings) {
                panic!("{}: {refused}\n{settings}", file.display());
            }
        }
    }
    assert!(configurations >= 2, "{configurations} configurations are not all of them");
}

/// Every text that a test may be found by: whole files.
fn tests() -> String {
    let scripts = ["tests/sdk/js", "tests/sdk/js/scenarios", "tests/operate"].map(|folder| root().join(folder));
    let scripts = scripts.iter().flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    let scripts = scripts.map(|entry| entry.expect("an entry").path());
    let scripts =
        scripts.filter(|file| file.extension().is_some_and(|extension| extension == "mjs" || extension == "py"));
    let files = scripts.chain(sources(&root().join("tests/it"))).chain(sources(&root().join("src")));
    files.map(|file| fs::read_to_string(file).expect("a test")).collect()
}

/// The tests that a document names, each of which must exist: `names_of_functions`, "titles".
fn named_tests(document: &str) -> usize {
    let tests = tests().replace("\\'", "'");
    let text = fs::read_to_string(root().join("docs").join(document)).expect("a document");
    let mut named = 0;
    for line in text.lines() {
        let names = line.split('`').skip(1).step_by(2).filter(|name| name.contains('_') && name.len() > 24);
        let titles = line.split('"').skip(1).step_by(2);
        let missing = |name: &&str| !tests.contains(*name);
        let names: Vec<_> = names.filter(|name| !name.contains('.')).chain(titles).collect();
        named += names.len();
        let missing: Vec<_> = names.into_iter().filter(missing).collect();
        assert!(missing.is_empty(), "{document}: no such test: {missing:?}");
    }
    named
}

#[test]
fn guarantees_name_tests_that_exist() {
    let named = named_tests("guarantees.md");
    assert!(named >= 30, "{named} tests are named");
}

#[test]
fn every_threat_has_a_test_that_exists() {
    let named = named_tests("security.md");
    assert!(named >= 60, "{named} tests are named");
    let text = fs::read_to_string(root().join("docs/security.md")).expect("a document");
    let threats = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| threat") && !line.starts_with("| ---"));
    let (tests, recipes) = (tests(), fs::read_to_string(root().join("justfile")).expect("recipes"));
    for threat in threats {
        let shown_by = threat.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        assert!(shown_by.contains('`') || shown_by.contains('"'), "shown by nothing: {threat}");
        for name in shown_by.split('`').skip(1).step_by(2) {
            let there = match name.strip_prefix("just ") {
                Some(recipe) => recipes.contains(&format!("\n{recipe}:\n")),
                None => tests.contains(&format!("fn {name}(")),
            };
            assert!(there, "neither a test nor a recipe: {name}");
        }
    }
}
