//! An idle WebSocket through the proxy, held from one ping to the next: as long as clients are silent at most.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, StatusCode, Upgraded, header};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use url::Url;

use super::super::Finding;
use super::{WITHIN, at};
use crate::causes::causes;
use crate::settings::Settings;

const ABOUT: &str = "proxy socket";
/// Pings that are waited for: between the first two lies the whole interval.
const PINGS: usize = 2;
/// What a ping may be late.
const LATE: Duration = Duration::from_secs(5);

/// What there was in place of a held socket.
enum Trouble {
    Handshake(Finding),
    /// It was ended, after so long a silence.
    Ended {
        silent: Duration,
        how: String,
    },
    Silent(Duration),
}

pub(super) async fn held(client: &Client, proxy: &Url, connect: &str, settings: &Settings) -> Finding {
    let interval = settings.client.ping_interval;
    let advice = format!(
        "let its timeouts for silence be longer than client.ping_interval ({}): proxy_read_timeout of nginx, three times that is good",
        humantime::format_duration(interval)
    );
    match hold(client, proxy, connect).await {
        Ok((interval, held)) if interval.is_zero() => Finding::ok(
            ABOUT,
            format!("opened and answered after {:.1} s; this client is not pinged", held.as_secs_f64()),
        ),
        Ok((interval, held)) => Finding::ok(
            ABOUT,
            format!(
                "held for {:.1} s, from ping to ping ({})",
                held.as_secs_f64(),
                humantime::format_duration(interval)
            ),
        ),
        Err(Trouble::Handshake(finding)) => finding,
        Err(Trouble::Ended { silent, how }) => {
            Finding::failed(ABOUT, format!("ended after {:.1} s of silence ({how})", silent.as_secs_f64()), advice)
        }
        Err(Trouble::Silent(waited)) => {
            Finding::failed(ABOUT, format!("nothing came for {:.1} s, no ping either", waited.as_secs_f64()), advice)
        }
    }
}

/// Opens a socket, connects, and stays for two pings; returns the time between pings that the node told, and how long it
/// was held.
async fn hold(client: &Client, proxy: &Url, connect: &str) -> Result<(Duration, Duration), Trouble> {
    let mut socket = open(client, proxy).await.map_err(Trouble::Handshake)?;
    let opened = Instant::now();
    let refused = |found: String, advice: &str| Trouble::Handshake(Finding::failed(ABOUT, found, advice));
    socket.send(Message::text(connect)).await.map_err(|error| refused(error.to_string(), "look at the proxy's log"))?;
    let answer = match timeout(WITHIN, next(&mut socket)).await {
        Ok(Ok(text)) => text,
        Ok(Err(how)) => {
            let skipped = format!("opened; a client cannot connect with what is known here ({how}): give --token");
            return Err(Trouble::Handshake(Finding::skipped(ABOUT, skipped)));
        }
        Err(_) => return Err(refused("opened, and no word comes through".to_owned(), "look at the proxy's log")),
    };
    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    if answer["connect"].is_null() {
        let skipped = format!("opened; the node does not let this client in ({}): give --token", answer["error"]);
        return Err(Trouble::Handshake(Finding::skipped(ABOUT, skipped)));
    }
    let interval = Duration::from_secs(answer["connect"]["ping"].as_u64().unwrap_or(0));
    if interval.is_zero() {
        return Ok((interval, opened.elapsed()));
    }
    let mut heard = Instant::now();
    for _ in 0..PINGS {
        match timeout_at(heard + interval + LATE, next(&mut socket)).await {
            Ok(Ok(_)) => {}
            Ok(Err(how)) => return Err(Trouble::Ended { silent: heard.elapsed(), how }),
            Err(_) => return Err(Trouble::Silent(heard.elapsed())),
        }
        heard = Instant::now();
        // The pong.
        if let Err(error) = socket.send(Message::text("{}")).await {
            return Err(Trouble::Ended { silent: Duration::ZERO, how: error.to_string() });
        }
    }
    let held = opened.elapsed();
    let _ = timeout(LATE, socket.close(None)).await;
    Ok((interval, held))
}

/// The next message; how it ended where there is none.
async fn next(socket: &mut WebSocketStream<Upgraded>) -> Result<String, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
            Some(Ok(Message::Close(Some(frame)))) => return Err(format!("{} {}", frame.code, frame.reason)),
            Some(Ok(Message::Close(None))) => return Err("closed without a code".to_owned()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the connection is gone".to_owned()),
        }
    }
}

async fn open(client: &Client, proxy: &Url) -> Result<WebSocketStream<Upgraded>, Finding> {
    const PATH: &str = "/connection/websocket";
    let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
    let request = client
        .get(at(proxy, PATH))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key);
    let answer = match timeout(WITHIN, request.send()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(Finding::failed(ABOUT, causes(&error), "look at the proxy's error log")),
        Err(_) => return Err(Finding::failed(ABOUT, "no answer to the handshake", "a node hangs, or the proxy does")),
    };
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let advice = match answer.status() {
            StatusCode::SERVICE_UNAVAILABLE => "no node takes clients: /ready of each says why",
            StatusCode::TOO_MANY_REQUESTS => "its limits turn this client away",
            _ => "pass Upgrade and Connection on: proxy_http_version 1.1, proxy_set_header Upgrade $http_upgrade",
        };
        return Err(Finding::failed(ABOUT, format!("{PATH} answers {}", answer.status()), advice));
    }
    match answer.upgrade().await {
        Ok(upgraded) => Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await),
        Err(error) => Err(Finding::failed(ABOUT, causes(&error), "look at the proxy's error log")),
    }
}
