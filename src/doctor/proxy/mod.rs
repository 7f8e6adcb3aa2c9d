//! A proxy in front of the nodes, tried as a client meets it: does it hold an idle WebSocket longer than the time between
//! two pings, does it pass streams on as they come, does it let clients choose their own address, does it keep what is for
//! operators closed. Its configuration is not read: what counts is what it does.

mod socket;

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use url::Url;

use super::{Circumstances, Finding};
use crate::causes::causes;
use crate::settings::Settings;

const ABOUT: &str = "proxy";
/// How long a request through it may take.
const WITHIN: Duration = Duration::from_secs(10);
/// How long the first bytes of a stream may take.
const FIRST_BYTES: Duration = Duration::from_secs(5);
/// An address of documentation (RFC 5737): nobody's.
const FORGED: &str = "192.0.2.77";
/// What is for operators and backends, also in other spellings.
const CLOSED: [&str; 6] = ["/metrics", "//metrics", "/%6Detrics", "/api/info", "/cluster/nodes", "/cluster/status"];

/// A client that follows nobody elsewhere and asks no proxy of its own.
fn builder() -> ClientBuilder {
    Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().http1_only().connect_timeout(WITHIN)
}

/// One for nodes of this machine.
pub(super) fn client() -> reqwest::Result<Client> {
    builder().build()
}

/// One that also trusts whose certificates are in the file `authority`.
fn trusting(authority: Option<&Path>) -> Result<Client, Finding> {
    let unusable = |error: String| Finding::failed(ABOUT, error, "TLS cannot be used here");
    let mut builder = builder();
    if let Some(file) = authority {
        let unread = |why: &dyn Display| {
            Finding::failed(ABOUT, format!("--ca {}: {why}", file.display()), "name a file of certificates in PEM")
        };
        let pem = std::fs::read(file).map_err(|error| unread(&error))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unread(&causes(&error)))?;
        if certificates.is_empty() {
            return Err(unread(&"no certificate is in it"));
        }
        builder = certificates.into_iter().fold(builder, ClientBuilder::add_root_certificate);
    }
    builder.build().map_err(|error| unusable(causes(&error)))
}

pub(super) async fn examined(proxy: &Url, circumstances: &Circumstances, settings: &Settings) -> Vec<Finding> {
    let client = match trusting(circumstances.authority.as_deref()) {
        Ok(client) => client,
        Err(finding) => return vec![finding],
    };
    let token = circumstances.token.as_deref();
    let health = client.get(at(proxy, "/health")).timeout(WITHIN).send().await;
    match health {
        Ok(answer) if answer.status() == StatusCode::OK => {}
        Ok(answer) => {
            let found = format!("{proxy}health answers {}", answer.status());
            return vec![Finding::failed(ABOUT, found, "no node answers behind it, or /health is not passed on")];
        }
        Err(error) => return vec![unreachable(&causes(&error))],
    }
    let connect = connect_command(token);
    let (held, streamed) =
        tokio::join!(socket::held(&client, proxy, &connect, settings), stream(&client, proxy, &connect));
    let mut findings = vec![held, streamed, forwarded(&client, proxy, settings).await];
    findings.extend(closed(&client, proxy).await);
    findings
}

fn unreachable(why: &str) -> Finding {
    let advice = if why.contains("CaUsedAsEndEntity") {
        "it runs: its certificate is an authority's own, as openssl makes them where nothing is said; have one signed by it"
    } else if why.contains("certificate") {
        "it runs: name the file of who signed its certificate by --ca, and give an address that stands in it"
    } else {
        "look whether it runs, and at the address"
    };
    Finding::failed(ABOUT, why, advice)
}

fn at(proxy: &Url, path: &str) -> String {
    format!("{}{path}", proxy.as_str().trim_end_matches('/'))
}

/// A client's first command.
fn connect_command(token: Option<&str>) -> String {
    let mut connect = json!({ "name": "midplane doctor" });
    if let Some(token) = token {
        connect["token"] = token.into();
    }
    json!({ "id": 1, "connect": connect }).to_string()
}

/// Whether the beginning of a stream comes at once. The command is posted, so no token stands in an address.
async fn stream(client: &Client, proxy: &Url, connect: &str) -> Finding {
    const ABOUT: &str = "proxy stream";
    for path in ["/connection/sse", "/connection/http_stream"] {
        let begun = Instant::now();
        let request = client.post(at(proxy, path)).header("content-type", "application/json").body(connect.to_owned());
        let answer = match timeout(FIRST_BYTES, request.send()).await {
            Ok(Ok(answer)) if answer.status() == StatusCode::NOT_FOUND => continue,
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Finding::failed(ABOUT, causes(&error), "look at the proxy's error log"),
            Err(_) => return held_back(path),
        };
        if answer.status() != StatusCode::OK {
            let found = format!("{path} answers {}", answer.status());
            return Finding::failed(
                ABOUT,
                found,
                "503: no node takes clients; 403: the proxy is in the way; 429: its limits",
            );
        }
        let mut answer = answer;
        return match timeout(FIRST_BYTES, answer.chunk()).await {
            Ok(Ok(Some(_))) => Finding::ok(ABOUT, format!("{path} begins after {} ms", begun.elapsed().as_millis())),
            Ok(Ok(None)) => Finding::failed(ABOUT, format!("{path} ends before it begins"), "look at the proxy's log"),
            Ok(Err(error)) => Finding::failed(ABOUT, causes(&error), "look at the proxy's error log"),
            Err(_) => held_back(path),
        };
    }
    Finding::skipped(ABOUT, "streams are not served (http_stream.enabled, sse.enabled), or not passed on")
}

fn held_back(path: &str) -> Finding {
    let found = format!("{path} brings nothing within {} s: the proxy holds it back", FIRST_BYTES.as_secs());
    Finding::failed("proxy stream", found, "proxy_buffering off; and no proxy_ignore_headers X-Accel-Buffering")
}

/// Whether a client can choose which address it is taken for. Nodes tell who shows the API key what address they see.
async fn forwarded(client: &Client, proxy: &Url, settings: &Settings) -> Finding {
    const ABOUT: &str = "proxy address";
    let Some(key) = &settings.http_api.key else {
        return Finding::skipped(ABOUT, "nodes tell which address they see to who has the API key, and none is set");
    };
    let Some(own) = own_address(proxy).await else {
        return Finding::skipped(ABOUT, "its host is not found");
    };
    if proxy.scheme() != "https" && !is_near(own.peer) {
        return Finding::skipped(
            ABOUT,
            "the API key is not sent over an open network without TLS: give an https address",
        );
    }
    let request = client.get(at(proxy, "/health")).timeout(WITHIN).header("x-forwarded-for", FORGED);
    let answer = match request.header("x-api-key", key.expose_secret()).send().await {
        Ok(answer) => answer.json::<Value>().await.unwrap_or_default(),
        Err(error) => return Finding::skipped(ABOUT, causes(&error)),
    };
    let Some(seen) = answer["client"].as_str().and_then(|client| client.parse::<IpAddr>().ok()) else {
        return Finding::skipped(ABOUT, "the nodes behind it have another API key");
    };
    if seen.to_string() == FORGED {
        let advice = "proxy_set_header X-Forwarded-For $remote_addr; and only proxies in http.trusted_proxies";
        return Finding::failed(ABOUT, format!("a client that claims to be {FORGED} is believed"), advice);
    }
    if seen != own.local && is_near(seen) && !is_near(own.local) {
        let found = format!("nodes see {seen} in place of {}: all clients may be one to them", own.local);
        return Finding::warning(ABOUT, found, "put the proxy's network into http.trusted_proxies");
    }
    Finding::ok(ABOUT, format!("nodes see this client as {seen}, whatever it claims"))
}

struct Own {
    /// Which address this machine has towards the proxy.
    local: IpAddr,
    peer: IpAddr,
}

async fn own_address(proxy: &Url) -> Option<Own> {
    let (host, port) = (proxy.host_str()?.trim_matches(['[', ']']), proxy.port_or_known_default()?);
    let socket = tokio::net::TcpStream::connect((host, port)).await.ok()?;
    let ip = |address: SocketAddr| address.ip().to_canonical();
    Some(Own { local: ip(socket.local_addr().ok()?), peer: ip(socket.peer_addr().ok()?) })
}

/// Whether an address is of this machine or of a private network.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// Whether what is for operators is closed, at least from here.
async fn closed(client: &Client, proxy: &Url) -> Vec<Finding> {
    const ABOUT: &str = "proxy paths";
    let mut open = Vec::new();
    for path in CLOSED {
        let method =
            if path == "/api/info" { client.post(at(proxy, path)).body("{}") } else { client.get(at(proxy, path)) };
        match method.timeout(WITHIN).send().await.map(|answer| answer.status()) {
            Ok(StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) | Err(_) => {}
            Ok(StatusCode::UNAUTHORIZED) => open.push(format!("{path} (asks for a key)")),
            Ok(_) => open.push(path.to_owned()),
        }
    }
    if open.is_empty() {
        return vec![Finding::ok(ABOUT, format!("{} are closed", CLOSED.join(", ")))];
    }
    let advice = "fine where only networks of operators get there, as this one may be; else deny them at the proxy";
    vec![Finding::warning(ABOUT, format!("reachable from here: {}", open.join(", ")), advice)]
}
