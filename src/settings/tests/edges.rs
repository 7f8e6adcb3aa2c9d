//! What nobody means, and what a node would trip over later: files without end, secrets that are none, names and numbers
//! beyond what others can hold.

use super::super::Settings;
use super::{environment, lines, load, refused};

#[test]
fn what_others_could_not_hold_or_use_is_refused() {
    for (toml, expected) in [
        ("[nats]\nservers = \",,\"", "nats.servers = \",,\": nothing stands between the commas"),
        (
            "[nats]\ninbox_prefixes = [\"midplane.pub\"]",
            "nats.inbox_prefixes = [\"midplane.pub\"]: \"midplane.pub\" is below nats.prefix, where channels are",
        ),
        (
            "[nats]\ninbox_prefixes = [\"$JS.API\"]",
            "nats.inbox_prefixes = [\"$JS.API\"]: \"$JS.API\" is not a subject: use letters, digits, \"-\" and \"_\" (try \"inbox_of_backend\")",
        ),
        ("[nats.tls]\nca_file = \"/tmp\"", "nats.tls.ca_file = \"/tmp\": a directory, not a file"),
        (
            "[client.token]\nsupabase_url = \"ftp://a\"",
            "client.token.supabase_url = \"ftp://a\": neither http nor https",
        ),
        ("[scaling]\nwebhook = \"ftp://a\"", "scaling.webhook = \"ftp://a\": neither http nor https"),
        (
            "[channel]\nhistory_meta_ttl = \"1000y\"",
            "channel.history_meta_ttl = \"1000y\": longer than a hundred years (try \"720h\")",
        ),
        (
            "[hooks.connect]\nhttp_headers = [\"\"]",
            "hooks.connect.http_headers = [\"\"]: \"\" is not the name of a header (try \"Cookie\")",
        ),
    ] {
        assert_eq!(refused(Settings::from_toml(toml)), expected, "{toml}");
    }
}

#[test]
fn a_file_that_has_no_end_or_is_none_is_refused() {
    let why = |path: &str| refused(Settings::load(Some(path.as_ref()), environment(&[])));
    assert_eq!(why("/dev/zero"), "--config /dev/zero: larger than 1 MiB, the limit for files of settings and secrets");
    assert_eq!(why("/"), "--config /: a directory, not a file");
    let secret = load(&[("JWT_SECRET_FILE", "/dev/zero")]);
    assert_eq!(
        refused(secret),
        "JWT_SECRET_FILE = \"/dev/zero\": larger than 1 MiB, the limit for files of settings and secrets"
    );
    Settings::load(Some("/dev/null".as_ref()), environment(&[])).expect("it ends at once");
}

#[test]
fn a_secret_that_is_none_ends_the_start_and_never_brings_development_mode() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a path in UTF-8").to_owned()
    };
    let empty = [file("empty", ""), file("line", "\n")];
    for (variable, path) in
        ["JWT_SECRET_FILE", "MIDPLANE_HTTP_API__KEY_FILE"].iter().flat_map(|v| empty.each_ref().map(|p| (v, p)))
    {
        let plain = variable.trim_end_matches("_FILE");
        let expected = format!("{variable} = {path:?}: the file is empty, so {plain} would not be set");
        assert_eq!(refused(load(&[(variable, path)])), expected);
    }
    let spaces = " ".repeat(40);
    let in_file = file("spaces", &spaces);
    for (variable, value, key) in [
        ("JWT_SECRET", &spaces, "client.token.hmac_secret_key"),
        ("JWT_SECRET_FILE", &in_file, "client.token.hmac_secret_key"),
        ("MIDPLANE_HTTP_API__KEY", &spaces, "http_api.key"),
    ] {
        let refused = lines(&load(&[(variable, value)]).expect_err("refused"));
        let expected = format!("{key} = \"***\" (from {variable}): nothing but white space");
        assert!(refused.contains(&expected), "{refused:?}");
    }
}

#[test]
fn a_number_that_is_too_large_names_its_option() {
    for (toml, place) in [
        ("http.max_connections = 99999999999999999999", "line 1, http.max_connections"),
        ("[http]\n\nmax_connections = 9223372036854775808", "line 3, max_connections"),
    ] {
        let refused = refused(Settings::from_toml(toml));
        assert!(refused.starts_with(&format!("settings: {place}: ")), "{refused}");
    }
}

#[test]
fn quotes_that_are_missing_are_named() {
    for (toml, place) in [
        ("http.bind = 0.0.0.0:8010", "line 1, http.bind"),
        ("[log]\nlevel = debug", "line 2, level"),
        ("node.name = gateway-1", "line 1, node.name"),
    ] {
        let refused = refused(Settings::from_toml(toml));
        let named = refused.starts_with(&format!("settings: {place}: ")) && refused.contains("quote");
        assert!(named, "{refused}");
    }
}

#[test]
fn a_header_that_is_none_is_refused_without_its_value() {
    for (name, value) in [("X Key", "k"), ("X-Key", "a\\r\\nb"), ("", "k")] {
        let toml =
            format!("[hooks.connect]\nendpoint = \"https://a/\"\nstatic_headers = {{ \"{name}\" = \"{value}\" }}");
        let expected = format!(
            "hooks.connect.static_headers = {{ {name} = \"***\" }}: {name:?} or its value is not valid in a header \
             (letters, digits and \"-\" in the name, one line in the value)"
        );
        assert_eq!(refused(Settings::from_toml(&toml)), expected);
    }
}

#[test]
fn names_that_no_stream_or_channel_could_have_are_refused() {
    let prefix = "p".repeat(65);
    let refusal = refused(Settings::from_toml(&format!("nats.prefix = \"{prefix}\"")));
    assert!(refusal.contains("64 at most"), "{refusal}");
    let (long, longest) = ("n".repeat(129), "n".repeat(128));
    let named = |name: &str, more: &str| format!("{more}\n[[channel.namespaces]]\nname = \"{name}\"\n");
    assert!(refused(Settings::from_toml(&named(&long, ""))).contains("two to 128 letters"));
    Settings::from_toml(&named(&longest, "")).expect("valid");
    let nothing_fits = refused(Settings::from_toml(&named("chat", "channel.max_length = 5")));
    assert!(nothing_fits.ends_with("no name of a channel in it would be within channel.max_length"), "{nothing_fits}");
}
