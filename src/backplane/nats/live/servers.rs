//! Which server to try next.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use rand::Rng as _;
use url::Url;

use super::connect::ConnectError;
use super::info::ServerInfo;
use crate::settings::nats::NatsAuth;

/// The port where none is given.
const PORT: u16 = 4222;

/// One server's address.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// The scheme asked for TLS.
    pub(super) tls: bool,
    /// The name that its certificate must hold.
    pub(super) tls_name: String,
    /// Credentials that stand in the address.
    pub(super) identity: Option<NatsAuth>,
    known: Known,
}

/// How a server came into the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    FromSettings,
    /// Another server names it.
    FromServers,
    /// A server named it once, the last one asked does not. It is not forgotten before it was tried: what servers know of
    /// each other lags when several come and go.
    Doubtful,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl Server {
    fn parse(url: &Url) -> Result<Self, ConnectError> {
        let refused = |why| ConnectError::Address { url: without_secrets(url), why };
        let tls = match url.scheme() {
            "nats" => false,
            "tls" => true,
            _ => return Err(refused("the scheme must be nats or tls")),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| refused("no host in it"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let identity = match (url.username(), url.password()) {
            ("", _) => None,
            (token, None) => Some(NatsAuth::Token(decoded(token).into())),
            (user, Some(password)) => {
                Some(NatsAuth::UserPassword { user: decoded(user), password: decoded(password).into() })
            }
        };
        let port = url.port().unwrap_or(PORT);
        Ok(Self { tls_name: host.clone(), host, port, tls, identity, known: Known::FromSettings })
    }

    /// A server that another one names as `host:port`.
    fn learnt(address: &str, from: &Self) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok()?;
        // Certificates rarely hold the addresses that servers name each other by.
        let tls_name = if host.parse::<IpAddr>().is_ok() { &from.tls_name } else { host };
        Some(Self {
            host: host.to_owned(),
            port,
            tls: from.tls,
            tls_name: tls_name.to_owned(),
            identity: from.identity.clone(),
            known: Known::FromServers,
        })
    }

    fn is(&self, other: &Self) -> bool {
        self.port == other.port && self.host == other.host
    }
}

fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// All known servers, in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Servers(VecDeque<Server>);

impl Servers {
    /// Starts anywhere in the list, so that not all nodes of a cluster sit on one server.
    pub(super) fn new(urls: &[Url]) -> Result<Self, ConnectError> {
        let mut servers: VecDeque<Server> = urls.iter().map(Server::parse).collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(ConnectError::NoServers);
        }
        servers.rotate_left(rand::rng().random_range(0..servers.len()));
        Ok(Self(servers))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The next one to try. It is the last in turn afterwards.
    pub(super) fn next(&mut self) -> Server {
        self.0.rotate_left(1);
        self.0.back().expect("the configured servers never leave the list").clone()
    }

    /// A server could not be connected to.
    pub(super) fn failed(&mut self, server: &Server) {
        self.0.retain(|known| known.known != Known::Doubtful || !known.is(server));
    }

    /// Takes over what `from`, which this node is connected to, says about its cluster.
    pub(super) fn learn(&mut self, info: &ServerInfo, from: &Server) {
        if info.connect_urls.is_empty() {
            return;
        }
        let named: Vec<Server> = info.connect_urls.iter().filter_map(|address| Server::learnt(address, from)).collect();
        for known in self.0.iter_mut().filter(|known| known.known != Known::FromSettings) {
            let is_named = named.iter().any(|server| server.is(known));
            known.known = if is_named { Known::FromServers } else { Known::Doubtful };
        }
        for server in named {
            if !self.0.iter().any(|known| known.is(&server)) {
                self.0.push_front(server);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn servers(urls: &[&str]) -> Result<Servers, ConnectError> {
        Servers::new(&urls.iter().map(|url| Url::parse(url).expect("a URL")).collect::<Vec<_>>())
    }

    fn turn(servers: &mut Servers) -> Vec<String> {
        let mut turn: Vec<String> = (0..servers.len()).map(|_| servers.next().to_string()).collect();
        turn.sort();
        turn
    }

    #[test]
    fn addresses_with_and_without_everything() {
        let mut list = servers(&["nats://gate%40way:p%3Aw@n1.example"]).expect("is good");
        let server = list.next();
        assert_eq!(server.to_string(), "nats://n1.example:4222");
        match server.identity {
            Some(NatsAuth::UserPassword { user, password }) => {
                assert_eq!((user.as_str(), password.expose_secret()), ("gate@way", "p:w"));
            }
            other => panic!("{other:?}"),
        }
        let server = servers(&["tls://tok@[::1]:5"]).expect("is good").next();
        assert_eq!((server.to_string().as_str(), server.host.as_str()), ("tls://[::1]:5", "::1"));
        assert!(matches!(server.identity, Some(NatsAuth::Token(token)) if token.expose_secret() == "tok"));
    }

    #[test]
    fn an_address_that_cannot_be_used_is_named_without_its_secrets() {
        assert!(matches!(servers(&[]), Err(ConnectError::NoServers)));
        let refusal = servers(&["ws://user:secret@host:1"]).expect_err("is refused").to_string();
        assert!(refusal.contains("ws://host:1") && !refusal.contains("secret"), "{refusal}");
    }

    #[test]
    fn every_server_has_its_turn_and_learnt_ones_come_and_go() {
        let mut list = servers(&["tls://a:1", "tls://b:1"]).expect("is good");
        assert_eq!(turn(&mut list), ["tls://a:1", "tls://b:1"]);
        let current = list.next();
        let says = |urls: &[&str]| ServerInfo {
            connect_urls: urls.iter().map(|&url| url.to_owned()).collect(),
            ..ServerInfo::default()
        };
        list.learn(&says(&["10.0.0.1:7", "c:1", "a:1", "rubbish", "d:x"]), &current);
        assert_eq!(turn(&mut list), ["tls://10.0.0.1:7", "tls://a:1", "tls://b:1", "tls://c:1"]);
        assert!(list.0.iter().any(|server| server.host == "10.0.0.1" && server.tls_name == current.host));
        list.learn(&says(&["c:1"]), &current);
        assert_eq!(list.len(), 4, "nothing is forgotten untried");
        for _ in 0..list.len() {
            let server = list.next();
            list.failed(&server);
        }
        assert_eq!(turn(&mut list), ["tls://a:1", "tls://b:1", "tls://c:1"]);
        list.learn(&says(&[]), &current);
        assert_eq!(list.len(), 3);
    }
}
