//! From an address to a connection that the server has accepted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::LiveState;
use super::auth::{AuthError, Proof, described};
use super::info::ServerInfo;
use super::options::LiveOptions;
use super::parser::Op;
use super::servers::{Server, Servers};
use super::tls::{TlsError, secure};
use super::wire::{Duplex, ReadError, Wire};
use crate::causes::causes;
use crate::settings::nats::NatsAuth;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no NATS server is configured")]
    NoServers,
    #[error("NATS address {url}: {why}")]
    Address { url: String, why: &'static str },
    #[error("{server} is unreachable")]
    Unreachable {
        server: String,
        #[source]
        source: io::Error,
    },
    #[error("{server} did not complete the handshake within {after:?}")]
    Timeout { server: String, after: Duration },
    #[error("{server} offers no secure connection")]
    Tls {
        server: String,
        #[source]
        source: TlsError,
    },
    #[error("no credentials for {server}")]
    Auth {
        server: String,
        #[source]
        source: AuthError,
    },
    /// `why` is the server's own word: `Authorization Violation`.
    #[error("{server} refused {presented}: {why}")]
    Refused { server: String, presented: String, why: String },
    #[error("{server} does not speak NATS as it should: {why}")]
    Protocol { server: String, why: String },
    /// Several servers, none of which would do.
    #[error("no NATS server would do: {}", .0.iter().map(|error| causes(error)).collect::<Vec<_>>().join("; "))]
    None(Vec<ConnectError>),
}

/// A connection that the server has accepted.
pub(super) struct Link {
    pub(super) wire: Wire<Box<dyn Duplex>>,
    pub(super) info: ServerInfo,
    pub(super) server: Server,
}

impl Link {
    pub(super) fn state(&self) -> LiveState {
        LiveState::Connected { server: self.server.to_string(), info: Arc::new(self.info.clone()) }
    }
}

#[derive(Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'a str,
    lang: &'static str,
    version: &'static str,
    /// 1: the server may send INFO at any time.
    protocol: u8,
    echo: bool,
    headers: bool,
    no_responders: bool,
    #[serde(flatten)]
    proof: Proof,
}

pub(super) struct Connector {
    pub(super) options: LiveOptions,
    pub(super) servers: Servers,
}

impl Connector {
    pub(super) fn new(options: LiveOptions) -> Result<Self, ConnectError> {
        let servers = Servers::new(&options.servers)?;
        Ok(Self { options, servers })
    }

    /// Tries every server once.
    pub(super) async fn connect_any(&mut self) -> Result<Link, ConnectError> {
        let mut failures = Vec::new();
        for _ in 0..self.servers.len() {
            match self.connect_next().await {
                Ok(link) => return Ok(link),
                Err(failure) => failures.push(failure),
            }
        }
        match failures.pop() {
            Some(only) if failures.is_empty() => Err(only),
            last => Err(ConnectError::None(failures.into_iter().chain(last).collect())),
        }
    }

    /// Tries the server whose turn it is.
    pub(super) async fn connect_next(&mut self) -> Result<Link, ConnectError> {
        let server = self.servers.next();
        let after = self.options.connect_timeout;
        let outcome = match timeout(after, self.connect(&server)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::Timeout { server: server.to_string(), after }),
        };
        match &outcome {
            Ok(link) => self.servers.learn(&link.info, &server),
            Err(_) => self.servers.failed(&server),
        }
        outcome
    }

    async fn connect(&self, server: &Server) -> Result<Link, ConnectError> {
        let unreachable = |source| ConnectError::Unreachable { server: server.to_string(), source };
        let socket = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(unreachable)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        let (mut wire, mut info, encrypted) = self.open(socket, server).await?;

        let auth = match &self.options.auth {
            NatsAuth::None => server.identity.as_ref().unwrap_or(&NatsAuth::None),
            configured => configured,
        };
        let proof = Proof::give(auth, info.nonce.as_deref())
            .map_err(|source| ConnectError::Auth { server: server.to_string(), source })?;
        let connect = Connect {
            verbose: false,
            pedantic: false,
            tls_required: encrypted,
            name: &self.options.name,
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            echo: true,
            headers: true,
            no_responders: true,
            proof,
        };
        let connect = serde_json::to_string(&connect).expect("strings and booleans have a JSON form");
        wire.output.extend_from_slice(format!("CONNECT {connect}\r\nPING\r\n").as_bytes());
        loop {
            match wire.read_op().await.map_err(|error| unread(error, server))? {
                Op::Pong => return Ok(Link { wire, info, server: server.clone() }),
                Op::Ping => wire.output.extend_from_slice(b"PONG\r\n"),
                Op::Info(json) => info = parse_info(&json, server)?,
                Op::Err(why) => {
                    return Err(ConnectError::Refused { server: server.to_string(), presented: described(auth), why });
                }
                Op::Ok | Op::Message(_) => {}
            }
        }
    }

    /// The server's INFO, and TLS before or after it if either side wants it.
    async fn open(
        &self,
        socket: TcpStream,
        server: &Server,
    ) -> Result<(Wire<Box<dyn Duplex>>, ServerInfo, bool), ConnectError> {
        let tls = &self.options.tls;
        let insecure = |source| ConnectError::Tls { server: server.to_string(), source };
        if tls.first {
            let socket = secure(socket, &server.tls_name, tls).await.map_err(insecure)?;
            let mut wire = Wire::new(Box::new(socket) as Box<dyn Duplex>);
            let info = first_info(&mut wire, server).await?;
            return Ok((wire, info, true));
        }
        let mut wire = Wire::new(socket);
        let info = first_info(&mut wire, server).await?;
        let socket =
            wire.into_socket().map_err(|source| ConnectError::Unreachable { server: server.to_string(), source })?;
        let wanted = tls.required || server.tls;
        if wanted && !info.tls_required && !info.tls_available {
            return Err(insecure(TlsError::NotOffered));
        }
        if wanted || info.tls_required {
            let socket = secure(socket, &server.tls_name, tls).await.map_err(insecure)?;
            return Ok((Wire::new(Box::new(socket)), info, true));
        }
        Ok((Wire::new(Box::new(socket)), info, false))
    }
}

async fn first_info<S: Duplex>(wire: &mut Wire<S>, server: &Server) -> Result<ServerInfo, ConnectError> {
    let protocol = |why| ConnectError::Protocol { server: server.to_string(), why };
    match wire.read_op().await.map_err(|error| unread(error, server))? {
        Op::Info(json) => {
            let info = parse_info(&json, server)?;
            if info.headers { Ok(info) } else { Err(protocol("it has no headers".to_owned())) }
        }
        Op::Err(why) => {
            Err(ConnectError::Refused { server: server.to_string(), presented: "the connection".to_owned(), why })
        }
        other => Err(protocol(format!("{other:?} in place of INFO"))),
    }
}

fn unread(error: ReadError, server: &Server) -> ConnectError {
    let server = server.to_string();
    match error {
        ReadError::Socket(source) => ConnectError::Unreachable { server, source },
        ReadError::Malformed(malformed) => ConnectError::Protocol { server, why: malformed.to_string() },
    }
}

fn parse_info(json: &[u8], server: &Server) -> Result<ServerInfo, ConnectError> {
    serde_json::from_slice(json)
        .map_err(|error| ConnectError::Protocol { server: server.to_string(), why: format!("INFO: {error}") })
}
