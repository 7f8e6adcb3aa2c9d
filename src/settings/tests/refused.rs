//! What is refused, and in which words.

use std::io::Write as _;

use super::super::Settings;
use super::{SECRET, environment, lines, load, refused};

#[test]
fn everything_wrong_is_said_at_once() {
    let refusals = Settings::from_toml(
        r#"
        [http]
        bind = "0.0.0.0:8000"
        [client]
        ping_interval = 25
        [client.token]
        hmac_secret_key = "0123456789abcdef0123456789abcdef"
        [[channel.namespaces]]
        name = "chat"
        [[channel.namespaces]]
        name = "news"
        history_size = 10
        history_ttl = "5 parsecs"
        "#,
    )
    .expect_err("refused");
    let expected = r#"midplane: settings refused
  channel.namespaces[1].history_ttl = "5 parsecs": not a duration (try "5m")
  channel.namespaces[1].history_size = 10: history needs history_ttl as well (try "5m")
  client.ping_interval = 25: a number without a unit (try "25s")
  http_api.key: not set, and http.bind = 0.0.0.0:8000 is reachable from outside; set it, or http_api.enabled = false"#;
    assert_eq!(refusals.to_string(), expected);
}

#[test]
fn what_is_wrong_names_its_key_and_what_would_be_right() {
    let with_secret = format!("[client.token]\nhmac_secret_key = \"{SECRET}\"\n");
    for (toml, expected) in [
        ("[http]\nbnd = \"127.0.0.1:1\"", "http.bnd: no such option (did you mean \"bind\"?)"),
        ("http_api.kee = \"k\"", "http_api.kee: no such option (did you mean \"key\"?)"),
        ("[fruit]\nx = 1", "fruit: no such option (see midplane settings --defaults)"),
        ("http = 5", "http = 5: not a table of options"),
        ("[http]\nbind = \"8000\"", "http.bind = \"8000\": not an address with a port (try \"127.0.0.1:8000\")"),
        ("[http]\nmax_connections = -1", "http.max_connections = -1: not a whole number from 0 on"),
        ("[http]\ndemo = \"yes\"", "http.demo = \"yes\": none of true, false, \"auto\""),
        (
            "[http]\ntrusted_proxies = [\"10.0.0.0/40\"]",
            "http.trusted_proxies = [\"10.0.0.0/40\"]: not a network (try \"10.0.0.0/8\")",
        ),
        (
            "[http]\nhandshake_rate = \"many\"",
            "http.handshake_rate = \"many\": not a rate (try \"20/s\" or \"20/s burst 100\")",
        ),
        ("[http]\nbody_limit = \"4 fathoms\"", "http.body_limit = \"4 fathoms\": not a size (try 65536 or \"64KiB\")"),
        ("[websocket]\ncompression_level = 10", "websocket.compression_level = 10: not between 1, quick, and 9, small"),
        ("[http_api]\nkey = 123", "http_api.key = \"***\": not a text (put it in quotes)"),
        ("[http_api]\nerror_mode = \"loud\"", "http_api.error_mode = \"loud\": none of \"\", \"transport\""),
        (
            "[client]\npong_timeout = \"25s\"",
            "client.pong_timeout = \"25s\": not shorter than client.ping_interval = \"25s\"",
        ),
        (
            "[client]\nallowed_origins = [\"app.example.com\"]",
            "client.allowed_origins = [\"app.example.com\"]: not an origin (try \"https://app.example.com\", without a path)",
        ),
        ("[client]\nchannel_limit = 0", "client.channel_limit = 0: nothing would pass (try a number from 1 on)"),
        (
            "[client.subscribe_to_user_personal_channel]\nenabled = true\npersonal_channel_namespace = \"me\"",
            "client.subscribe_to_user_personal_channel.personal_channel_namespace = \"me\": no such namespace in channel.namespaces",
        ),
        (
            "[client.token]\nrsa_public_key = \"MIIB\"",
            "client.token.rsa_public_key = \"MIIB\": not a public key in PEM (it begins with \"-----BEGIN PUBLIC KEY-----\")",
        ),
        ("[channel]\nmax_length = 256", "channel.max_length = 256: not between 1 and 255"),
        ("[channel]\nnamespaces = \"chat\"", "channel.namespaces = \"chat\": not a list of tables"),
        ("[channel]\nhistory_meta_ttl = \"10M\"", "channel.history_meta_ttl = \"10M\": not a duration (try \"10m\")"),
        (
            "[log]\nlevel = \"info,blah\"",
            "log.level = \"info,blah\": \"blah\" is no level (try \"info\", or \"info,midplane::session=debug\")",
        ),
        ("[log]\nformat = \"xml\"", "log.format = \"xml\": none of \"text\", \"json\""),
        (
            "[node]\nname = \"a.b\"",
            "node.name = \"a.b\": not a node's name (64 letters, digits, \"-\" and \"_\" at most)",
        ),
        (
            "[nats]\nservers = [\"redis://a:1\"]",
            "nats.servers = [\"redis://a:1\"]: not the address of a NATS server (try \"nats://127.0.0.1:4222\")",
        ),
        (
            "[nats]\nenabled = true",
            "nats.servers = []: nats.enabled = true (ENABLE_CLUSTERING) needs a server (set NATS_URL)",
        ),
        (
            "[nats]\nduplicate_window = \"10s\"",
            "nats.duplicate_window = \"10s\": not longer than nats.publish_timeout, so a retry could be stored twice",
        ),
        ("[nats]\nuser = \"me\"", "nats.user = \"me\": set without nats.password"),
        (
            "[nats]\nservers = [\"nats://t0k@a:1\"]\nnkey = \"SU\"",
            "nats.servers = [\"nats://***@a:1\"]: a second way to authenticate, beside nats.nkey",
        ),
        ("[nats.tls]\nca_file = \"/nowhere\"", "nats.tls.ca_file = \"/nowhere\": no such file"),
    ] {
        let toml = if toml.contains("[client.token]") { toml.to_owned() } else { format!("{toml}\n{with_secret}") };
        assert_eq!(refused(Settings::from_toml(&toml)), expected, "{toml}");
    }
}

#[test]
fn what_is_wrong_with_a_hook_names_its_key() {
    let with_secret = format!("[client.token]\nhmac_secret_key = \"{SECRET}\"\n");
    for (toml, expected) in [
        (
            "[hooks.publish]\nendpoint = \"ftp://a\"",
            "hooks.publish.endpoint = \"ftp://a\": not an endpoint (try \"https://host/path\" or \"nats:hooks.connect\")",
        ),
        (
            "[hooks.publish]\nendpoint = \"nats:hooks.publish\"",
            "hooks.publish.endpoint = \"nats:hooks.publish\": asks over NATS, but nats.servers is not set",
        ),
        ("[hooks.rpc]\ntimeout = \"0s\"", "hooks.rpc.timeout = \"0s\": no time at all (try \"5s\")"),
    ] {
        assert_eq!(refused(Settings::from_toml(&format!("{toml}\n{with_secret}"))), expected, "{toml}");
    }
}

#[test]
fn namespaces_are_checked_as_wholes() {
    for (options, expected) in [
        ("name = \"a\"", "name = \"a\": not a namespace's name (two to 128 letters, digits, \"-\" and \"_\")"),
        ("name = \"a:b\"", "name = \"a:b\": not a namespace's name (two to 128 letters, digits, \"-\" and \"_\")"),
        (
            "history_size = 1\nhistory_ttl = \"1s\"",
            "name: not set (options of channels without a namespace are [channel.without_namespace])",
        ),
        ("name = \"aa\"\nhistory_ttl = \"5m\"", "history_ttl = \"5m\": history needs history_size as well (try 100)"),
        (
            "name = \"aa\"\nforce_recovery = true",
            "force_recovery = true: recovery needs history (set history_size and history_ttl)",
        ),
        (
            "name = \"aa\"\nallow_recovery = true",
            "allow_recovery = true: recovery needs history (set history_size and history_ttl)",
        ),
        (
            "name = \"aa\"\nhistory_size = 1\nhistory_ttl = \"2h\"\nhistory_meta_ttl = \"1h\"",
            "history_meta_ttl = \"1h\": 1h is shorter than history_ttl = \"2h\"",
        ),
        (
            "name = \"aa\"\nforce_recovery_mode = \"last\"",
            "force_recovery_mode = \"last\": none of \"stream\", \"cache\"",
        ),
        (
            "name = \"aa\"\nauto_cache_recover = true",
            "auto_cache_recover = true: needs force_recovery = true and force_recovery_mode = \"cache\"",
        ),
        (
            "name = \"aa\"\nchannel_regex = \"(\"",
            "channel_regex = \"(\": not a regular expression (error: unclosed group)",
        ),
        (
            "name = \"aa\"\npublication_data_format = \"xml\"",
            "publication_data_format = \"xml\": none of \"\", \"json\", \"json_object\", \"binary\"",
        ),
        (
            "name = \"aa\"\nallow_presence_for_client = true",
            "allow_presence_for_client = true: there is nothing to see without presence or join_leave",
        ),
        ("name = \"aa\"\nforce_push_join_leave = true", "force_push_join_leave = true: needs join_leave = true"),
        ("name = \"aa\"\nleave_delay = \"5s\"", "leave_delay = \"5s\": needs join_leave = true"),
        (
            "name = \"aa\"\nsubscription_type = \"map\"",
            "subscription_type = \"map\": only the ordinary kind of channel is supported",
        ),
        (
            "name = \"aa\"\npublish_proxy_name = \"other\"",
            "publish_proxy_name = \"other\": there is one hook of each kind, in [hooks]; leave it \"default\"",
        ),
        ("name = \"aa\"\nhistory_sise = 5", "history_sise: no such option (did you mean \"history_size\"?)"),
    ] {
        let toml = format!("[[channel.namespaces]]\n{options}\n");
        assert_eq!(refused(Settings::from_toml(&toml)), format!("channel.namespaces[0].{expected}"), "{options}");
    }
    let twice = "[[channel.namespaces]]\nname = \"aa\"\n[[channel.namespaces]]\nname = \"aa\"\n";
    assert_eq!(
        refused(Settings::from_toml(twice)),
        "channel.namespaces[1].name = \"aa\": two namespaces have this name"
    );
    let hook = "[channel.without_namespace]\npublish_proxy_enabled = true";
    assert_eq!(
        refused(Settings::from_toml(hook)),
        "hooks.publish.endpoint: not set, and the namespace \"\" has publish_proxy_enabled = true"
    );
}

#[test]
fn what_becomes_of_publications_fits_what_their_namespace_promises() {
    for (options, expected) in [
        ("name = \"aa\"\nallowed_delta_types = [\"vcdiff\"]", "allowed_delta_types = [\"vcdiff\"]: none of \"fossil\""),
        (
            "name = \"aa\"\nslow_reader = \"wait\"",
            "slow_reader = \"wait\": none of \"close\", \"conflate\", \"recover\"",
        ),
        (
            "name = \"aa\"\nslow_reader = \"recover\"",
            "slow_reader = \"recover\": recovers from history (set history_size and history_ttl)",
        ),
        (
            "name = \"aa\"\nhistory_size = 5\nhistory_ttl = \"5m\"\nallow_recovery = true\nslow_reader = \"conflate\"",
            "slow_reader = \"conflate\": leaves publications out, which recovery promises not to (try \"recover\", or force_recovery_mode = \"cache\")",
        ),
        (
            "name = \"aa\"\nallow_positioning = true\nslow_reader = \"conflate\"",
            "slow_reader = \"conflate\": leaves publications out without a word, and positioning promises a word (try \"recover\" or \"close\")",
        ),
    ] {
        let toml = format!("[[channel.namespaces]]\n{options}\n");
        assert_eq!(refused(Settings::from_toml(&toml)), format!("channel.namespaces[0].{expected}"), "{options}");
    }
}

#[test]
fn options_that_only_centrifugo_has_do_no_harm_while_they_are_off() {
    let toml = "[channel.without_namespace]\nshared_poll = false\nmap = {}\npublish_proxy_name = \"default\"";
    Settings::from_toml(toml).expect("valid");
}

#[test]
fn an_address_that_others_reach_wants_clients_told_apart() {
    let alone = refused(load(&[("MIDPLANE_HTTP__BIND", "0.0.0.0:8000"), ("MIDPLANE_HTTP_API__ENABLED", "false")]));
    assert!(
        alone.starts_with("http.bind = \"0.0.0.0:8000\" (from MIDPLANE_HTTP__BIND): reachable from outside"),
        "{alone}"
    );
    assert!(alone.contains("JWT_SECRET") && alone.contains("hooks.connect.endpoint"), "{alone}");
    let key = [("MIDPLANE_HTTP__BIND", ":8000"), ("MIDPLANE_HTTP_API__KEY", SECRET)];
    for told in [
        ("JWT_SECRET", SECRET),
        ("MIDPLANE_HOOKS__CONNECT__ENDPOINT", "https://backend.example/connect"),
        ("MIDPLANE_CLIENT__ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN", "true"),
        ("SUPABASE_URL", "https://ref.supabase.co"),
    ] {
        let settings = load(&[key[0], key[1], told]).expect(told.0);
        assert_eq!(settings.http.bind.to_string(), "0.0.0.0:8000");
    }
    let nobody = refused(load(&[("MIDPLANE_CLIENT__ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN", "false")]));
    assert!(nobody.contains("nobody could connect"), "{nobody}");
    let development = refused(load(&[("MIDPLANE_NODE__DEVELOPMENT", "true"), key[0], key[1]]));
    assert!(development.contains("development mode is for loopback addresses"), "{development}");
}

#[test]
fn short_and_copied_secrets_are_for_development_only() {
    let short = refused(load(&[("JWT_SECRET", "secret")]));
    assert_eq!(
        short,
        "client.token.hmac_secret_key = \"***\" (from JWT_SECRET): 6 bytes; at least 32 are required outside development \
         mode (try openssl rand -hex 32)"
    );
    let copied = refused(load(&[("JWT_SECRET", "your_jwt_secret_here_at_least_32_characters_long")]));
    assert!(copied.contains("the placeholder of a manual"), "{copied}");
    let settings = load(&[("JWT_SECRET", "secret"), ("MIDPLANE_NODE__DEVELOPMENT", "true")]).expect("valid");
    assert!(settings.development && settings.client.token.is_some());
    let guessable = [("JWT_SECRET", SECRET), ("MIDPLANE_HTTP__BIND", ":1"), ("MIDPLANE_HTTP_API__KEY", "short")];
    assert!(refused(load(&guessable)).contains("shorter than 16 bytes"));
}

#[test]
fn unknown_variables_of_ours_are_refused_by_name_and_everybody_elses_ignored() {
    let refusals = load(&[
        ("HOME", "/root"),
        ("MIDPLANE_HTTP__PROT", "1"),
        ("MIDPLANE_HTP__BIND", "secret-looking"),
        ("MIDPLANE_BIND", "1"),
        ("MIDPLANE_HTTP_PORT", "1"),
        ("MIDPLANE_LOG__LEVEL", "info"),
        ("MIDPLANE_LOG__LEVEL__X", "1"),
        ("MIDPLANE_CHANNEL__NAMESPACES", "chat"),
        ("MIDPLANE_CHANNEL__WITHOUT_NAMESPACE__SUBSCRIPTION_TYPE", "map"),
        // Set by Kubernetes for every Service; this one is named like us.
        ("MIDPLANE_WEB_PORT", "tcp://10.0.0.1:80"),
        ("MIDPLANE_PORT", "tcp://10.0.0.1:8000"),
        ("MIDPLANE_SERVICE_HOST", "10.0.0.1"),
        ("MIDPLANE_SERVICE_PORT_HTTP", "8000"),
        ("MIDPLANE_PORT_8000_TCP_ADDR", "10.0.0.1"),
    ])
    .expect_err("refused");
    assert_eq!(
        lines(&refusals),
        [
            "MIDPLANE_BIND: no option (they are written MIDPLANE_<SECTION>__<KEY>)",
            "MIDPLANE_CHANNEL__NAMESPACES: not JSON (expected value at line 1 column 1)",
            "MIDPLANE_HTTP_PORT: no option (did you mean MIDPLANE_HTTP__PORT?)",
            "MIDPLANE_LOG__LEVEL__X: no such option (level has none)",
            "htp.bind (from MIDPLANE_HTP__BIND): no such option (did you mean \"http\"?)",
            "http.prot (from MIDPLANE_HTTP__PROT): no such option (did you mean \"port\"?)",
            "channel.without_namespace.subscription_type = \"map\" \
             (from MIDPLANE_CHANNEL__WITHOUT_NAMESPACE__SUBSCRIPTION_TYPE): only the ordinary kind of channel is supported",
        ]
    );
}

#[test]
fn a_file_that_does_not_load_is_refused() {
    let missing = Settings::load(Some("/nowhere/midplane.toml".as_ref()), environment(&[]));
    assert!(refused(missing).starts_with("--config /nowhere/midplane.toml: cannot be read"));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "[http\nbind = 1").expect("written");
    let broken = refused(Settings::load(Some(file.path()), environment(&[])));
    assert!(broken.starts_with("--config ") && broken.contains("TOML"), "{broken}");
}

#[test]
fn a_history_that_forgets_before_a_retry_is_over_is_refused() {
    let namespace = "name = \"hot\"\nhistory_size = 10\nhistory_ttl = \"10s\"\nhistory_meta_ttl = \"10s\"";
    let settings = format!("nats.servers = [\"nats://127.0.0.1:4222\"]\n[[channel.namespaces]]\n{namespace}");
    let why = "not shorter than the history_meta_ttl of namespace \"hot\" (10s), so a retry could be stored twice";
    assert_eq!(refused(Settings::from_toml(&settings)), format!("nats.publish_timeout = \"15s\": {why}"));
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    for (toml, expected) in [
        (
            "[client.connects]\nconcurrency = 0",
            "client.connects.concurrency = 0: nothing would pass (try a number from 1 on)",
        ),
        (
            "[client]\nuser_connection_overflow = \"fight\"",
            "client.user_connection_overflow = \"fight\": none of \"refuse\", \"replace\"",
        ),
        (
            "[client.subscribe_to_user_personal_channel]\nsingle_connection = true",
            "client.subscribe_to_user_personal_channel.single_connection = true: not an option here \
             (set client.user_connection_limit = 1 with client.user_connection_overflow = \"replace\")",
        ),
        (
            "[client]\nuser_connect_rate = \"often\"",
            "client.user_connect_rate = \"often\": not a rate (try \"20/s\" or \"20/s burst 100\")",
        ),
        (
            "[client]\nbytes_rate = \"0.5/s\"",
            "client.bytes_rate = \"0.5/s\": not a rate of bytes (try \"64KiB/s burst 1MiB\")",
        ),
        (
            "[client]\nbytes_rate = \"64KiB/s\"",
            "client.bytes_rate = \"64KiB/s\": a message may have 262144 bytes (four times client.message_size_limit), \
             for which it has no room (try \"64KiB/s burst 262144\")",
        ),
        (
            "[client]\nbytes_rate = \"64KiB/s burst 256KiB\"\n[[socketio.namespaces]]\nname = \"/\"",
            "client.bytes_rate = \"64KiB/s burst 256KiB\": a message may have 1000000 bytes (socketio.max_payload), \
             for which it has no room (try \"64KiB/s burst 1000000\")",
        ),
    ] {
        assert_eq!(refused(Settings::from_toml(toml)), expected);
    }
}
