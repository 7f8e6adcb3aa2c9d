//! The node itself, and whether it is in development mode.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::model::Node;
use super::super::section::{Findings, Section, Table};
use super::super::value::{FromValue, Switch};
use super::{at, client};

/// A runtime may be late by less than this without hanging.
const SHORTEST_STALL: Duration = Duration::from_secs(5);

/// Whether development mode holds: as `node.development` says, or where nothing tells clients apart and only this
/// machine can reach the node.
pub(super) fn development(values: &Table, defaults: &Table) -> bool {
    let switch = at(values, &["node", "development"]).and_then(|value| Switch::from_value(value).ok());
    match switch.unwrap_or(Switch::Auto) {
        Switch::On => true,
        Switch::Off => false,
        Switch::Auto => {
            let aside = Findings::default();
            let bind: SocketAddr = Section::root(values, defaults, &aside).section("http").take("bind");
            bind.ip().is_loopback() && !client::told_apart(values)
        }
    }
}

pub(super) fn read(section: &Section<'_>) -> Node {
    let _: Switch = section.take("development");
    let name: Option<String> = section.take("name");
    if let Some(name) = &name
        && !(name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)))
    {
        section.refuse("name", "not a node's name (64 letters, digits, \"-\" and \"_\" at most)");
    }
    let drain_rate = section.take("drain_rate");
    if drain_rate == 0 {
        section.refuse("drain_rate", "nobody would ever be sent away (try 200)");
    }
    let stall_timeout = Some(section.take("stall_timeout")).filter(|timeout: &Duration| !timeout.is_zero());
    if stall_timeout.is_some_and(|timeout| timeout < SHORTEST_STALL) {
        section.refuse("stall_timeout", "a busy machine can be as slow as that (try \"30s\", or \"0s\" for never)");
    }
    let shutdown_timeout = section.take("shutdown_timeout");
    Node { name: name.unwrap_or_else(generated_name), shutdown_timeout, drain_rate, stall_timeout }
}

/// Unique without asking anybody: two nodes of one name would speak for each other.
fn generated_name() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("node-{}", &id[..8])
}
