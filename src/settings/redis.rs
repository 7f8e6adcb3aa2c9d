//! The bridge to servers of Socket.IO behind Redis, as it is configured.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

#[derive(Debug, Clone)]
pub struct Redis {
    /// Servers, of which any will do, or sentinels where a master is named. Without user and password.
    pub servers: Vec<Url>,
    /// What sentinels call the master that is wanted.
    pub sentinel_master: Option<String>,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    pub tls: RedisTls,
    pub adapter: Adapter,
    /// In front of every channel: the option `key` of the classic adapter, `channelPrefix` of the sharded one.
    pub key_prefix: String,
    /// Those of Socket.IO that are bridged.
    pub namespaces: Vec<Arc<str>>,
    /// How long connecting, and every answer, may take.
    pub timeout: Duration,
}

impl Redis {
    /// The servers for people: hosts and ports.
    #[must_use]
    pub fn server_names(&self) -> String {
        let name = |url: &Url| format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(6379));
        self.servers.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// By what the servers behind Redis are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// `createAdapter` of `@socket.io/redis-adapter`, and `@socket.io/redis-emitter`.
    Classic,
    /// `createShardedAdapter`.
    Sharded(SubscriptionMode),
}

/// Which rooms have a channel of their own there: the option `subscriptionMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionMode {
    Static,
    /// All but those that look like the id of a socket in Node.
    Dynamic,
    DynamicPrivate,
}

#[derive(Debug, Clone, Default)]
pub struct RedisTls {
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}
