//! Settings of a node that joins the servers of a test.

use std::sync::Arc;
use std::time::Duration;

use midplane::backplane::FeedSender;
use midplane::backplane::nats::{self, ConnectError};
use midplane::settings::{Namespaces, Nats, NatsAuth, NatsTls, Storage};
use midplane::tasks::Tasks;
use midplane::telemetry::Telemetry;
use url::Url;

/// The defaults, with everything that takes long taken short.
pub fn nats(servers: impl IntoIterator<Item = Url>, replicas: usize) -> Nats {
    Nats {
        node: "tested".to_owned(),
        servers: servers.into_iter().collect(),
        prefix: "midplane".to_owned(),
        replicas,
        storage: Storage::File,
        provision: true,
        shrink_streams: false,
        auth: NatsAuth::None,
        tls: NatsTls::default(),
        ping_interval: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(5),
        publish_timeout: Duration::from_secs(20),
        read_timeout: Duration::from_millis(400),
        duplicate_window: Duration::from_secs(120),
        max_bytes: None,
        inbox_prefixes: Vec::new(),
        record_users: false,
    }
}

/// Joins, with metrics that nobody reads.
pub async fn connect(
    settings: &Nats,
    namespaces: &Namespaces,
    feed: FeedSender,
) -> Result<Arc<nats::Nats>, ConnectError> {
    nats::Nats::connect(settings, namespaces, feed, &Telemetry::new(namespaces), &Tasks::new(|_| {})).await
}
