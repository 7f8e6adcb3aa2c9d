//! midplane, a realtime gateway. ARCHITECTURE.md says what each room is for, and which may use which.

pub mod settings;
pub mod telemetry;

pub mod api;
pub mod auth;
pub mod backplane;
pub mod canary;
pub mod census;
pub mod cluster;
pub mod emulation;
pub mod engineio;
pub mod hooks;
pub mod http;
pub mod hub;
pub mod operate;
pub mod presence;
pub mod protocol;
pub mod relay;
pub mod revocation;
pub mod session;
pub mod socket;
pub mod socketio;
pub mod watch;

pub mod app;
pub mod causes;
pub mod clock;
pub mod doctor;
pub mod lifecycle;
pub mod tasks;
