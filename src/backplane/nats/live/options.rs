//! What a live connection needs to know.

use std::time::Duration;

use url::Url;

use crate::settings::nats::{Nats, NatsAuth, NatsTls};

/// Where to connect and how.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// `nats://` or `tls://`, perhaps with a user and password, or a token, in them.
    pub servers: Vec<Url>,
    pub auth: NatsAuth,
    pub tls: NatsTls,
    /// Time between two pings; a server that leaves two unanswered is given up.
    pub ping_interval: Duration,
    /// For one server, from the first packet to the answered CONNECT; also how long a subscription may take.
    pub connect_timeout: Duration,
    /// What the server's monitoring calls this connection.
    pub name: String,
}

impl LiveOptions {
    #[must_use]
    pub fn new(settings: &Nats, purpose: &str) -> Self {
        Self {
            servers: settings.servers.clone(),
            auth: settings.auth.clone(),
            tls: settings.tls.clone(),
            ping_interval: settings.ping_interval,
            connect_timeout: settings.connect_timeout,
            name: settings.connection_name(purpose),
        }
    }
}
