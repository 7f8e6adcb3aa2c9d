//! The connection on which the bridge publishes, while there is one.

use std::sync::Arc;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError};
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Publisher(Mutex<Option<Line>>);

/// One connection. What still fails on it once another has taken its place says nothing about that one.
#[derive(Clone)]
struct Line {
    connection: MultiplexedConnection,
    broken: Arc<Notify>,
}

impl Publisher {
    pub(super) fn open(&self, connection: MultiplexedConnection) {
        *self.0.lock() = Some(Line { connection, broken: Arc::default() });
    }

    pub(super) fn close(&self) {
        *self.0.lock() = None;
    }

    /// Publishes what was gathered, in one round trip; `None` while there is no connection.
    pub(super) async fn publish(&self, messages: &Pipeline) -> Option<Result<(), RedisError>> {
        let Line { mut connection, broken } = self.0.lock().clone()?;
        let published = messages.exec_async(&mut connection).await;
        if let Err(error) = &published
            && error.is_io_error()
        {
            broken.notify_one();
        }
        Some(published)
    }

    /// Ends once something has failed on the connection that there is now.
    pub(super) async fn broken(&self) {
        let line = self.0.lock().clone();
        match line {
            Some(line) => line.broken.notified().await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::{Duration, timeout};

    use super::*;

    /// A connection, and the server's end of it.
    async fn connected() -> (MultiplexedConnection, DuplexStream) {
        let (client, server) = duplex(4096);
        // Nothing is said before the first message.
        let info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new();
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, client, config).await.unwrap();
        tokio::spawn(driver);
        (connection, server)
    }

    #[tokio::test]
    async fn what_failed_on_the_last_connection_ended_the_next_one_as_well() {
        let publisher = Publisher::default();
        let mut message = Pipeline::new();
        message.cmd("PUBLISH").arg("channel").arg("message").ignore();
        let (connection, server) = connected().await;
        publisher.open(connection);
        drop(server);
        for _ in 0..3 {
            assert!(publisher.publish(&message).await.is_some_and(|published| published.is_err()));
        }
        timeout(Duration::from_secs(10), publisher.broken()).await.expect("it is known to be broken");
        // Nobody waits any more, and something else fails.
        assert!(publisher.publish(&message).await.is_some_and(|published| published.is_err()));
        publisher.close();
        assert!(publisher.publish(&message).await.is_none());
        let (connection, _server) = connected().await;
        publisher.open(connection);
        assert_eq!(publisher.broken().now_or_never(), None, "nothing has failed on this one");
    }
}
