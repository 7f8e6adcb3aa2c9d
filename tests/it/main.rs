//! Promises to users, each in a file of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where, by panicking")]

mod support;

mod bounds;
mod census;
mod cluster;
mod command_line;
mod conformance;
mod doctor;
mod hooks;
mod live_feed;
mod live_feed_auth;
mod live_feed_failures;
mod nats_authentication;
mod nats_backplane;
mod nats_servers;
mod orders;
mod presence;
mod rates;
mod relay;
mod revocations;
mod secrecy;
mod security;
mod services;
mod session;
mod socketio_nodes;
mod socketio_sessions;
mod starting;
mod storms;
mod streams;
mod tidy;
mod tokens;
