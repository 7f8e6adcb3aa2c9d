//! The listener, and the server API that it serves.

use std::net::SocketAddr;

use secrecy::{ExposeSecret, SecretString};

use super::super::model::{Console, Http, HttpApi};
use super::super::section::Section;
use super::super::value::{Bytes, ErrorMode, Limit, Positive, Switch};
use super::{refuse_missing, token};

/// Bytes of a key that a stranger could try to guess over the network.
const SHORTEST_KEY: usize = 16;

pub(super) fn read(section: &Section<'_>, development: bool, clients_told_apart: bool) -> Http {
    let mut bind: SocketAddr = section.take("bind");
    if let Some(port) = section.take::<Option<u16>>("port") {
        bind.set_port(port);
    }
    if development && !bind.ip().is_loopback() {
        section.refuse("bind", "development mode is for loopback addresses (try \"127.0.0.1:8000\")");
    } else if !development && !clients_told_apart {
        let reach = if bind.ip().is_loopback() { "nobody could connect" } else { "reachable from outside" };
        section.refuse(
            "bind",
            format!(
                "{reach}, and nothing tells clients apart; set JWT_SECRET (or another key of client.token), or \
                 hooks.connect.endpoint, or client.allow_anonymous_connect_without_token = true to let everybody in"
            ),
        );
    }
    let internal_bind: Option<SocketAddr> = section.take("internal_bind");
    if internal_bind.is_some_and(|internal| internal == bind && bind.port() != 0) {
        section.refuse("internal_bind", "the same as http.bind (try another port)");
    }
    let metrics_token: Option<SecretString> = section.take("metrics_token");
    if metrics_token.as_ref().is_some_and(|token| token.expose_secret().len() < SHORTEST_KEY) {
        section.refuse("metrics_token", format!("shorter than {SHORTEST_KEY} bytes (try openssl rand -hex 32)"));
    }
    let max_connections = section.take("max_connections");
    let demo = match section.take("demo") {
        Switch::On => true,
        Switch::Off => false,
        Switch::Auto => development,
    };
    Http {
        bind,
        internal_bind,
        metrics_token,
        max_connections: (max_connections > 0).then_some(max_connections),
        header_timeout: section.take::<Positive>("header_timeout").0,
        write_timeout: section.take::<Positive>("write_timeout").0,
        body_limit: section.take::<Bytes>("body_limit").0,
        trusted_proxies: section.take("trusted_proxies"),
        handshake_rate: section.take::<Limit>("handshake_rate").0,
        demo,
    }
}

pub(super) fn console(section: &Section<'_>, api: &HttpApi, development: bool) -> Console {
    let token = token::subscription(&section.section("token"), development).map(Box::new);
    Console { enabled: section.take::<bool>("enabled") && api.enabled, token }
}

pub(super) fn api(section: &Section<'_>, http: &Http, development: bool) -> HttpApi {
    let enabled = section.take("enabled");
    let key: Option<SecretString> = section.take("key");
    let told: bool = section.take("insecure");
    let (listens, at) = http.internal_bind.map_or(("http.bind", http.bind), |at| ("http.internal_bind", at));
    let reachable = !at.ip().is_loopback();
    match &key {
        None if enabled && !told && reachable => refuse_missing(
            section.findings(),
            section.key("key"),
            format!("and {listens} = {at} is reachable from outside; set it, or http_api.enabled = false"),
        ),
        Some(key) if enabled && reachable && key.expose_secret().len() < SHORTEST_KEY => {
            section.refuse("key", format!("shorter than {SHORTEST_KEY} bytes (try openssl rand -hex 32)"));
        }
        None | Some(_) => {}
    }
    let insecure = told || (development && key.is_none());
    HttpApi {
        enabled,
        key,
        insecure,
        guard_cluster: section.take("guard_cluster"),
        transport_errors: section.take::<ErrorMode>("error_mode") == ErrorMode::Transport,
        rate: section.take::<Limit>("rate").0,
    }
}
