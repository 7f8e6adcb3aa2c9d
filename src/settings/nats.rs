//! The backplane of a cluster.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

#[derive(Debug, Clone)]
pub struct Nats {
    /// The node's name, by which the server's monitoring tells whose connections are whose.
    pub node: String,
    /// Without user and password: those are in `auth`.
    pub servers: Vec<Url>,
    /// In front of every subject: `midplane`.
    pub prefix: String,
    /// Copies of each stream, 1 to 5.
    pub replicas: usize,
    pub storage: Storage,
    /// Create and update streams and buckets; otherwise they must be there.
    pub provision: bool,
    /// Lower what streams keep to what these settings say, once, at the start.
    pub shrink_streams: bool,
    pub auth: NatsAuth,
    pub tls: NatsTls,
    pub ping_interval: Duration,
    pub connect_timeout: Duration,
    /// How long a publication is retried before its outcome is called unknown.
    pub publish_timeout: Duration,
    /// How long one direct get may take before the leader is asked.
    pub read_timeout: Duration,
    /// How long a stream remembers message ids.
    pub duplicate_window: Duration,
    /// Bytes of one stream; `None` is without limit.
    pub max_bytes: Option<u64>,
    /// Beside `_INBOX`: below these answers to whoever asks nodes may go, each without the dot at its end.
    pub inbox_prefixes: Vec<String>,
    /// Keep the records of presence, also where no namespace records any: connections of users are counted by them.
    pub record_users: bool,
}

impl Nats {
    /// What the server's monitoring calls a connection of this node.
    #[must_use]
    pub fn connection_name(&self, purpose: &str) -> String {
        format!("midplane {} {purpose}", self.node)
    }

    /// The servers for people: hosts and ports.
    #[must_use]
    pub fn server_names(&self) -> String {
        let name = |url: &Url| format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(4222));
        self.servers.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    File,
    Memory,
}

#[derive(Debug, Clone, Default)]
pub enum NatsAuth {
    #[default]
    None,
    UserPassword {
        user: String,
        password: SecretString,
    },
    Token(SecretString),
    /// An nkey seed.
    NKey(SecretString),
    /// A `.creds` file.
    Credentials(PathBuf),
}

#[derive(Debug, Clone, Default)]
pub struct NatsTls {
    /// TLS even where the URL does not say `tls://`.
    pub required: bool,
    /// TLS before the server's INFO (`handshake_first`).
    pub first: bool,
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}
