//! Hooks: who is asked, and whether everybody who wants to ask can.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use config::Value;

use super::super::channels::{Channels, Namespace};
use super::super::model::{Hook, HookEndpoint, Hooks, Rpc};
use super::super::section::{Findings, Section};
use super::super::value::{FromValue, Positive};
use super::refuse_missing;

pub(super) fn read(section: &Section<'_>, clustered: bool, channels: &Channels, findings: &Findings) -> Hooks {
    let hook = |name| hook(&section.section(name), clustered);
    let rpc = section.section("rpc");
    let hooks = Hooks {
        connect: hook("connect"),
        refresh: hook("refresh"),
        subscribe: hook("subscribe"),
        publish: hook("publish"),
        sub_refresh: hook("sub_refresh"),
        rpc: Rpc { enabled: rpc.take("enabled"), timeout: rpc.take::<Positive>("timeout").0 },
    };
    type Wants = fn(&Namespace) -> bool;
    let wanted: [(&str, &Option<Hook>, Wants); 3] = [
        ("subscribe", &hooks.subscribe, |namespace| namespace.subscribe_hook),
        ("publish", &hooks.publish, |namespace| namespace.publish_hook),
        ("sub_refresh", &hooks.sub_refresh, |namespace| namespace.sub_refresh_hook),
    ];
    for (name, hook, wants) in wanted {
        let mut asking: Vec<_> = channels.namespaces.iter().filter(|namespace| wants(namespace)).collect();
        asking.sort_by_key(|namespace| namespace.name.clone());
        if let (None, Some(namespace)) = (hook, asking.first()) {
            let why = format!("and the namespace {:?} has {name}_proxy_enabled = true", &*namespace.name);
            refuse_missing(findings, format!("hooks.{name}.endpoint"), why);
        }
    }
    hooks
}

fn hook(section: &Section<'_>, clustered: bool) -> Option<Hook> {
    let endpoint: Option<HookEndpoint> = section.take("endpoint");
    if matches!(endpoint, Some(HookEndpoint::Nats(_))) && !clustered {
        section.refuse("endpoint", "asks over NATS, but nats.servers is not set");
    }
    let timeout = section.take::<Positive>("timeout").0;
    let http_headers = section.take("http_headers");
    let static_headers = section.take("static_headers");
    endpoint.map(|endpoint| Hook { endpoint, timeout, http_headers, static_headers })
}

impl FromValue for HookEndpoint {
    fn from_value(value: &Value) -> Result<Self, String> {
        let wrong = || "not an endpoint (try \"https://host/path\" or \"nats:hooks.connect\")".to_owned();
        let text = String::from_value(value)?;
        if let Some(subject) = text.strip_prefix("nats:") {
            let token = |token: &str| !token.is_empty() && !token.contains([' ', '*', '>', '/', '\t']);
            return if subject.split('.').all(token) { Ok(Self::Nats(subject.to_owned())) } else { Err(wrong()) };
        }
        match text.parse::<url::Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Self::Http(url)),
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

impl FromValue for HeaderName {
    fn from_value(value: &Value) -> Result<Self, String> {
        let name = String::from_value(value)?;
        name.parse().map_err(|_| format!("{name:?} is not the name of a header (try \"Cookie\")"))
    }
}

/// What is wrong names a header, and never shows its value, which may be a secret.
impl FromValue for HeaderMap {
    fn from_value(value: &Value) -> Result<Self, String> {
        let entries = Vec::<(String, String)>::from_value(value)?;
        let header = |(name, value): &(String, String)| {
            let wrong = || {
                format!(
                    "{name:?} or its value is not valid in a header (letters, digits and \"-\" in the name, one line in the value)"
                )
            };
            name.parse::<HeaderName>().ok().zip(value.parse::<HeaderValue>().ok()).ok_or_else(wrong)
        };
        entries.iter().map(header).collect()
    }
}
