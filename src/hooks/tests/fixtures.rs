//! Hooks with one endpoint, and somebody who asks.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::backplane::embedded::Embedded;
use crate::backplane::{Backplane, feed};
use crate::hooks::{Caller, Hooks};
use crate::protocol::centrifuge::Encoding;
use crate::settings::{self, Hook, HookEndpoint, Settings};
use crate::telemetry::Telemetry;

/// Long enough for a busy machine.
pub const AMPLE: Duration = Duration::from_secs(30);

pub const ADA: Caller<'static> = Caller {
    client: "c-1",
    user: "ada",
    transport: "websocket",
    encoding: Encoding::Json,
    namespace: "",
    headers: &[],
    meta: None,
};

pub fn hook(endpoint: HookEndpoint, timeout: Duration) -> Hook {
    Hook { endpoint, timeout, http_headers: Vec::new(), static_headers: HeaderMap::new() }
}

pub fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    headers.collect()
}

/// The same hook for everything.
pub fn everywhere(hook: &Hook) -> settings::Hooks {
    let hook = || Some(hook.clone());
    settings::Hooks {
        connect: hook(),
        refresh: hook(),
        subscribe: hook(),
        publish: hook(),
        sub_refresh: hook(),
        rpc: settings::Rpc { enabled: true, timeout: AMPLE },
    }
}

pub fn telemetry() -> Arc<Telemetry> {
    Telemetry::new(&Settings::from_toml("").unwrap().channel.namespaces)
}

/// Hooks on a node that stands alone.
pub fn alone(settings: &settings::Hooks) -> Hooks {
    with(settings, lonely())
}

pub fn with(settings: &settings::Hooks, backplane: Arc<dyn Backplane>) -> Hooks {
    Hooks::new(settings, backplane, telemetry()).unwrap()
}

pub fn lonely() -> Arc<dyn Backplane> {
    Embedded::new(&Settings::from_toml("").unwrap().channel.namespaces, 1 << 20, feed::open(1).0)
}
