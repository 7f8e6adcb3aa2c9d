//! Settings of a node that joins the servers of a test.

use std::time::Duration;

use midplane::settings::{Nats, NatsAuth, NatsTls, Storage};
use url::Url;

/// The defaults, with everything that takes long taken short.
pub fn nats(servers: impl IntoIterator<Item = Url>, replicas: usize) -> Nats {
    Nats {
        servers: servers.into_iter().collect(),
        prefix: "midplane".to_owned(),
        replicas,
        storage: Storage::File,
        provision: true,
        auth: NatsAuth::None,
        tls: NatsTls::default(),
        ping_interval: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(5),
        publish_timeout: Duration::from_secs(20),
        read_timeout: Duration::from_millis(400),
        duplicate_window: Duration::from_secs(120),
        max_bytes: None,
    }
}
