//! Connections to Redis: one that hears, one that publishes.

use std::collections::HashMap;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError,
    TlsCertificates, Value,
};
use secrecy::ExposeSecret;
use tokio::time::{error::Elapsed, timeout};
use url::Url;

use super::ear::{Ear, Hearer};
use crate::settings::{self, Adapter};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{file}")]
    File {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{server}")]
    Redis {
        server: String,
        #[source]
        source: RedisError,
    },
    #[error("{server}: no answer in time")]
    Slow {
        server: String,
        #[source]
        source: Elapsed,
    },
    #[error("no server is set")]
    NoServer,
    #[error("no sentinel knows the master {0:?}")]
    NoMaster(String),
    #[error(
        "redis.adapter = \"sharded\": {0} is of a Redis Cluster, each of whose nodes hears some of the channels only"
    )]
    Cluster(String),
}

/// Reaches the servers of the settings.
pub(super) struct Dialer {
    settings: settings::Redis,
    certificates: TlsCertificates,
}

/// One server, reached.
pub(super) struct Connected {
    pub(super) server: Arc<str>,
    pub(super) line: MultiplexedConnection,
    pub(super) ear: Ear,
}

impl Dialer {
    pub(super) fn new(settings: &settings::Redis) -> Result<Self, DialError> {
        // Both the library and this node could choose: the first choice counts.
        let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
        let read = |file: &std::path::PathBuf| {
            std::fs::read(file).map_err(|source| DialError::File { file: file.display().to_string(), source })
        };
        let settings::RedisTls { ca_file, cert_file, key_file } = &settings.tls;
        let own = cert_file.as_ref().zip(key_file.as_ref());
        let client_tls =
            own.map(|(cert, key)| Ok(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? }));
        let root_cert = ca_file.as_ref().map(read).transpose()?;
        let certificates = TlsCertificates { client_tls: client_tls.transpose()?, root_cert };
        let dialer = Self { settings: settings.clone(), certificates };
        // Certificates that cannot be used are found here.
        for server in &settings.servers {
            dialer.client(server)?;
        }
        Ok(dialer)
    }

    /// Connects to the first server that can be had; what it pushes goes to `hearer`.
    pub(super) async fn dial(&self, hearer: &Arc<Hearer>) -> Result<Connected, DialError> {
        let mut last = None;
        for server in &self.settings.servers {
            let master = match &self.settings.sentinel_master {
                None => Ok(server.clone()),
                Some(master) => self.master(server, master).await,
            };
            let dialled = match master {
                Ok(master) => self.connect(&master, hearer).await,
                Err(error) => Err(error),
            };
            match dialled {
                Ok(connected) => return Ok(connected),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(DialError::NoServer))
    }

    /// The address of the master, as a sentinel knows it.
    async fn master(&self, sentinel: &Url, master: &str) -> Result<Url, DialError> {
        let name = name(sentinel);
        let client = self.client(sentinel)?;
        let asked = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&self.config()).await?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
            question.query_async::<Option<(String, u16)>>(&mut connection).await
        };
        let (host, port) = self.in_time(&name, asked).await?.ok_or_else(|| DialError::NoMaster(master.to_owned()))?;
        let mut server = sentinel.clone();
        // An address of IPv6 stands in brackets there.
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let placed = server.set_host(Some(&host)).is_ok() && server.set_port(Some(port)).is_ok();
        if placed { Ok(server) } else { Err(DialError::NoMaster(master.to_owned())) }
    }

    async fn connect(&self, server: &Url, hearer: &Arc<Hearer>) -> Result<Connected, DialError> {
        let name = name(server);
        let client = self.client(server)?;
        let (line, ear) = match self.settings.adapter {
            Adapter::Classic => self.in_time(&name, self.classic(&client)).await?,
            Adapter::Sharded(_) => {
                let line = self.in_time(&name, self.sharded(&client, hearer)).await?;
                if self.in_time(&name, is_clustered(line.clone())).await? {
                    return Err(DialError::Cluster(name));
                }
                (line.clone(), Ear::Sharded(line))
            }
        };
        Ok(Connected { server: name.into(), line, ear })
    }

    async fn classic(&self, client: &Client) -> Result<(MultiplexedConnection, Ear), RedisError> {
        let line = client.get_multiplexed_async_connection_with_config(&self.config()).await?;
        let (sink, stream) = client.get_async_pubsub().await?.split();
        Ok((line, Ear::Classic { sink, stream }))
    }

    /// One connection on which the bridge is heard and hears.
    async fn sharded(&self, client: &Client, hearer: &Arc<Hearer>) -> Result<MultiplexedConnection, RedisError> {
        let hearer = Arc::clone(hearer);
        let pushed = move |push| {
            hearer.pushed(push);
            Ok::<(), redis::aio::SendError>(())
        };
        client.get_multiplexed_async_connection_with_config(&self.config().set_push_sender(pushed)).await
    }

    async fn in_time<T>(
        &self,
        server: &str,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, DialError> {
        let server = || server.to_owned();
        let done = timeout(self.settings.timeout, work).await;
        let done = done.map_err(|source| DialError::Slow { server: server(), source })?;
        done.map_err(|source| DialError::Redis { server: server(), source })
    }

    fn config(&self) -> AsyncConnectionConfig {
        let timeout = Some(self.settings.timeout);
        AsyncConnectionConfig::new().set_connection_timeout(timeout).set_response_timeout(timeout)
    }

    fn client(&self, server: &Url) -> Result<Client, DialError> {
        let failed = |source| DialError::Redis { server: name(server), source };
        let info = self.info(server).map_err(failed)?;
        if server.scheme() == "rediss" {
            return Client::build_with_tls(info, self.certificates.clone()).map_err(failed);
        }
        Client::open(info).map_err(failed)
    }

    fn info(&self, server: &Url) -> Result<ConnectionInfo, RedisError> {
        let info = server.as_str().into_connection_info()?;
        let mut redis = info.redis_settings().clone();
        if let Some(username) = &self.settings.username {
            redis = redis.set_username(username);
        }
        if let Some(password) = &self.settings.password {
            redis = redis.set_password(password.expose_secret());
        }
        // What is heard of sharded channels comes without being asked for, as RESP3 has it.
        if matches!(self.settings.adapter, Adapter::Sharded(_)) {
            redis = redis.set_protocol(ProtocolVersion::RESP3);
        }
        Ok(info.set_redis_settings(redis))
    }
}

async fn is_clustered(mut connection: MultiplexedConnection) -> Result<bool, RedisError> {
    let server: HashMap<String, Value> = redis::cmd("HELLO").query_async(&mut connection).await?;
    Ok(server.get("mode") == Some(&Value::BulkString(b"cluster".to_vec())))
}

fn name(server: &Url) -> String {
    format!("{}:{}", server.host_str().unwrap_or_default(), server.port().unwrap_or(6379))
}
