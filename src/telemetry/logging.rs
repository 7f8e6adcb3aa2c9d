//! Log lines: text for people, JSON for machines, to standard error.
//!
//! Nothing secret may be logged: tokens, keys and session ids are not passed to `tracing` at any level.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{Log, LogFormat};

/// Sends log lines to standard error, as `log` says, from here on. A second call changes nothing.
pub fn install(log: &Log) {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(&log.level)).with_writer(io::stderr);
    // An earlier one may be there where several nodes run in one process.
    let _ = match log.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).finish().try_init(),
    };
}

/// The filter that `level` asks for. The library for NATS logs every attempt to connect, however many fail: it is quietened
/// unless it is named, and the node tells of its connection itself, at its own pace.
fn filter(level: &str) -> EnvFilter {
    let whole = if level.contains("async_nats") {
        level.to_owned()
    } else {
        format!("{level},async_nats=warn,async_nats::connector=off")
    };
    EnvFilter::try_new(whole).unwrap_or_else(|_| EnvFilter::new("info"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_in_the_level_is_left_as_it_is() {
        assert_eq!(filter("info").to_string(), "async_nats::connector=off,async_nats=warn,info");
        assert_eq!(filter("debug,async_nats=trace").to_string(), "async_nats=trace,debug");
    }
}
