//! Values as people may see them: like TOML, without secrets.

use config::{Value, ValueKind};

/// What stands in the place of a secret.
pub(super) const MASK: &str = "\"***\"";

/// Options that hold secrets. Their values are never shown, and each can be read from a file (`…_FILE`).
pub(super) const SECRETS: [&str; 12] = [
    "client.token.hmac_secret_key",
    "client.token.hmac_previous_secret_key",
    "client.subscription_token.hmac_secret_key",
    "client.subscription_token.hmac_previous_secret_key",
    "console.token.hmac_secret_key",
    "console.token.hmac_previous_secret_key",
    "http_api.key",
    "http.metrics_token",
    "nats.password",
    "nats.token",
    "nats.nkey",
    "redis.password",
];

/// `value` of the option `key`, fit for a terminal: secrets and passwords in addresses are masked.
pub(super) fn shown(key: &str, value: &Value) -> String {
    let empty = matches!(&value.kind, ValueKind::String(text) if text.is_empty());
    let secret = SECRETS.contains(&key) || key.contains(".static_headers.");
    if secret && !empty { MASK.to_owned() } else { written(key, &value.kind) }
}

fn written(key: &str, kind: &ValueKind) -> String {
    match kind {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::Boolean(value) => value.to_string(),
        ValueKind::I64(value) => value.to_string(),
        ValueKind::I128(value) => value.to_string(),
        ValueKind::U64(value) => value.to_string(),
        ValueKind::U128(value) => value.to_string(),
        ValueKind::Float(value) => format!("{value:?}"),
        ValueKind::String(text) => format!("{:?}", without_password(text)),
        ValueKind::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| shown(key, value)).collect();
            format!("[{}]", values.join(", "))
        }
        ValueKind::Table(table) => {
            let mut entries: Vec<_> = table
                .iter()
                .map(|(name, value)| format!("{name} = {}", shown(&format!("{key}.{name}"), value)))
                .collect();
            entries.sort();
            if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
        }
    }
}

/// Masks what stands between `//` and `@`, and behind `?`, in each address of a comma-separated list.
fn without_password(text: &str) -> String {
    let masked = text.split(',').map(|address| match (address.find("://"), address.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => format!("{}***{}", &address[..scheme + 3], &address[at..]),
        _ => address.to_owned(),
    });
    let masked = masked.map(|address| match address.split_once('?') {
        Some((before, _)) if before.contains("://") => format!("{before}?***"),
        _ => address,
    });
    masked.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::new(None, value)
    }

    #[test]
    fn secrets_are_masked_and_everything_else_is_not() {
        for (key, value, expected) in [
            ("http_api.key", text("hunter2"), MASK),
            ("http_api.key", text(""), "\"\""),
            ("nats.servers", Value::new(None, vec!["nats://me:pw@a:4222"]), "[\"nats://***@a:4222\"]"),
            ("nats.servers", text("nats://t0k3n@a:1,nats://b:2"), "\"nats://***@a:1,nats://b:2\""),
            ("hooks.connect.static_headers.X", text("s"), MASK),
            ("hooks.connect.endpoint", text("https://me:pw@b/c?key=s"), "\"https://***@b/c?***\""),
            ("node.name", text("gateway-1"), "\"gateway-1\""),
        ] {
            assert_eq!(shown(key, &value), expected, "{key}");
        }
    }

    /// Whatever is new in the defaults and called like a secret is one.
    #[test]
    fn every_option_that_is_called_like_a_secret_is_one() {
        let defaults: toml::Table = crate::settings::DEFAULTS.parse().unwrap();
        let mut keys = Vec::new();
        names(&toml::Value::Table(defaults), "", &mut keys);
        let called =
            |key: &&String| key.ends_with("secret_key") || key.ends_with(".password") || key.ends_with("_token");
        let missing: Vec<_> = keys.iter().filter(called).filter(|key| !SECRETS.contains(&key.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(SECRETS.iter().all(|secret| keys.iter().any(|key| key == secret)), "of a name that no option has");
    }

    /// The paths of all texts.
    fn names(value: &toml::Value, at: &str, keys: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    names(value, &format!("{at}.{name}"), keys);
                }
            }
            toml::Value::String(_) => keys.push(at.trim_start_matches('.').to_owned()),
            _ => {}
        }
    }
}
