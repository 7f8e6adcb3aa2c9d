//! What the machine allows: open files, and the port to listen on.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::Finding;
use crate::http::server::here;
use crate::settings::Settings;

/// Open files that a node needs beside its clients: connections to NATS and to hooks, probes, calls of the server API.
const BESIDE_CLIENTS: u64 = 256;
const HEALTH_WITHIN: Duration = Duration::from_secs(2);

/// The limit of open files against the connections that the settings allow.
pub(super) fn files(settings: &Settings) -> Finding {
    let limits = std::fs::read_to_string("/proc/self/limits").ok();
    match limits.as_deref().and_then(limits_of) {
        None => Finding::skipped("open files", "this system does not say how many a process may have (ulimit -n does)"),
        Some((soft, hard)) => judged(soft, hard, settings.http.max_connections),
    }
}

/// `Max open files  1024  524288  files`: the soft limit and the hard one; `None` within stands for "unlimited".
fn limits_of(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace();
    let mut limit = || Some(words.next()?.parse().ok());
    Some((limit()?, limit()?))
}

fn judged(soft: Option<u64>, hard: Option<u64>, connections: Option<usize>) -> Finding {
    const ABOUT: &str = "open files";
    let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let limits = format!("soft limit {}, hard limit {}", shown(soft), shown(hard));
    let soft = soft.unwrap_or(u64::MAX);
    let raise = |wanted: u64| {
        let where_to = "ulimit -n, LimitNOFILE= of systemd, ulimits of Docker";
        match hard {
            Some(hard) if hard < wanted => format!("raise the hard limit too, to {wanted} at least ({where_to})"),
            _ => format!("raise the soft limit to {wanted} at least ({where_to})"),
        }
    };
    match connections {
        Some(connections) => {
            let wanted = connections as u64 + BESIDE_CLIENTS;
            if soft < wanted {
                let found = format!("{limits}, and http.max_connections = {connections} wants {wanted}");
                Finding::failed(ABOUT, found, raise(wanted))
            } else {
                Finding::ok(ABOUT, format!("{limits}: enough for {connections} clients"))
            }
        }
        None => {
            let room = soft.saturating_sub(BESIDE_CLIENTS);
            let found = format!("{limits}, and http.max_connections is not set: {room} clients fit");
            Finding::warning(ABOUT, found, "set http.max_connections, so that who does not fit is sent elsewhere (503)")
        }
    }
}

/// Whether the port can be had, or is a node's.
pub(super) async fn port(bind: SocketAddr) -> Finding {
    const ABOUT: &str = "port";
    match TcpListener::bind(bind) {
        Ok(_) => Finding::ok(ABOUT, format!("{bind} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => match node_at(bind).await {
            Some((node, version)) => Finding::ok(ABOUT, format!("{bind} is served by node {node}, midplane {version}")),
            None => Finding::failed(
                ABOUT,
                format!("{bind} is taken by something that is no node"),
                "find it (ss -ltnp), or set http.bind or PORT to another one",
            ),
        },
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::failed(
            ABOUT,
            format!("{bind} may not be listened on ({error})"),
            "take a port above 1023 and let a proxy stand in front, or grant CAP_NET_BIND_SERVICE",
        ),
        Err(error) => {
            Finding::failed(ABOUT, format!("{bind}: {error}"), "http.bind wants an address that this machine has")
        }
    }
}

/// Whether the node that runs has these settings: files are read when it starts, and may have been changed since.
pub(super) async fn running(settings: &Settings) -> Option<Finding> {
    const ABOUT: &str = "running";
    let (node, _) = node_at(settings.http.bind).await?;
    let Some(key) = &settings.http_api.key else {
        let found = "nodes tell what settings they have to who has the API key, and none is set";
        return Some(Finding::skipped(ABOUT, found));
    };
    let health = health_at(settings.http.bind, Some(key)).await?;
    Some(match health["settings"].as_str() {
        Some(told) if told == settings.fingerprint => {
            Finding::ok(ABOUT, format!("{node} was started with these settings, secrets apart"))
        }
        Some(_) => Finding::warning(ABOUT, format!("{node} was started with other settings"), "restart it"),
        None => Finding::warning(ABOUT, format!("{node} was started with another API key"), "restart it"),
    })
}

/// The node that answers at `bind`, and its version.
async fn node_at(bind: SocketAddr) -> Option<(String, String)> {
    let health = health_at(bind, None).await?;
    Some((health["node"].as_str()?.to_owned(), health["version"].as_str()?.to_owned()))
}

async fn health_at(bind: SocketAddr, key: Option<&SecretString>) -> Option<Value> {
    let mut request = super::proxy::client().ok()?.get(format!("http://{}/health", here(bind))).timeout(HEALTH_WITHIN);
    if let Some(key) = key {
        request = request.header("x-api-key", key.expose_secret());
    }
    request.send().await.ok()?.json().await.ok()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Max processes             127  127  processes \nMax open files            1024                 524288               files     \n";
        assert_eq!(limits_of(text), Some((Some(1024), Some(524_288))));
        assert_eq!(limits_of("Max open files unlimited unlimited files"), Some((None, None)));
        assert_eq!(limits_of("nothing of the kind"), None);
    }

    #[test]
    fn every_client_needs_a_file() {
        let verdict = |soft, connections| judged(soft, Some(524_288), connections).verdict;
        assert_eq!(verdict(Some(1024), Some(5000)), Verdict::Failed);
        assert_eq!(verdict(Some(5256), Some(5000)), Verdict::Ok);
        assert_eq!(verdict(None, Some(5000)), Verdict::Ok);
        assert_eq!(verdict(Some(65_536), None), Verdict::Warning);
        let advice = judged(Some(1024), Some(4096), Some(5000)).advice.unwrap();
        assert!(advice.contains("hard limit"), "{advice}");
    }
}
