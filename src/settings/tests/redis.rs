use secrecy::ExposeSecret;

use super::*;
use crate::settings::{Adapter, SubscriptionMode};

const NAMESPACES: &str = "[[channel.namespaces]]\nname = \"chat\"\n[[socketio.namespaces]]\nname = \"/\"\nrooms = \"chat\"\n\
    [[socketio.namespaces]]\nname = \"/admin\"\n";

#[test]
fn a_bridge_is_there_where_servers_are_set_and_namespaces_declared() {
    assert!(Settings::from_toml(NAMESPACES).expect("valid").redis.is_none(), "off by default");
    let text = format!("redis.servers = [\"redis://me:p%40ss@a:7000\", \"rediss://b\"]\n{NAMESPACES}");
    let settings = Settings::from_toml(&text).expect("valid");
    let redis = settings.redis.expect("a bridge");
    assert_eq!(redis.server_names(), "a:7000, b:6379");
    assert!(redis.servers.iter().all(|url| url.password().is_none() && url.username().is_empty()));
    assert_eq!(redis.username.as_deref(), Some("me"));
    assert_eq!(redis.password.expect("a password").expose_secret(), "p@ss");
    assert_eq!(redis.namespaces.iter().map(|name| &**name).collect::<Vec<_>>(), ["/", "/admin"]);
    assert_eq!(redis.key_prefix, "socket.io");
}

#[test]
fn some_namespaces_can_be_bridged_and_the_short_names_set_it() {
    let text = format!("redis.namespaces = [\"/admin\"]\n{NAMESPACES}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let variables = environment(&[("REDIS_URL", "redis://a,redis://b"), ("REDIS_KEY_PREFIX", "app")]);
    let redis = Settings::load(Some(file.path()), variables).expect("valid").redis.expect("a bridge");
    assert_eq!((redis.servers.len(), &*redis.key_prefix), (2, "app"));
    assert_eq!(redis.namespaces.iter().map(|name| &**name).collect::<Vec<_>>(), ["/admin"]);
}

#[test]
fn the_sharded_adapter_is_spoken_to_in_the_mode_of_its_servers() {
    use SubscriptionMode::{Dynamic, DynamicPrivate, Static};
    let adapter = |more: &str| {
        let text = format!("[redis]\nservers = [\"redis://a\"]\n{more}\n{NAMESPACES}");
        Settings::from_toml(&text).expect("valid").redis.expect("a bridge").adapter
    };
    assert_eq!(adapter(""), Adapter::Classic);
    assert_eq!(adapter("adapter = \"sharded\""), Adapter::Sharded(Dynamic), "as the adapter has it");
    for (word, mode) in [("static", Static), ("dynamic", Dynamic), ("dynamic-private", DynamicPrivate)] {
        let text = format!("adapter = \"sharded\"\nsubscription_mode = \"{word}\"");
        assert_eq!(adapter(&text), Adapter::Sharded(mode));
    }
}

#[test]
fn what_is_wrong_with_a_bridge_names_its_key() {
    let with_secret = format!("[client.token]\nhmac_secret_key = \"{SECRET}\"\n");
    for (toml, expected) in [
        ("[redis]\nadapter = \"streams\"", "redis.adapter = \"streams\": none of \"classic\", \"sharded\""),
        (
            "[redis]\nservers = [\"nats://a:1\"]",
            "redis.servers = [\"nats://a:1\"]: not the address of a Redis server (try \"redis://127.0.0.1:6379\")",
        ),
        ("[redis]\nusername = \"me\"", "redis.username = \"me\": set without redis.password"),
        (
            "[redis]\nservers = [\"redis://:pw@a:1\"]\npassword = \"pw\"",
            "redis.password = \"***\": a second one, beside that in redis.servers",
        ),
        ("[redis]\nnamespaces = [\"/x\"]", "redis.namespaces = [\"/x\"]: \"/x\" is not one of socketio.namespaces"),
        (
            "[redis]\nkey_prefix = \"a\\nb\"",
            "redis.key_prefix = \"a\\nb\": not the beginning of a channel's name (try \"socket.io\")",
        ),
    ] {
        assert_eq!(refused(Settings::from_toml(&format!("{toml}\n{with_secret}"))), expected, "{toml}");
    }
}

#[test]
fn a_namespace_with_recovery_cannot_be_bridged() {
    let text = "redis.servers = [\"redis://a\"]\nclient.token.hmac_secret_key = \"0123456789abcdef0123456789abcdef\"\n\
        [[channel.namespaces]]\nname = \"chat\"\nhistory_size = 10\nhistory_ttl = \"5m\"\n\
        [[socketio.namespaces]]\nname = \"/\"\nrooms = \"chat\"\nrecovery = \"2m\"\n";
    let expected = "redis.namespaces = []: \"/\" has recovery, and cannot be bridged (name the others)";
    assert_eq!(refused(Settings::from_toml(text)), expected);
}
