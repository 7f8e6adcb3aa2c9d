//! The connection on which the bridge speaks to Redis, while there is one.

use std::sync::Arc;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult};
use tokio::sync::Notify;

/// Subscriptions in one round trip.
const AT_ONCE: usize = 512;

#[derive(Default)]
pub(super) struct Line(Mutex<Option<Current>>);

/// One connection. What still fails on it once another has taken its place says nothing about that one.
#[derive(Clone)]
struct Current {
    connection: MultiplexedConnection,
    broken: Arc<Notify>,
}

impl Line {
    pub(super) fn open(&self, connection: MultiplexedConnection) {
        *self.0.lock() = Some(Current { connection, broken: Arc::default() });
    }

    pub(super) fn close(&self) {
        *self.0.lock() = None;
    }

    /// Publishes what was gathered, in one round trip; `None` while there is no connection.
    pub(super) async fn publish(&self, messages: &Pipeline) -> Option<Result<(), RedisError>> {
        let Current { mut connection, broken } = self.current()?;
        let published = messages.exec_async(&mut connection).await;
        if let Err(error) = &published
            && error.is_io_error()
        {
            broken.notify_one();
        }
        Some(published)
    }

    /// `SSUBSCRIBE` or `SUNSUBSCRIBE`, a channel at a time: each is confirmed alone. Nothing while there is no connection.
    ///
    /// # Errors
    /// As the server says. The connection counts as broken then: what is said in such a channel would be lost unseen.
    pub(super) async fn subscribe(&self, command: &str, channels: &[String]) -> RedisResult<()> {
        let Some(Current { mut connection, broken }) = self.current() else { return Ok(()) };
        for channels in channels.chunks(AT_ONCE) {
            let mut subscriptions = Pipeline::new();
            for channel in channels {
                subscriptions.cmd(command).arg(channel).ignore();
            }
            subscriptions.exec_async(&mut connection).await.inspect_err(|_| broken.notify_one())?;
        }
        Ok(())
    }

    /// Ends once something has failed on the connection that there is now.
    pub(super) async fn broken(&self) {
        match self.current() {
            Some(current) => current.broken.notified().await,
            None => std::future::pending().await,
        }
    }

    fn current(&self) -> Option<Current> {
        self.0.lock().clone()
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
        let line = Line::default();
        let mut message = Pipeline::new();
        message.cmd("PUBLISH").arg("channel").arg("message").ignore();
        let (connection, server) = connected().await;
        line.open(connection);
        drop(server);
        for _ in 0..3 {
            assert!(line.publish(&message).await.is_some_and(|published| published.is_err()));
        }
        timeout(Duration::from_secs(10), line.broken()).await.expect("it is known to be broken");
        // Nobody waits any more, and something else fails.
        assert!(line.publish(&message).await.is_some_and(|published| published.is_err()));
        line.close();
        assert!(line.publish(&message).await.is_none());
        let (connection, _server) = connected().await;
        line.open(connection);
        assert_eq!(line.broken().now_or_never(), None, "nothing has failed on this one");
    }
}
