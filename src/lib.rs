//! midplane, a realtime gateway. ARCHITECTURE.md says what each room is for, and which may use which.
//!
//! What a client's message meets, from its socket to the other nodes and back:
//!
//! - `http`: takes connections, knows their limits, leads to a session
//! - `socket`: moves their bytes once they are no longer HTTP's
//! - `emulation`: brings what is posted to the session that it is for
//! - `engineio`: sessions on long-polling or a WebSocket
//! - `session`: one connection, one task: what its client asks for and may have
//! - `socketio`: the same for clients of Socket.IO
//! - `protocol`: the wires, pure
//! - `auth`: from a token to what it grants
//! - `revocation`: tokens that are no longer taken
//! - `census`: how many connections a user has
//! - `hooks`: asks the application
//! - `relay`: from publications to subscribers, nothing missing
//! - `presence`: who is in which channel
//! - `hub`: who listens here, and what waits for each
//! - `backplane`: carries publications between nodes
//! - `bridge`: joins them to servers of Socket.IO behind Redis (feature `redis`)
//!
//! What operators and backends meet:
//!
//! - `api`: the server API
//! - `operate`: the cluster's size, orders to drain
//! - `watch`: a channel or a user, live
//! - `doctor`: whether a node would do well here
//!
//! What a node is made of, and knows of itself and the others:
//!
//! - `app`: builds all of it, and stops it in order
//! - `canary`: whether what is published is delivered
//! - `causes`: errors as people read them
//! - `clock`: the time, for people
//! - `cluster`: which nodes there are
//! - `lifecycle`: from being started to being asked to stop
//! - `settings`: everything that can be configured
//! - `tasks`: background tasks, none of which ends unnoticed
//! - `telemetry`: metrics and the log
//! - `watchdog`: ends a process that does nothing any more

pub mod api;
pub mod app;
pub mod auth;
pub mod backplane;
#[cfg(feature = "redis")]
pub mod bridge;
pub mod canary;
pub mod causes;
pub mod census;
pub mod clock;
pub mod cluster;
pub mod doctor;
pub mod emulation;
pub mod engineio;
pub mod hooks;
pub mod http;
pub mod hub;
pub mod lifecycle;
pub mod operate;
pub mod presence;
pub mod protocol;
pub mod relay;
pub mod revocation;
pub mod session;
pub mod settings;
pub mod socket;
pub mod socketio;
pub mod tasks;
pub mod telemetry;
pub mod watch;
pub mod watchdog;
