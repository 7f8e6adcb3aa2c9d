//! What settings mean once they are resolved.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use secrecy::SecretString;
use url::Url;

use super::channels::Channels;
use super::nats::Nats;
use super::redis::Redis;
use super::socketio::SocketIo;
use crate::protocol::websocket::Deflate;

/// Everything a node needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub node: Node,
    pub http: Http,
    pub client: Client,
    pub transports: Transports,
    pub socketio: SocketIo,
    pub channel: Channels,
    pub http_api: HttpApi,
    pub console: Console,
    pub hooks: Hooks,
    pub embedded: Embedded,
    pub nats: Option<Nats>,
    pub redis: Option<Redis>,
    pub cluster: Cluster,
    pub scaling: Scaling,
    pub canary: Canary,
    pub log: Log,
    /// No authentication configured, loopback only: anonymous clients may do everything, the demo page is served.
    pub development: bool,
    /// What to tell whoever starts the node: what has no effect, or most likely is not meant.
    pub notes: Vec<String>,
    /// The same for the same settings, however the secrets among them are; tells nothing of what they are.
    pub fingerprint: String,
}

#[derive(Debug, Clone)]
pub struct Node {
    /// Unique in the cluster (`SERVER_ID`); generated when not set.
    pub name: String,
    /// How long a stopping node may take to let its clients and publications go.
    pub shutdown_timeout: Duration,
    /// Clients per second that each other node can take while this one drains.
    pub drain_rate: usize,
    /// How long nothing may move before the process ends itself; for ever without it.
    pub stall_timeout: Option<Duration>,
}

/// How nodes watch each other.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub heartbeat_interval: Duration,
    /// Within this a node that is dead is noticed. At least three heartbeats.
    pub failure_detection_timeout: Duration,
    /// What others are told of where this node is; the address that it is bound to when not set.
    pub address: Option<String>,
}

/// How a node finds out whether what is published is delivered.
#[derive(Debug, Clone)]
pub struct Canary {
    pub enabled: bool,
    pub interval: Duration,
    /// How long what the store acknowledged may not come back before the node is not ready.
    pub fail_after: Duration,
}

/// When the cluster should be larger or smaller, and who is told what somebody wants.
#[derive(Debug, Clone)]
pub struct Scaling {
    /// Parts of all connections and of all processors, 0 to 1, beyond which there should be more nodes.
    pub up_connections: f64,
    pub up_cpu: f64,
    /// The part of those thresholds that one node fewer may reach, for that it should go.
    pub down_below: f64,
    pub up_after: Duration,
    pub down_after: Duration,
    pub min_nodes: usize,
    pub max_nodes: usize,
    /// Gets every wish by HTTP POST.
    pub webhook: Option<Url>,
}

#[derive(Debug, Clone)]
pub struct Http {
    pub bind: SocketAddr,
    /// Where operators and backends are served instead of at `bind`.
    pub internal_bind: Option<SocketAddr>,
    /// What whoever asks for metrics must show.
    pub metrics_token: Option<SecretString>,
    /// Connections of clients at one time; `None` is without limit. Beyond it handshakes are answered 503.
    pub max_connections: Option<usize>,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a client may read nothing of an answer.
    pub write_timeout: Duration,
    /// Bytes in a request body of the server API.
    pub body_limit: usize,
    /// Proxies whose `X-Forwarded-For` is believed, as networks (`10.0.0.0/8`).
    pub trusted_proxies: Vec<IpNet>,
    /// Handshakes per second and address, with their burst; `None` is without limit.
    pub handshake_rate: Option<Rate>,
    /// Serve the demo page at `/`.
    pub demo: bool,
}

/// A network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNet {
    pub address: std::net::IpAddr,
    pub prefix: u8,
}

/// A token bucket: `per_second` on average, `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    pub burst: u32,
}

impl Rate {
    /// The time in which one is earned; never zero.
    #[must_use]
    pub fn period(self) -> Duration {
        let period = Duration::try_from_secs_f64(1.0 / self.per_second).unwrap_or(Duration::MAX);
        period.max(Duration::from_nanos(1))
    }

    /// How many at once, one at least.
    #[must_use]
    pub fn at_once(self) -> NonZeroU32 {
        NonZeroU32::new(self.burst).unwrap_or(NonZeroU32::MIN)
    }
}

/// Messages up to so many times the limit of a publication are read: clients that come back batch their subscribes, and
/// what is too large can be answered with an error.
const READABLE: usize = 4;

#[derive(Debug, Clone)]
pub struct Client {
    /// Which `Origin`s browsers may come from (`FRONTEND_URL` and `client.allowed_origins`).
    pub allowed_origins: Vec<OriginPattern>,
    pub allow_anonymous_connect_without_token: bool,
    pub disallow_anonymous_connection_tokens: bool,
    /// Connection tokens; `None` when no key is configured.
    pub token: Option<TokenKeys>,
    /// Subscription tokens; those of `token` when `None`.
    pub subscription_token: Option<TokenKeys>,
    pub ping_interval: Duration,
    /// How long a pong may take; `None` when pongs are not asked for.
    pub pong_timeout: Option<Duration>,
    /// How long a socket may stay without a connect command.
    pub stale_close_delay: Duration,
    /// How long an expired connection may take to refresh.
    pub expired_close_delay: Duration,
    /// How long an expired subscription may take to refresh.
    pub expired_sub_close_delay: Duration,
    /// Subscriptions of one connection.
    pub channel_limit: usize,
    /// Bytes that may wait for one slow reader.
    pub queue_max_size: usize,
    /// Bytes of one inbound message.
    pub message_size_limit: usize,
    /// Publications per second and connection; `None` is without limit.
    pub publish_rate: Option<Rate>,
    /// Subscribes per second and connection; `None` is without limit.
    pub subscribe_rate: Option<Rate>,
    /// Commands of every kind per second and connection; `None` is without limit.
    pub command_rate: Option<Rate>,
    /// Bytes of messages per second and connection; `None` is without limit.
    pub bytes_rate: Option<Rate>,
    /// Clients that connect at one time.
    pub connects: Bounds,
    /// Recoveries that read history at one time.
    pub recoveries: Bounds,
    /// Connections of one user on all nodes; `None` is without limit.
    pub user_connection_limit: Option<ConnectionLimit>,
    /// Connects per second and user, whichever connection; `None` is without limit.
    pub user_connect_rate: Option<Rate>,
    /// Publications of one user at this node.
    pub user_publish_rate: Option<Rate>,
    /// All commands of one user at this node, but for connects and refreshes.
    pub user_command_rate: Option<Rate>,
    /// Put the server's time into the connect result.
    pub connect_include_server_time: bool,
    /// Publications in one history reply or recovery; also caps `limit: -1`.
    pub history_max_publication_limit: usize,
    pub recovery_max_publication_limit: usize,
    /// Subscribe every user to `<namespace>:#<user>`; the namespace's name.
    pub user_personal_channel: Option<String>,
}

impl Client {
    /// Bytes of the largest message that is read at all.
    #[must_use]
    pub const fn largest_message(&self) -> usize {
        self.message_size_limit.saturating_mul(READABLE)
    }
}

/// How much of something goes on at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub concurrency: usize,
    /// How many may wait for it.
    pub queue: usize,
    /// How long.
    pub wait: Duration,
}

/// How many connections one user may have, on all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimit {
    pub most: NonZeroUsize,
    pub overflow: ConnectionOverflow,
}

/// Who gives way where a user has too many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionOverflow {
    /// Whoever comes.
    Refuse,
    /// The oldest.
    Replace,
}

/// How clients connect.
#[derive(Debug, Clone)]
pub struct Transports {
    /// How WebSockets compress their messages; `None` where they do not.
    pub websocket_deflate: Option<Deflate>,
    pub http_stream: Transport,
    pub sse: Transport,
    pub uni_http_stream: Transport,
    pub uni_sse: Transport,
    pub uni_websocket: Transport,
    /// Bytes of one post of a client on a stream.
    pub emulation_body_limit: usize,
    /// Posts per second and address; `None` is without limit.
    pub emulation_rate: Option<Rate>,
}

/// One of those beside the WebSocket.
#[derive(Debug, Clone, Copy)]
pub struct Transport {
    pub enabled: bool,
    /// Bytes of the request, or of the message, with which a client connects.
    pub request_limit: usize,
}

/// An allowed origin: scheme, host and port exactly, or with `*` in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern(pub String);

/// How tokens of one kind are verified.
#[derive(Debug, Clone, Default)]
pub struct TokenKeys {
    pub hmac_secret: Option<SecretString>,
    /// Accepted beside `hmac_secret` while keys are being rotated.
    pub hmac_previous_secret: Option<SecretString>,
    /// PEM of an RSA public key.
    pub rsa_public_key: Option<String>,
    /// PEM of an EC public key (P-256 or P-384).
    pub ecdsa_public_key: Option<String>,
    /// PEM of an Ed25519 public key.
    pub eddsa_public_key: Option<String>,
    pub jwks: Option<Jwks>,
    pub audience: Option<String>,
    pub issuer: Option<String>,
    pub leeway: Duration,
    /// The claim that holds the user's id, `sub` unless set.
    pub user_id_claim: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Jwks {
    pub url: Url,
    /// How long fetched keys are used before they are fetched again.
    pub refresh_interval: Duration,
}

#[derive(Debug, Clone)]
pub struct HttpApi {
    pub enabled: bool,
    pub key: Option<SecretString>,
    /// No key asked for.
    pub insecure: bool,
    /// The key is asked for also by what only tells how the cluster is.
    pub guard_cluster: bool,
    /// Errors as HTTP statuses in place of 200 (`http_api.error_mode = "transport"`).
    pub transport_errors: bool,
    /// Calls per second and address; `None` is without limit.
    pub rate: Option<Rate>,
}

/// The page for operators.
#[derive(Debug, Clone)]
pub struct Console {
    /// Only beside the server API, which answers what it asks.
    pub enabled: bool,
    /// Operator tokens; `None` when no key is configured. Boxed: settings travel in many futures.
    pub token: Option<Box<TokenKeys>>,
}

/// Who is asked before something is allowed: by NATS request or HTTP.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    pub connect: Option<Hook>,
    pub refresh: Option<Hook>,
    pub subscribe: Option<Hook>,
    pub publish: Option<Hook>,
    pub sub_refresh: Option<Hook>,
    pub rpc: Rpc,
}

#[derive(Debug, Clone)]
pub struct Hook {
    pub endpoint: HookEndpoint,
    pub timeout: Duration,
    /// Names of the handshake's HTTP headers that are passed on.
    pub http_headers: Vec<HeaderName>,
    /// Sent with every call.
    pub static_headers: HeaderMap,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookEndpoint {
    Http(Url),
    /// A NATS subject below the prefix: `hooks.connect`.
    Nats(String),
}

/// Where clients' `rpc` calls go.
#[derive(Debug, Clone)]
pub struct Rpc {
    /// The NATS subject is `<prefix>.rpc.<method>`.
    pub enabled: bool,
    pub timeout: Duration,
}

impl Default for Rpc {
    fn default() -> Self {
        Self { enabled: true, timeout: Duration::from_secs(5) }
    }
}

/// The backplane of a node without NATS.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// Bytes of one namespace's history.
    pub max_bytes: usize,
}

#[derive(Debug, Clone)]
pub struct Log {
    /// A filter as of `RUST_LOG`: `info`, `midplane=debug`.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}
